"""The plan by hand: spacings, strides, patch, batch, memory."""

from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from samples import make_task, save_nifti
from uniseg.commands.builders import tasks_of
from uniseg.commands.choices import Choices
from uniseg.commands.plan import takes_adamw
from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.source import Source
from uniseg.datasets.splits import SplitTable
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.planning.budget import Budget, budget_of, budget_within, seconds_of, steps_within
from uniseg.planning.geometry import read_geometries, share_spacings, weighted_median, window_groups
from uniseg.planning.output import experiment_text, reasons, run_seconds, write_experiment
from uniseg.planning.planner import PlanOptions, find_sharing, make_plan, plan_patch
from uniseg.planning.settings import PlanSettings
from uniseg.planning.step_cost import Operations, Recipe, count_operations, measure_gigabytes, model_bytes
from uniseg.planning.time_limit import FEWEST_STEPS, fit_to_time
from uniseg.planning.topology import first_patch, fit_topology, shrink
from uniseg.planning.trial import StepTrial, try_case
from uniseg.task import Normalization, TaskSet

PUBLISHED = fit_topology((64, 192, 192), (3, 1.5, 1.5))
BUDGET = Budget(
    "quick", max_epochs=2, steps_per_epoch=10, val_steps=3, tasks_per_batch=None, num_workers=1, mirror_axes=(0, 1)
)
OPTIONS = PlanOptions(
    PlanSettings(gpu_memory_gb=4, plan_spacing="nnunet"),
    task_weights=(1.0,),
    budget_of=lambda step_seconds: BUDGET,
    augment_seconds=lambda topology, batch_size: 0.0,
    num_workers=1,
)


def recipe(*overrides, width=(32, 320), precision="16-mixed"):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=[*overrides, "run_dir=."])
    model, optimizer = (instantiate(part, _convert_="all") for part in (config.model, config.optimizer))
    return Recipe(tasks_of(config), model, width, instantiate(config.loss), optimizer, precision)


def test_the_weighted_median():
    assert weighted_median(np.array([5.0, 1, 3, 9]), np.ones(4)) == 4
    assert weighted_median(np.array([5.0, 1, 3]), np.ones(3)) == 3
    assert weighted_median(np.array([5.0, 1, 3]), np.array([3.0, 1, 1])) == 5


def test_tasks_of_one_input_with_near_spacings_share():
    window, other = make_task("a", spacing_mm=(3, 1.5, 1.5)), make_task("b", spacing_mm=(2.5, 1.6, 1.5))
    far, mr = make_task("c", spacing_mm=(3, 3, 3)), make_task("d", ("T2",), spacing_mm=(3, 1.5, 1.5))
    tasks = [window, other, far, mr]
    assert [t.spacing_mm for t in share_spacings(tasks, 1.2)] == [
        (3, 1.6, 1.5),
        (3, 1.6, 1.5),
        (3, 3, 3),
        (3, 1.5, 1.5),
    ]
    assert share_spacings(tasks, 1.1) == tasks
    assert len(window_groups(tasks)) == 4


def test_tasks_normalised_by_their_own_foreground_never_share():
    task = make_task("a").resolve([Normalization("fingerprint")])
    assert len(window_groups([task, replace(task, name="b")])) == 2
    given = task.resolve([Normalization("fingerprint", lower=0, upper=1, mean=0, sd=1)])
    assert len(window_groups([given, replace(given, name="b")])) == 1


def test_sharing_saves_the_encoder():
    tasks = [make_task("a"), make_task("b"), make_task("c", ("T2",))]
    (shared,) = find_sharing(tasks, tasks, Operations(step=0, encode=20, decode=10))
    assert shared.names == ("a", "b")
    assert shared.saving == pytest.approx(1 - 40 / 60)


def test_the_published_strides():
    assert PUBLISHED.patch_size == (64, 192, 192)
    assert PUBLISHED.strides == ((1, 2, 2), *[(2, 2, 2)] * 4)
    assert PUBLISHED.kernels == ((1, 3, 3), *[(3, 3, 3)] * 5)
    assert PUBLISHED.channels(32, 320) == (32, 64, 128, 256, 320, 320)


