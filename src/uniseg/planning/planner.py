"""One plan for a set of tasks: spacings, patch, strides, batch, with what they will cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import joblib
import numpy as np
import torch
from rich.console import Console

from uniseg.datasets.dataset import Dataset
from uniseg.errors import InputError
from uniseg.planning.budget import Budget, seconds_of
from uniseg.planning.geometry import TaskGeometry, read_geometries, share_spacings, weighted_median, window_groups
from uniseg.planning.settings import PlanSettings
from uniseg.planning.step_cost import Operations, Recipe, count_operations, measure_gigabytes, model_bytes
from uniseg.planning.time_limit import MIN_BATCH, fit_to_time
from uniseg.planning.topology import MIN_EDGE, Topology, first_patch, shrink
from uniseg.planning.trial import CaseTrial, StepTrial, try_case, try_step
from uniseg.preprocessing.resample import target_spacing
from uniseg.task import Task, TaskSet

MAX_COVERED = 0.05  # nnU-Net: a batch shows at most this fraction of all voxels
OFFER_WITHIN = 1.5  # the sharing that a plan without it tells of

Memory = Callable[[Topology, int], float]


@dataclass(frozen=True)
class PlanOptions:
    """What a plan is made for.

    Attributes:
        settings: of the user.
        task_weights: how often training draws each task, relative.
        budget_of: the seconds of a training step -> how long the run trains.
        augment_seconds: topology, batch size -> seconds of a batch's augmentation on this processor.
        num_workers: processes of preparation.

    Examples:
        >>> from uniseg.planning.budget import budget_of
        >>> budget = budget_of("standard", num_tasks=2, trained_mirror_axes=(0, 1, 2))
        >>> options = PlanOptions(PlanSettings(gpu_memory_gb=24), (1.0, 1.0), lambda s: budget, lambda t, b: 0.0, 4)
        >>> options.settings.plan_width
        (32, 320)
    """

    settings: PlanSettings
    task_weights: tuple[float, ...]
    budget_of: Callable[[float], Budget]
    augment_seconds: Callable[[Topology, int], float]
    num_workers: int


@dataclass(frozen=True)
class TaskPlan:
    """One task in the plan.

    Attributes:
        task: at the planned spacing.
        geometry: of its scans; ``geometry.task`` has the spacing of the task file.
        rule_mm: nnU-Net's spacing for it.
        trial: of one of its cases.

    Examples:
        >>> from uniseg.task import Normalization
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> geometry = TaskGeometry(liver, ("a",), 1, np.array([[40, 512, 512]]), np.array([[2, 1, 1]]))
        >>> TaskPlan(liver, geometry, (2, 1, 1), CaseTrial((1, 0.5, 0.5), 2.0, 1e-7)).median_shape
        (40, 256, 256)
    """

    task: Task
    geometry: TaskGeometry
    rule_mm: tuple[float, float, float]
    trial: CaseTrial

    @property
    def shapes(self) -> np.ndarray:
        """``[N,3]``, cropped, at the planned spacing."""
        return self.geometry.at(self.task.spacing_mm) * self.trial.kept

    @property
    def median_shape(self) -> tuple[int, int, int]:
        return tuple(int(n) for n in np.round(np.median(self.shapes, 0)))

    @property
    def cache_bytes(self) -> float:
        return self.shapes.prod(1).sum() * self.trial.bytes_per_voxel

    def prepare_seconds(self, num_workers: int) -> float:
        return self.geometry.shapes.prod(1).sum() * self.trial.seconds_per_voxel / joblib.effective_n_jobs(num_workers)


@dataclass(frozen=True)
class PatchPlan:
    """Patch with batch that fit.

    Attributes:
        shape: joint median shape.
        ratio: joint spacing, finest axis 1.
        start: patch before it was made to fit.
        batch_size: for one GPU.
        batch_cap: that nnU-Net's 5 % rule allows.
        gigabytes: of GPU memory.

    Examples:
        >>> topology = first_patch((64, 192, 192), (3, 1.5, 1.5))
        >>> PatchPlan((64, 192, 192), (2, 1, 1), topology.patch_size, topology, 2, 4, gigabytes=7.6).batch_size
        2
    """

    shape: tuple[int, int, int]
    ratio: tuple[float, float, float]
    start: tuple[int, int, int]
    topology: Topology
    batch_size: int
    batch_cap: int
    gigabytes: float


@dataclass(frozen=True)
class Sharing:
    """Tasks whose windows are computed once at prediction;

    ``saving`` is the fraction of operations of a scan predicted for all of them.

    Examples:
        >>> Sharing(("liver", "spleen"), (3, 1.5, 1.5), saving=0.4).names
        ('liver', 'spleen')
    """

    names: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    saving: float


@dataclass(frozen=True)
class Plan:
    """Everything chosen, with its cost.

    Attributes:
        recipe: as wide as it is planned.
        most: samples of a batch that memory holds, where a time leaves fewer.
        budget: how long the run trains.

    Examples:
        >>> def batch_of(datasets: Sequence[Dataset], recipe: Recipe, options: PlanOptions) -> int:
        ...     plan: Plan = make_plan(datasets, recipe, options)
        ...     return plan.patch.batch_size
    """

    options: PlanOptions
    recipe: Recipe
    tasks: tuple[TaskPlan, ...]
    patch: PatchPlan
    most: int
    operations: Operations
    step: StepTrial
    budget: Budget
    shared: tuple[Sharing, ...]
    offered: tuple[Sharing, ...]


def make_plan(datasets: Sequence[Dataset], recipe: Recipe, options: PlanOptions) -> Plan:
    """Reads every header and one case per task; computes one or two training steps.

    Raises:
        InputError: a bad header or case, too little memory, scans too small to halve, memory to be measured without a
            GPU.
    """
    settings = options.settings
    geometries = read_geometries(datasets, options.num_workers)
    rules = [target_spacing(g.spacings_mm, g.shapes) for g in geometries]
    chosen = [
        replace(g.task, spacing_mm=rule) if settings.plan_spacing == "nnunet" else g.task
        for g, rule in zip(geometries, rules, strict=True)
    ]
    planned = share_spacings(chosen, settings.plan_share_within)
    trials = [try_case(d, task, g) for d, task, g in zip(datasets, planned, geometries, strict=True)]
    tasks = [TaskPlan(*parts) for parts in zip(planned, geometries, rules, trials, strict=True)]
    recipe = replace(recipe, tasks=TaskSet(planned))
    gigabytes = measure_gigabytes if settings.measure_memory else _modelled_gigabytes
    shapes, spacings_mm = [t.shapes for t in tasks], [t.spacing_mm for t in planned]
    memory = partial(gigabytes, recipe)
    patch = plan_patch(shapes, spacings_mm, options.task_weights, memory, settings.gpu_memory_gb)
    most, seconds = patch.batch_size, seconds_of(settings.budget)
    with Console(stderr=True).status("measuring a training step: a processor takes minutes"):
        measure = partial(_whole_step, options, patch.topology)
        if seconds is None:
            step = measure(recipe, most)
        else:
            recipe, batch_size, step = fit_to_time(recipe, most, seconds, measure)
            used = gigabytes(recipe, patch.topology, batch_size)
            patch = replace(patch, batch_size=batch_size, gigabytes=used)
    operations = count_operations(recipe, patch.topology, patch.batch_size)
    shared = find_sharing(chosen, planned, operations)
    nearer = share_spacings(chosen, max(OFFER_WITHIN, settings.plan_share_within))
    offer = find_sharing(chosen, nearer, operations)
    return Plan(
        options,
        recipe,
        tuple(tasks),
        patch,
        most,
        operations,
        step,
        options.budget_of(step.seconds),
        tuple(shared),
        tuple(s for s in offer if s not in shared),
    )


def _whole_step(options: PlanOptions, topology: Topology, recipe: Recipe, batch_size: int) -> StepTrial:
    """With the augmentation where it takes the same cores; a GPU does it beside the step."""
    trial = try_step(recipe, topology, batch_size)
    if torch.cuda.is_available():
        return trial
    augmented = trial.seconds + options.augment_seconds(topology, batch_size)
    return StepTrial(augmented, f"{trial.how}, with augmentation")


def plan_patch(
    shapes: Sequence[np.ndarray],
    spacings_mm: Sequence[Sequence[float]],
    weights: Sequence[float],
    memory: Memory,
    limit_gb: float,
) -> PatchPlan:
    """nnU-Net v2's way on the joint median shape: start large, shrink until two samples fit, then let the batch grow.

    The joint shape is the median, per axis, of what training draws: every case weighs its task's weight over the task's
    number of cases. The joint spacing, likewise over the tasks, counts relative to a task's own finest axis, for the
    network sees voxels.

    Args:
        shapes: per task ``[N,3]`` at its spacing.
        memory: GB of a topology at a batch size.

    Raises:
        InputError: the smallest patch does not fit, or no axis has 8 voxels.
    """
    cases = np.concatenate(shapes)
    per_case = [np.full(len(of_task), weight / len(of_task)) for of_task, weight in zip(shapes, weights, strict=True)]
    case_weights = np.concatenate(per_case)
    shape = tuple(max(round(weighted_median(cases[:, axis], case_weights)), 1) for axis in range(3))
    relative = np.array([np.array(s) / min(s) for s in spacings_mm])
    ratio = tuple(round(weighted_median(relative[:, axis], np.array(weights)), 3) for axis in range(3))
    topology: Topology | None = first_patch(shape, ratio)
    if not topology.strides:
        raise InputError(
            "plan",
            f"joint median shape {shape}",
            f"an axis of {2 * MIN_EDGE} voxels or more",
            "give a finer spacing_mm",
        )
    start = last = topology.patch_size
    while topology is not None and (used := memory(topology, MIN_BATCH)) > limit_gb:
        topology, last = shrink(topology, ratio, shape), topology.patch_size
    if topology is None:
        found = f"{limit_gb} GB; patch {_times(last)} with batch {MIN_BATCH} takes {used:.2f}"
        raise InputError(
            "gpu_memory_gb", found, "room for the smallest patch", "give more memory or a narrower plan_width"
        )
    cap = max(MIN_BATCH, round(cases.prod(1).sum() * MAX_COVERED / np.prod(topology.patch_size)))
    batch_size = _largest_batch(partial(memory, topology), cap, limit_gb)
    return PatchPlan(shape, ratio, start, topology, batch_size, cap, memory(topology, batch_size))


def _largest_batch(memory: Callable[[int], float], cap: int, limit_gb: float) -> int:
    """Memory grows by the same step per sample."""
    least = memory(MIN_BATCH)
    step = memory(MIN_BATCH + 1) - least
    batch_size = min(cap, MIN_BATCH + int((limit_gb - least) / step)) if np.isfinite(step) else MIN_BATCH
    while batch_size > MIN_BATCH and memory(batch_size) > limit_gb:
        batch_size -= 1
    return batch_size


def find_sharing(before: Sequence[Task], after: Sequence[Task], operations: Operations) -> list[Sharing]:
    """Groups of two or more tasks among ``after``, against each task alone at its spacing in ``before``."""
    alone = {task.name: (operations.encode + operations.decode) / np.prod(task.spacing_mm) for task in before}
    sharings = []
    for group in window_groups(after):
        names = tuple(task.name for task in group)
        together = (operations.encode + len(group) * operations.decode) / np.prod(group[0].spacing_mm)
        if len(group) > 1:
            sharings.append(
                Sharing(names, group[0].spacing_mm, float(1 - together / sum(alone[name] for name in names)))
            )
    return sharings


def _modelled_gigabytes(recipe: Recipe, topology: Topology, batch_size: int) -> float:
    return model_bytes(recipe, topology, batch_size).gigabytes


def _times(size: Sequence[int]) -> str:
    return "x".join(str(n) for n in size)
