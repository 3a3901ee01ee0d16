"""Windows in z order give what all windows at once give, in less memory."""

import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from scipy.ndimage import gaussian_filter

from samples import make_task
from uniseg import InputError, Predictor, save_model
from uniseg.images.volume import Volume
from uniseg.inference.accumulators import make_accumulator
from uniseg.inference.compute import Compute
from uniseg.inference.memory import GB, MemoryEstimate, plan_execution
from uniseg.inference.settings import InferenceSettings
from uniseg.inference.task_group import segment_group
from uniseg.inference.window_network import WindowNetwork
from uniseg.inference.window_pass import WindowPass
from uniseg.inference.windows import Window, WindowGrid, importance
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.conditioning.one_hot import OneHot
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.base import label_scores
from uniseg.models.heads.dynamic import DynamicHead
from uniseg.models.heads.per_task import PerTaskHead
from uniseg.models.heads.static import StaticHead
from uniseg.models.provenance import Provenance
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Normalization, TaskSet

MANY = make_task("many", classes=("background", *(f"c{k}" for k in range(14))))
REGIONS = make_task("regions", classes=("background", "whole", "core"), regions=((1, 2), (2,)))
FEW = make_task("few")
TASKS = TaskSet([FEW, MANY, REGIONS])
PROMPT = partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True)
SMALL = {"channels": [6, 8, 8], "strides": [[1, 2, 2], [2, 2, 2]], "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]]}
KINDS = {
    "static": (PROMPT, StaticHead),
    "static with bias": (PROMPT, partial(StaticHead, bias=True)),
    "late prompt": (partial(PROMPT, place="decoder"), StaticHead),
    "per task": (PROMPT, PerTaskHead),
    "dynamic": (OneHot, partial(DynamicHead, width=4)),
}


def make_model(kind: str = "static") -> UniSegModel:
    torch.manual_seed(1)
    conditioning, head = KINDS[kind]
    encoder = partial(UNetEncoder, **SMALL)
    model = UniSegModel(TASKS, patch_size=(8, 16, 16), encoder=encoder, conditioning=conditioning, head=head)
    with torch.no_grad():
        for p in model.head.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model.eval()


def pass_of(model, image, positions, sizes=None, **changes):
    settings = InferenceSettings(**{"mirror_axes": ()} | changes)
    features_allowed = not (settings.skip_empty or settings.gate)
    accumulators = [make_accumulator([model], p, features_allowed=features_allowed) for p in positions]
    network = WindowNetwork([model], accumulators, settings.mirror_axes, Compute(torch.device("cpu")), sizes)
    return accumulators, WindowPass(network, image, settings)


def stitched(model, image, positions, blocks=((0, None),), **changes):
    """Scores ``[V,z,y,x]`` per task."""
    accumulators, windows = pass_of(model, image, positions, **changes)
    out = [torch.full((a.task.num_labels, *image.shape[1:]), torch.nan) for a in accumulators]
    for low, high in blocks:
        for parts in windows.planes((low, image.shape[2] if high is None else high)):
            for accumulator, part, scores in zip(accumulators, parts, out, strict=True):
                z = slice(part.start, part.start + part.average.shape[1])
                scores[:, z, low:high] = accumulator.scores(part.average)
    return out


def monais(model, image, position, flips=((),)):
    """The same by MONAI's sliding windows and the whole network."""

    def window_scores(window):
        task = torch.full((len(window),), position)
        return sum(label_scores(model(window.flip(f), task)[0].flip(f), model.tasks[position]) for f in flips) / len(
            flips
        )

    return sliding_window_inference(
        image[None], model.patch_size, 1, window_scores, overlap=0.5, mode="gaussian", sigma_scale=0.125
    )[0]


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_scores_are_monais(kind):
    model, image = make_model(kind), torch.randn(1, 21, 30, 18)
    positions = [0, 1, 2]
    for scores, p in zip(stitched(model, image, positions), positions, strict=True):
        torch.testing.assert_close(scores, monais(model, image, p), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_an_added_task_too():
    model, image = make_model(), torch.randn(1, 16, 20, 18)
    model.extend([make_task("new", classes=("background", *(f"n{k}" for k in range(9))))], adapter_channels=2)
    with torch.no_grad():
        for p in model.added.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    for scores, p in zip(stitched(model.eval(), image, [3, 0]), [3, 0], strict=True):
        torch.testing.assert_close(scores, monais(model, image, p), atol=2e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_scan_smaller_than_a_window_and_mirroring():
    model, image = make_model(), torch.randn(1, 5, 17, 9)
    (scores,) = stitched(model, image, [0], mirror_axes=(0, 2))
    torch.testing.assert_close(scores, monais(model, image, 0, flips=((), (2,), (4,), (2, 4))), atol=2e-5, rtol=1e-5)


@torch.inference_mode()
def test_blocks_of_rows_change_nothing():
    model, image = make_model(), torch.randn(1, 21, 30, 18)
    whole = stitched(model, image, [0, 1])
    parts = stitched(model, image, [0, 1], blocks=((0, 7), (7, 19), (19, 30)))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def test_many_classes_are_averaged_as_features():
    model = make_model()
    assert [make_accumulator([model], p, features_allowed=True).channels for p in range(3)] == [3, 6, 3]
    assert [make_accumulator([model], p, features_allowed=False).channels for p in range(3)] == [3, 15, 3]
    assert make_accumulator([make_model("dynamic")], 1, features_allowed=True).channels == 15


def test_windows_lie_where_monais_do():
    grid = WindowGrid((21, 30, 16), (8, 16, 16), 0.5)
    assert [grid.starts(axis) for axis in range(3)] == [[0, 4, 8, 12, 13], [0, 8, 14], [0]]
    layers = list(grid.layers())
    assert [len(layer) for layer in layers] == [3] * 5
    assert all(
        window.start[0] == start for layer, start in zip(layers, grid.starts(0), strict=True) for window in layer
    )


@pytest.mark.parametrize("size", [8, 15, 24])
def test_even_windows_lie_where_nnunets_do(size):
    """``compute_steps_for_sliding_window`` of nnU-Net v2, for one axis."""
    for length in range(size, 5 * size, 3):
        count = int(np.ceil((length - size) / (size * 0.5))) + 1
        step = (length - size) / (count - 1) if count > 1 else 0
        theirs = [int(np.round(step * i)) for i in range(count)]
        assert WindowGrid((length, 30, 16), (size, 16, 16), 0.5, like_nnunet=True).starts(0) == theirs


def test_nnunets_weights_of_a_window():
    """``compute_gaussian`` of nnU-Net v2, in float32."""
    for size in ((8, 15, 16), (24, 32, 5)):
        delta = np.zeros(size)
        delta[tuple(n // 2 for n in size)] = 1
        theirs = gaussian_filter(delta, [n / 8 for n in size], 0, mode="constant", cval=0)
        theirs /= theirs.max()
        theirs[theirs == 0] = theirs[theirs > 0].min()
        np.testing.assert_allclose(importance(size, like_nnunet=True), theirs, rtol=1e-5)


def air_with_a_body(shape=(16, 64, 64)) -> torch.Tensor:
    image = torch.zeros(1, *shape)
    image[:, :, 20:40, 4:20] = torch.rand(1, shape[0], 20, 16) + 0.5
    return image


@torch.inference_mode()
def test_windows_of_air_are_left_out():
    model, image = make_model(), air_with_a_body()
    accumulators, windows = pass_of(model, image, [0], skip_empty=True)
    parts = [part for (part,) in windows.planes((0, 64))]
    seen = torch.cat([part.seen for part in parts])
    assert seen[:, 20:40, 4:20].all()
    assert not seen[:, :, 48:].any()
    all_of_it = stitched(model, image, [0])[0]
    inside = torch.cat([accumulators[0].scores(part.average) for part in parts], 1)[:, :, 24:36, 8:16]
    torch.testing.assert_close(inside, all_of_it[:, :, 24:36, 8:16], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_gated_task_is_computed_only_near_what_it_found(monkeypatch):
    model, image = make_model(), torch.randn(1, 16, 64, 64)
    _, passed = pass_of(model, image, [0, 2], gate=True)
    places = [window for layer in WindowGrid((16, 64, 64), (8, 16, 16), 0).layers() for window in layer]
    hits = {0: {places[0]}, 1: set()}
    computed = []

    def fake(self, batch, active):
        computed.extend(active)
        windows = places[len(computed) - len(active) : len(computed)]
        scores = [[[0, 1 if window in hits[t] else -1, -1] for window in windows] for t in range(2)]
        return [torch.tensor(task)[..., None, None, None].expand(-1, -1, 8, 16, 16).float() for task in scores]

    monkeypatch.setattr(WindowNetwork, "__call__", fake)
    active = passed._sparse_pass(WindowGrid((16, 64, 64), (8, 16, 16), 0))
    assert len(computed) == len(places) == 32
    assert active(Window((4, 8, 8), (8, 16, 16))) == {0}
    assert active(Window((0, 16, 16), (8, 16, 16))) == set()


@torch.inference_mode()
def test_gating_is_not_done_where_the_first_look_is_most_of_the_work():
    _, passed = pass_of(make_model(), torch.randn(1, 8, 16, 24), [0, 2], gate=True)
    assert (passed.may_miss, passed.active_tasks(Window((0, 0, 0), (8, 16, 16)))) == (False, {0, 1})


@torch.inference_mode()
def test_gating_everything_that_is_found_changes_nothing():
    model, image = make_model(), torch.randn(1, 16, 32, 32)
    gated, plain = (stitched(model, image, [0, 2], gate=gate) for gate in (True, False))
    for a, b in zip(gated, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def volume(shape=(24, 40, 36)) -> Volume:
    rng = np.random.default_rng(0)
    return Volume(rng.normal(0, 300, (1, *shape)).astype(np.float32), (2, 1, 1), np.eye(4))


def test_labels_do_not_depend_on_memory():
    model, scan = make_model(), volume()
    plain = Predictor(model).predict(scan, ["few", "many", "regions"])
    need_gb = 0.9 + 0.24  # what plan_execution counts as fixed, nearly
    tight = Predictor(model, InferenceSettings(max_memory_gb=need_gb, window_batch=4)).predict(
        scan, ["few", "many", "regions"]
    )
    for name, label in plain.items():
        assert len(np.unique(label)) > 1
        assert np.mean(tight[name] == label) > 0.9999
    with pytest.raises(InputError, match=r"max_memory_gb.*found 0\.5; expected at least 1\.\d for this scan"):
        Predictor(model, InferenceSettings(max_memory_gb=0.5)).predict(scan, ["few"])


def test_a_scan_that_is_handed_over_is_gone_while_the_last_windows_are_computed(monkeypatch):
    """Two groups, since the tasks differ in spacing; only the first still needs the scan."""
    model = UniSegModel(
        TaskSet([FEW, make_task("coarse", spacing_mm=(4, 2, 2))]),
        patch_size=(8, 16, 16),
        encoder=partial(UNetEncoder, **SMALL),
        conditioning=PROMPT,
        head=StaticHead,
    )
    scans, alive = [volume((16, 20, 20))], []
    array = weakref.ref(scans[0].array)

    def record(*args, **options):
        alive.append(array() is not None)
        return segment_group(*args, **options)

    monkeypatch.setattr("uniseg.inference.predictor.segment_group", record)
    segmentations = Predictor(model).segment(scans.pop, ["few", "coarse"])
    assert alive == [True, False]
    assert [each.label.shape for each in segmentations.values()] == [(16, 20, 20)] * 2


def test_work_is_planned_within_the_memory():
    estimate = MemoryEstimate(
        volume=10**8,
        compressed=10**8 / 0.3,
        label=0,
        image=10**7,
        weights=10**6,
        window=10**6,
        ring_row=10**5,
        slab=10**6,
    )
    assert plan_execution(estimate, 100, 0.5, 4, None).blocks == ((0, 100),)
    rich = plan_execution(estimate, 100, 0.5, 4, 8)
    assert (rich.blocks, rich.window_batch) == (((0, 100),), 4)
    fixed = estimate.fixed_bytes(1) / GB
    poor = plan_execution(estimate, 100, 0.5, 4, fixed + 12 * 2 * 4 * 10**5 / GB)
    assert poor.window_batch == 1
    assert poor.blocks == ((0, 20), (20, 40), (40, 60), (60, 80), (80, 100))
    with pytest.raises(InputError):
        plan_execution(estimate, 100, 0.5, 4, fixed)


def test_memory_is_counted_before_its_use(monkeypatch):
    """Nothing is resampled where it would not fit, nor where a spacing is absurd, however much memory there is."""
    model, made = make_model(), []
    monkeypatch.setattr("uniseg.inference.task_group.preprocess_on", lambda *args: made.append(args))
    # 600 x 1200 x 1200 voxels: 3.5 GB
    scan = Volume.of_array(np.random.default_rng(0).normal(size=(60, 60, 60)), (20.0, 20.0, 20.0))
    with pytest.raises(
        InputError, match=r"inference\.max_memory_gb: found 6; expected at least [78]\.\d for this scan"
    ):
        Predictor(model, InferenceSettings(max_memory_gb=6)).predict(scan, ["few"])
    for spacing in ((1000.0, 1000.0, 1000.0), (2.0, 1.0, 1e5)):
        absurd = Volume.of_array(np.ones((40, 40, 40)), spacing)
        with pytest.raises(InputError, match=r"scan: found .* voxels for .* mm at the task's spacing 2 x 1 x 1 mm"):
            Predictor(model, InferenceSettings(max_memory_gb=None)).predict(absurd, ["few"])
    tiny = make_task("few", spacing_mm=(2e-4, 1e-4, 1e-4))
    fine = UniSegModel(
        TaskSet([tiny]),
        patch_size=(8, 16, 16),
        encoder=partial(UNetEncoder, **SMALL),
        conditioning=PROMPT,
        head=StaticHead,
    )
    with pytest.raises(InputError, match=r"at the task's spacing 0\.0002 x 0\.0001 x 0\.0001 mm"):
        Predictor(fine, InferenceSettings(max_memory_gb=None)).predict(scan, ["few"])
    assert not made


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("settings", [{}, {"gate": True, "overlap": 0.75}, {"skip_empty": True}])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_of_nan_or_inf_gives_no_empty_map(kind, settings, value):
    scan = Volume.of_array(np.random.default_rng(0).normal(0, 100, size=(16, 24, 24)), (2.0, 1.0, 1.0))
    for part in ("head", "encoder"):
        model = make_model(kind)
        with torch.no_grad():
            for parameter in (p for name, p in model.named_parameters() if part in name):
                parameter.view(-1)[0] = value
        with pytest.raises(InputError, match="NaN or infinity in"):
            Predictor(model, InferenceSettings(**settings)).predict(scan, list(TASKS.names))


def test_a_prepared_scan_of_nan_is_refused():
    scan = Volume.of_array(np.random.default_rng(0).normal(size=(16, 24, 24)), (2.0, 1.0, 1.0))
    scan.array[0, 3, 3, 3] = np.nan
    with pytest.raises(InputError, match="task 'few': found NaN or infinity in the prepared scan"):
        Predictor(make_model()).predict(scan, ["few"])


def test_a_network_that_was_never_trained_is_refused_where_it_lacks_numbers():
    task = make_task("few", modalities=("T1",))
    untrained = replace(task, normalization=(Normalization("zscore"),))
    model = UniSegModel(
        TaskSet([untrained]),
        patch_size=(8, 16, 16),
        encoder=partial(UNetEncoder, **SMALL),
        conditioning=PROMPT,
        head=StaticHead,
    )
    with pytest.raises(InputError, match="task 'few': found a normalisation without its numbers"):
        Predictor(model).predict(volume((16, 20, 20)), ["few"])


def test_mirroring_is_that_of_the_networks_run(tmp_path):
    """Unless told otherwise; files of before say nothing, and are not mirrored."""
    model = make_model()
    assert Predictor(model).settings.mirror_axes == ()
    model.provenance = Provenance(mirror_axes=(0, 2))
    save_model(model, tmp_path / "shared")
    loaded = Predictor.from_pretrained(tmp_path / "shared")
    assert loaded.settings.mirror_axes == (0, 2)
    assert loaded.recorded_settings["mirror_axes"] == [0, 2]
    assert Predictor(model, InferenceSettings(mirror_axes=())).settings.mirror_axes == ()


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "overlap": [1, 1.5, -0.1, float("nan"), "half", None, True],
        "window_batch": [0, -1, 1.5, None, True],
        "mirror_axes": [[3], [-1], [0, 0], ["x"], 1, None],
        "max_memory_gb": [0, -8, float("inf"), "8"],
        "device": ["cuda:99", "gpu", "meta", 3.5, ""],
    }.items(),
)
def test_a_setting_that_cannot_be_is_named(name, values):
    model = make_model()
    for value in values:
        with pytest.raises(InputError, match=rf"inference\.{name}: found .*; expected"):
            Predictor(model, InferenceSettings(**{name: value}))
    with pytest.raises(InputError, match="models: found none"):
        Predictor([])