def test_other_strides_by_hand():
    thick = fit_topology((14, 256, 256), (10, 1.25, 1.25))
    assert thick.strides == ((1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))
    assert thick.kernels == ((1, 3, 3), (1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert fit_topology((36, 50, 35), (1, 1, 1)).patch_size == (40, 56, 40)
    assert fit_topology((7, 6, 7), (1, 1, 1)).strides == ()


def test_the_first_patch_is_clipped_by_the_shape():
    assert first_patch((1000, 1000, 1000), (1, 1, 1)).patch_size == (256, 256, 256)
    assert first_patch((64, 192, 192), (2, 1, 1)) == PUBLISHED


def test_every_shrinking_step_is_smaller():
    rng = np.random.default_rng(0)
    for _ in range(20):
        shape, spacing = rng.integers(8, 400, 3).tolist(), rng.uniform(1, 6, 3).tolist()
        topology = first_patch(shape, spacing)
        while (smaller := shrink(topology, spacing, shape)) is not None:
            assert prod(smaller.patch_size) < prod(topology.patch_size)
            assert all(n % d == 0 for n, d in zip(smaller.patch_size, smaller.divisor, strict=True))
            topology = smaller
        assert all(edge < 32 for edge in topology.patch_size)


def voxels(topology, batch_size):
    return batch_size * prod(topology.patch_size)


def published_shapes(count=100):
    return [np.array([[64, 192, 192]] * count)], [(3, 1.5, 1.5)], [1]


def test_the_patch_shrinks_with_the_memory():
    room = 2 * 64 * 192 * 192
    assert plan_patch(*published_shapes(), voxels, room).topology == PUBLISHED
    less = plan_patch(*published_shapes(), voxels, room / 2)
    assert less.topology.patch_size == (48, 160, 128)
    assert (less.start, less.batch_size, less.gigabytes) == ((64, 192, 192), 2, 2 * 48 * 160 * 128)


def test_the_batch_grows_with_the_memory_until_five_per_cent():
    room = 64 * 192 * 192
    assert plan_patch(*published_shapes(), voxels, 4.5 * room).batch_size == 4
    assert plan_patch(*published_shapes(), voxels, 100 * room).batch_size == 5
    assert plan_patch(*published_shapes(10), voxels, 100 * room).batch_size == 2


def test_the_joint_shape_counts_tasks_as_training_draws_them():
    shapes = [np.array([[40, 40, 40]] * 90), np.array([[80, 80, 96]]), np.array([[120, 160, 160]] * 3)]
    spacings = [(1, 1, 1), (2, 1, 1), (4, 2, 2)]
    plan = plan_patch(shapes, spacings, [1, 1, 1], voxels, 1e9)
    assert (plan.shape, plan.ratio) == ((80, 80, 96), (2, 1, 1))
    assert plan_patch(shapes, spacings, [5, 1, 1], voxels, 1e9).shape == (40, 40, 40)


def test_too_little_memory_is_reported():
    with pytest.raises(InputError, match=r"gpu_memory_gb: found 100 GB; patch 16x\S+ with batch 2"):
        plan_patch(*published_shapes(), voxels, 100)


def test_scans_too_small_to_halve_are_reported():
    with pytest.raises(InputError, match="joint median shape"):
        plan_patch([np.array([[5, 6, 7]])], [(1, 1, 1)], [1], voxels, 1e9)


def test_the_memory_of_the_published_network():
    """Its authors: about 10 GB, with 763.5 G multiply-adds forward for a sample of four channels."""
    published = recipe("experiment=upstream")
    assert model_bytes(published, PUBLISHED, 2).gigabytes == pytest.approx(10, rel=0.1)
    operations = count_operations(published, PUBLISHED, 2)
    assert (operations.encode + operations.decode) / 2 == pytest.approx(763.5e9, rel=1e-3)


STAGES = {4: 32, 5: 64, 6: 128, 7: 256}  # voxels of a cube for each number of stages


@pytest.mark.parametrize(
    "choice",
    [["model/encoder=resenc"], ["model/encoder=resenc", "model/decoder=nnunet_residual"], ["model/decoder=nnunet"], []],
)
def test_any_number_of_stages_can_be_planned(choice):
    small = recipe("task=[liver]", *choice, width=(2, 4))
    for stages, size in STAGES.items():
        topology = fit_topology([size] * 3, (1, 1, 1))
        shape = small.encoder_shape(topology)
        assert len(shape["channels"]) == len(shape["kernels"]) == len(shape["strides"]) + 1 == stages
        assert shape.get("blocks") in (None, [1, 3, 4, 6, 6, 6, 6][:stages])
        with torch.device("meta"):
            assert len(small.build(topology).encoder.stages) == stages


def test_an_encoder_whose_stages_are_not_planned_is_refused():
    with pytest.raises(InputError, match="model/encoder: found SegResNetEncoder, whose stages are not planned"):
        recipe("task=[liver]", "model/encoder=segresnet")


def test_the_budgets():
    assert budget_of("quick", 2, (0, 1, 2)).steps == 1_000
    assert budget_of("standard", 2, (0, 1, 2)).steps == 62_500
    assert budget_of("published", 1, (0, 1, 2)).steps == 250_000
    published = budget_of("published", 11, (0, 1, 2))
    assert (published.max_epochs, published.steps_per_epoch, published.val_steps, published.tasks_per_batch) == (
        1000,
        550,
        50,
        1,
    )
    assert (
        published.mirror_axes,
        budget_of("published", 11, ()).mirror_axes,
        budget_of("quick", 11, (0,)).mirror_axes,
    ) == ((0, 1, 2), (), ())
    assert 1 <= published.num_workers <= 12


def test_a_time_as_a_budget():
    assert [seconds_of(name) for name in ("90min", "8h", "2d", "standard")] == [5400, 28_800, 172_800, None]
    for step_seconds in (0.01, 0.4, 7.0, 400.0):
        budget = budget_within("10min", step_seconds, (0,))
        assert budget.seconds(step_seconds) <= 600
        assert budget.seconds(step_seconds) > (570 if step_seconds < 1 else 400)
        assert budget.max_epochs >= min(50, budget.steps)
        assert budget.steps_per_epoch <= 250
        assert budget.mirror_axes == (0,)
    assert budget_within("1min", 100, ()).steps == 1
    for wrong in ("10 minutes", "0min", "1.5h", "long"):
        with pytest.raises(InputError, match=r"budget.*a time such as 30min, 8h, 2d"):
            PlanSettings(gpu_memory_gb=4, budget=wrong)


@pytest.mark.parametrize(
    ("seconds", "width", "batch_size"),
    [(100_000, (32, 320), 5), (4_500, (32, 320), 4), (2_500, (32, 320), 2), (600, (16, 160), 2), (1, (8, 80), 2)],
)
def test_batch_then_width_give_way_to_the_time(seconds, width, batch_size):
    """A step of a second per sample at the full width, of a quarter at the half."""

    def measure(recipe, batch_size):
        return StepTrial(batch_size * (recipe.width[0] / 32) ** 2, "measured")

    fitted, batch, trial = fit_to_time(recipe("task=[liver]"), 5, seconds, measure)
    assert (fitted.width, batch) == (width, batch_size)
    assert trial == measure(fitted, batch)
    assert steps_within(seconds, trial.seconds) >= FEWEST_STEPS or width == (8, 80)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_model_counts_what_a_real_step_saves(precision):
    small = recipe("task=[liver,brain_tumour,whole_body_tumour]", width=(8, 64), precision=precision)
    topology = fit_topology((16, 32, 32), (2, 1, 1))
    model = small.build(topology)
    own, saved = {p.data_ptr() for p in model.parameters()}, {}

    def remember(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    image, label, task = (
        torch.randn(2, 4, 16, 32, 32),
        torch.zeros(2, 16, 32, 32, dtype=torch.int16),
        small.positions(2),
    )
    with (
        torch.autograd.graph.saved_tensors_hooks(remember, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"),
    ):
        DeepSupervision(small.loss)(model(image, task), label, [small.tasks[t] for t in task.tolist()]).mean()
    real = sum(size for size, _ in saved.values())
    assert model_bytes(small, topology, 2).saved == pytest.approx(real, rel=0.15)


def test_weights_with_their_optimiser():
    small = recipe("task=[liver]", "optimizer=adamw", width=(8, 16), precision="32-true")
    topology = fit_topology((16, 16, 16), (1, 1, 1))
    numbers = sum(p.numel() for p in small.build(topology).parameters())
    assert model_bytes(small, topology, 2).weights == pytest.approx(16 * numbers, rel=0.01)


def test_what_cannot_be_planned_is_reported(monkeypatch):
    with pytest.raises(InputError, match="plan_precision"):
        recipe("task=[liver]", precision="8-bit")
    with pytest.raises(InputError, match="plan_spacing"):
        PlanSettings(gpu_memory_gb=4, plan_spacing="finest")
    with pytest.raises(InputError, match="plan_share_within"):
        PlanSettings(gpu_memory_gb=4, plan_share_within=0.5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="measure_memory: found no CUDA device"):
        measure_gigabytes(recipe("task=[liver]"), PUBLISHED, 2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Four scans of 24 x 40 x 40 voxels of 2 x 1 x 1 mm, half of every one air that is 0; the fourth, for test, is
    unreadable.
    """
    tmp_path, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    affine, label = np.diag([1.0, 1, 2, 1]), np.zeros((24, 40, 40), np.int16)
    label[14:18, 10:20, 10:20] = 1
    cases = {}
    for case_id in "abcd":
        image = rng.normal(size=label.shape).astype(np.float32) + 10
        image[:12] = 0
        paths = (
            save_nifti(tmp_path / f"{case_id}_0000.nii.gz", image, affine),
            save_nifti(tmp_path / f"{case_id}.nii.gz", label, affine),
        )
        cases[case_id] = Case(case_id, f"set/{case_id}", (paths[0],), paths[1])
    cases["d"].image_paths[0].write_bytes(b"")
    splits = SplitTable(("d",), (("c",),), ("a", "b"), {case_id: f"set/{case_id}" for case_id in cases})
    task = make_task("sarcoma", ("T2",), ("background", "tumour"), spacing_mm=(2, 2, 2))
    return Dataset(task, Source("nnunet", Path(tmp_path)), cases, splits)


def test_geometry_is_of_all_cases_but_those_for_test(dataset):
    (geometry,) = read_geometries([dataset], 1)
    assert geometry.case_ids == ("a", "b", "c")
    assert geometry.shapes.tolist() == [[24, 40, 40]] * 3
    assert geometry.spacings_mm.tolist() == [[2, 1, 1]] * 3
    assert geometry.at((4, 2, 1)).tolist() == [[12, 20, 40]] * 3


def test_a_bar_names_its_stage(dataset, capsys):
    (geometry,) = read_geometries([dataset], 1)
    try_case(dataset, dataset.task, geometry)
    bars = [line.split(" ━")[0] for line in capsys.readouterr().err.splitlines()]
    assert bars == ["read headers", "sarcoma: one case, tried"]


def test_one_case_is_tried(dataset):
    (geometry,) = read_geometries([dataset], 1)
    trial = try_case(dataset, dataset.task, geometry)
    assert trial.kept == (0.5, 1, 1)
    assert 1 < trial.bytes_per_voxel < 6
    assert trial.seconds_per_voxel > 0


@pytest.fixture(scope="module")
def small(dataset):
    return replace(recipe("task=[liver]", width=(4, 8), precision="32-true"), tasks=TaskSet([dataset.task]))


@pytest.fixture(scope="module")
def plan(dataset, small):
    return make_plan([dataset], small, OPTIONS)


def test_a_whole_plan(dataset, small, plan):
    assert plan.tasks[0].task.spacing_mm == plan.tasks[0].rule_mm == (2, 1, 1)
    assert plan.tasks[0].median_shape == (12, 40, 40)
    assert plan.patch.topology == fit_topology((12, 40, 40), (2, 1, 1))
    assert 0 < plan.patch.gigabytes <= 4
    text = experiment_text(
        plan,
        "mine",
        "python -m uniseg.prepare",
        [{"override /model": "uniseg_small"}],
        {"model": {"head": {"width": 4}}},
    )
    values = yaml.safe_load(text)
    assert text.startswith("# @package _global_\n")
    assert values["defaults"] == [{"override /task": ["sarcoma"]}, {"override /model": "uniseg_small"}]
    assert values["tasks"] == {"sarcoma": {"spacing_mm": [2, 1, 1]}}
    assert values["data"] == {
        "patch_size": list(plan.patch.topology.patch_size), "batch_size": 2,
        "steps_per_epoch": 10, "val_steps": 3, "tasks_per_batch": None, "num_workers": 1,
    }  # fmt: skip
    assert values["model"]["encoder"]["strides"] == [[1, 2, 2], [2, 2, 2], [1, 2, 2]]
    assert values["model"]["head"] == {"width": 4}
    assert values["trainer"] == {"precision": "32-true", "max_epochs": 2}
    assert values["inference"] == {"mirror_axes": [0, 1]}
    hours = 2 * (10 + 3 / 3) * plan.step.seconds
    assert run_seconds(plan) == pytest.approx(hours)
    assert any(line.startswith("budget quick: 2 epochs, 20 steps, 1 readers, mirroring") for line in reasons(plan))
    assert any(line.startswith("memory 1.") and "modelled" in line for line in reasons(plan))
    given = make_plan([dataset], small, replace(OPTIONS, settings=PlanSettings(gpu_memory_gb=4)))
    assert given.tasks[0].median_shape == (12, 20, 20)


def test_a_plan_for_a_time(dataset, small, monkeypatch):
    monkeypatch.setattr("uniseg.planning.planner.try_step", lambda recipe, *_: StepTrial(recipe.width[0] / 25, "tried"))
    options = replace(
        OPTIONS,
        settings=PlanSettings(gpu_memory_gb=4, budget="10min", plan_width=(16, 32)),
        budget_of=lambda step_seconds: budget_within("10min", step_seconds, ()),
        augment_seconds=lambda topology, batch_size: 0.01 * batch_size,
    )
    timed = make_plan([dataset], replace(small, width=(16, 32)), options)
    assert (timed.recipe.width, timed.patch.batch_size, timed.most) == ((8, 16), 2, 2)
    assert timed.step == StepTrial(0.34, "tried, with augmentation")
    assert FEWEST_STEPS < timed.budget.steps < 600 / 0.34
    assert 540 < run_seconds(timed) <= 600
    channels = next(line for line in reasons(timed) if line.startswith("channels"))
    assert channels.endswith("(plan_width [16, 32] halved for 1,000 steps in 10min)")
    assert not any("steps are few" in line for line in reasons(timed))
    short = replace(timed, budget=budget_within("1min", 0.34, ()))
    assert f"{short.budget.steps} steps are few: give more time" in " ".join(reasons(short))


def test_a_short_run_takes_adamw_unless_told_otherwise(plan):
    usual = Choices([{"override /model": "uniseg_small"}, {"override /optimizer": "sgd"}], {})
    assert takes_adamw(plan, usual, ["plan=true", "budget=quick"])
    assert not takes_adamw(plan, usual, ["plan=true", "optimizer=sgd"])
    assert not takes_adamw(plan, usual, ["plan=true", "optimizer.lr=0.02"])
    assert not takes_adamw(plan, usual, ["+experiment=upstream"])
    assert not takes_adamw(plan, Choices([{"override /optimizer": "adamw"}], {}), [])
    long = replace(plan, budget=replace(plan.budget, max_epochs=500))
    assert not takes_adamw(long, usual, [])


def test_an_experiment_that_a_person_wrote_is_kept(plan, tmp_path):
    path = tmp_path / "conf/experiment/mine.yaml"
    for _ in range(2):
        write_experiment(plan, path, "python", [], {})
    assert yaml.safe_load(path.read_text())["name"] == "mine"
    path.write_text("name: mine\n")
    with pytest.raises(InputError, match="not planned"):
        write_experiment(plan, path, "python", [], {})
    assert [p.name for p in path.parent.iterdir()] == ["mine.yaml"]
