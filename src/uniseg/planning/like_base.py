"""Spacing and normalisation of tasks as those of a trained network that they are to be fine-tuned from."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from uniseg.task import Task, TaskSet

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class PlannedTasks:
    """Tasks with what a plan made of them; a sentence for each says what that is.

    Examples:
        >>> from uniseg.task import Normalization
        >>> zscore = (Normalization("zscore", masked=False),)
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (3, 1, 1), zscore)
        >>> planned = plan_like([Task("heart", ("CT",), ("background", "heart"), (1, 1, 1), zscore)], [liver])
        >>> planned.tasks[0].spacing_mm
        (3, 1, 1)
    """

    tasks: TaskSet
    lines: tuple[str, ...]


def plan_like(tasks: Iterable[Task], base: Iterable[Task]) -> PlannedTasks:
    """Each task at the spacing of the base's tasks that share the most modalities with it, each of its modalities
    normalised as there; what most of them have counts. A task or modality that the base does not know stays as it is.
    """
    known = list(base)
    planned = [_plan_one(task, known) for task in tasks]
    return PlannedTasks(TaskSet(task for task, _ in planned), tuple(line for _, line in planned))


def _plan_one(task: Task, base: list[Task]) -> tuple[Task, str]:
    shared = {other.name: len(set(task.modalities) & set(other.modalities)) for other in base}
    most = max(shared.values(), default=0)
    if not most:
        known, modalities = sorted({name for other in base for name in other.modalities}), ", ".join(task.modalities)
        told = f"{', '.join(known)}, not {modalities}" if known else f"none that it tells of, not {modalities}"
        rename = "; if they are the same by another name, write the base's into the task file" if known else ""
        return task, f"Task {task.name}: spacing and normalisation its own; the base knows {told}{rename}."
    peers = [other for other in base if shared[other.name] == most]
    spacing = _most_common(other.spacing_mm for other in peers)
    normalization = []
    for modality, own in zip(task.modalities, task.normalization, strict=True):
        theirs = [_of_modality(other, modality) for other in (*peers, *base) if modality in other.modalities]
        normalization.append(_most_common(theirs) if theirs else own)
    new = replace(task, spacing_mm=spacing, normalization=tuple(normalization))
    names = ", ".join(other.name for other in peers if other.spacing_mm == spacing)
    told = f"{' x '.join(f'{mm:g}' for mm in spacing)} mm and its normalisation as {names} of the base"
    own_spacing = " x ".join(f"{mm:g}" for mm in task.spacing_mm)
    changed = "as its task file has them" if new == task else f"its task file says {own_spacing} mm"
    return new, f"Task {task.name}: {told}; {changed}."


def _of_modality(task: Task, modality: str):
    return task.normalization[task.modalities.index(modality)]


def _most_common(values: Iterable[T]) -> T:
    """The first of those that are there most often."""
    return Counter(values).most_common(1)[0][0]
