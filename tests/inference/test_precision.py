"""Half precision and channels last change how a network computes, not what it finds."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from samples import make_task, save_nifti, small_model
from uniseg import InferenceSettings, InputError, Predictor, TaskSet, predict_files
from uniseg.images.volume import Volume
from uniseg.inference.compute import Compute, fused_norm_works
from uniseg.metrics.dice import dice
from uniseg.normalization.base import Normalization

STEPS, BATCH = 60, 4
GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
LEVELS = (0.4, 1.2)  # standard deviations of the smooth image from which a voxel is of class 1, 2
PLAIN = (Normalization("window", lower=-1.0, upper=1.0),)
TASKS = TaskSet([make_task("one", spacing_mm=(1, 1, 1)), make_task("two", spacing_mm=(1, 1, 1))])


def smooth_image(rng, shape):
    values = gaussian_filter(rng.normal(size=shape), 2.5)
    return (300 * values / values.std()).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    """A network that tells two bands of values apart, as sharply as it can be taught in a second."""
    model, rng = small_model(TASKS), np.random.default_rng(0)
    model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for step in range(STEPS):
        values = torch.from_numpy(np.stack([smooth_image(rng, (8, 16, 16)) for _ in range(BATCH)]))
        label = sum((values > 300 * level).long() for level in LEVELS)
        logits = model(((values + 325) / 650).clamp(0, 1)[:, None], torch.full((BATCH,), step % 2))[0]
        torch.nn.functional.cross_entropy(logits, label).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def scan():
    return Volume.of_array(smooth_image(np.random.default_rng(9), (24, 48, 40)), spacing_mm=(1, 1, 1))


@pytest.fixture(scope="module")
def plain_labels(trained, scan):
    """By float32, channels first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Compute, "place", lambda self, model: model.eval())
        return Predictor(deepcopy(trained), InferenceSettings(device="cpu")).predict(scan, ["one", "two"])


def least_dice(labels, expected):
    """Of every class of every task."""
    values = []
    for name, label in labels.items():
        for k in (1, 2):
            predicted, reference = label == k, expected[name] == k
            assert reference.mean() > 0.02, "a class that is hardly there tells nothing"
            hits = int((predicted & reference).sum())
            values.append(dice(hits, int(predicted.sum()) - hits, int(reference.sum()) - hits))
    return min(values)


def test_the_network_was_trained(plain_labels, scan):
    truth = sum((scan.array[0] > 300 * level).astype(int) for level in LEVELS)
    assert least_dice(plain_labels, dict.fromkeys(plain_labels, truth)) > 0.7


@pytest.mark.parametrize(("precision", "least"), [("32", 0.999), ("16", 0.999), ("bf16", 0.995)])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_labels_are_those_of_float32_channels_first(trained, scan, plain_labels, precision, least, device):
    """bfloat16 has an eighth of float16's resolution, and is nobody's default."""
    predictor = Predictor(deepcopy(trained), InferenceSettings(precision=precision, device=device))
    weight = predictor.model.decoder.stages[0].conv.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert weight.dtype is torch.float32
    assert least_dice(predictor.predict(scan, ["one", "two"]), plain_labels) >= least


def test_half_precision_is_half_precision(trained, scan):
    """The convolutions see bfloat16, the sums over windows float32."""
    predictor, seen = Predictor(deepcopy(trained), InferenceSettings(precision="bf16", device="cpu")), set()
    predictor.model.decoder.stages[0].register_forward_hook(lambda stage, args, output: seen.add(output.dtype))
    predictor.predict(scan, ["one"])
    assert seen == {torch.bfloat16}


def test_precision_is_chosen_by_the_device(monkeypatch):
    assert Compute.of(InferenceSettings(device="cpu")) == Compute(torch.device("cpu"), "32")
    monkeypatch.setattr("uniseg.inference.compute.usable_device", torch.device)
    assert Compute.of(InferenceSettings(device="cuda:1")) == Compute(torch.device("cuda:1"), "16")
    assert Compute.of(InferenceSettings(device="mps")).precision == "32"
    assert Compute.of(InferenceSettings(device="cuda", precision="32")).value_bytes == 4
    assert Compute.of(InferenceSettings(device="cpu", precision=16)).precision == "16", (
        "a number, as the shell gives it"
    )
    with pytest.raises(InputError, match=r"inference\.precision: found 'half'; expected one of auto, 32, 16, bf16"):
        InferenceSettings(precision="half")


def test_half_precision_is_part_of_what_a_prediction_is(trained, tmp_path):
    """What float32 made before precisions were named stays; what another precision made does not."""
    scan = save_nifti(tmp_path / "scan.nii.gz", smooth_image(np.random.default_rng(1), (12, 20, 20)).astype(np.int16))

    def predicted(precision):
        predictor = Predictor(trained, InferenceSettings(precision=precision, device="cpu"), checkpoint_hash="abc")
        (path,) = predict_files(predictor, scan, tmp_path / "out", tasks="one")
        return path.stat().st_mtime_ns, json.loads((tmp_path / "out/one/scan.json").read_text())["settings"]

    first, settings = predicted("auto")
    assert "precision" not in settings
    assert predicted("32") == (first, settings)
    written, half = predicted("bf16")
    assert (written > first, half) == (True, {"precision": "bf16"} | settings)


@pytest.mark.parametrize("error", [ImportError("no triton"), RuntimeError("Failed to find C compiler.\nSet CC")])
def test_norms_go_without_the_fused_kernel_where_it_cannot_be_made(monkeypatch, error):
    def fail(*args):
        raise error

    fused_norm_works.cache_clear()
    monkeypatch.setattr("uniseg.inference.compute.fused_norm_act", fail)
    assert not fused_norm_works(torch.device("cpu"))
    fused_norm_works.cache_clear()
    monkeypatch.setattr("uniseg.inference.compute.fused_norm_act", lambda x, *args: x)
    assert fused_norm_works(torch.device("cpu"))
    fused_norm_works.cache_clear()
