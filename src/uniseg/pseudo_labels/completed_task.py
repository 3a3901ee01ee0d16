"""A completed task in files: the manifest of its labels and the task YAML, which marks those that a network wrote."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.labels import load_label, reference_image
from uniseg.datasets.layouts.manifest import ABSENT
from uniseg.datasets.task_text import literal, task_text
from uniseg.errors import InputError
from uniseg.files import write_text
from uniseg.images.files import write_label_map
from uniseg.pseudo_labels.teach import PseudoCase, Target
from uniseg.task import Task
from uniseg.weights.licences import strictest

SUFFIX = "_completed"
MARK = "Written by uniseg complete; what it lists under pseudo a network has labelled."
SPLITS = ("train", "val", "test")


def completed_name(task: Task) -> str:
    return f"{task.name}{SUFFIX}"


def write_completed(
    target: Target, cases: Sequence[PseudoCase], datasets: Sequence[Dataset], task_dir: Path, weight: float, fold: int
) -> Path:
    """The manifest beside the target's label maps, then ``task_dir/<task>_completed.yaml``.

    Args:
        datasets: whose scans the teacher labelled.
        weight: of the loss of pseudo-labelled cases.

    Raises:
        InputError: a task file of that name that is not ours, or a case that a manifest cannot list.
    """
    path = task_dir / f"{completed_name(target.task)}.yaml"
    require_ours(path)
    task = target.task if target.labelled is None else target.labelled.task
    accepted = [case for case in cases if case.label_path is not None]
    rows = [*_labelled_rows(target, fold), *(_pseudo_row(case, task) for case in accepted)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", "patient", "namespace", *task.modalities, "label", "split"])
    table.writerows(rows)
    write_text(target.folder / "manifest.csv", text.getvalue())
    names = [case.name for case in accepted]
    write_text(path, _yaml(target, task, names, datasets, weight))
    return path


def require_ours(path: Path) -> None:
    """
    Raises:
        InputError: a task file that this command did not write.
    """
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise InputError(path, "a task file that uniseg complete did not write", "none", "move it away")


def _labelled_rows(target: Target, fold: int) -> Iterable[list[str]]:
    if target.labelled is None:
        return
    modalities = target.labelled.task.modalities
    for split in SPLITS:
        for case in target.labelled.cases_of(split, fold):
            is_absent = case.absent or case.label_path is None
            label = ABSENT if is_absent else str(_label_file(target, target.labelled, case).absolute())
            yield _row(case.case_id, case, modalities, label, split)


def _label_file(target: Target, labelled: Dataset, case: Case) -> Path:
    """A person's label map; of a case with one mask per class the merged one, which is written."""
    if not case.masks:
        return Path(case.label_path)
    path = target.label_path(case.case_id)
    if not path.is_file():
        label = load_label(labelled.task, labelled.source, case)
        write_label_map(target.in_file_values(label), reference_image(labelled.task, case), path)
    return path


def _pseudo_row(case: PseudoCase, task: Task) -> list[str]:
    return _row(case.name, case.case, task.modalities, str(Path(case.label_path).absolute()), case.split)


def _row(name: str, case: Case, modalities: Sequence[str], label: str, split: str) -> list[str]:
    if len(case.image_paths) != len(modalities):
        found = f"one file for {len(modalities)} modalities"
        raise InputError(case.image_paths[0], found, "one file for each, as a manifest lists them", "split the file")
    namespace, _, patient = case.patient_id.partition("/")
    images = ["" if path is None else str(path.absolute()) for path in case.image_paths]
    return [name, patient, namespace, *images, label, split]


def _yaml(target: Target, task: Task, names: Sequence[str], datasets: Sequence[Dataset], weight: float) -> str:
    own = [] if target.labelled is None else [target.labelled.source]
    label_map = dict(own[0].label_map) if own else {}
    values: dict[str, Any] = {
        "modalities": [literal(name) for name in task.modalities],
        "classes": [literal(name) for name in task.classes],
        "regions": {n: list(v) for n, v in zip(task.classes[1:], task.regions, strict=True)} if task.regions else {},
        "optional": list(task.optional),
        "reference": task.reference,
        "codes": _codes(task),
        "spacing_mm": list(task.spacing_mm),
        "normalization": {
            modality: {key: value for key, value in how.to_dict().items() if value is not None}
            for modality, how in zip(task.modalities, task.normalization, strict=True)
        },
        "source": {
            "layout": "manifest",
            "root": literal(str(target.folder.absolute())),
            "label_map": label_map,
            "ignore": target.ignored,
            "pseudo": list(names),
            "pseudo_weight": weight,
            "homepage": literal(own[0].homepage) if own else "",
            "licence": literal(strictest(each.licence for each in (*own, *(d.source for d in datasets)))),
        },
    }
    values = {key: value for key, value in values.items() if value not in ([], None, {})}
    return task_text(completed_name(task), values, MARK)


def _codes(task: Task) -> dict[str, Any]:
    named = zip(task.classes[1:], task.codes, strict=True) if task.codes else ()
    return {name: {k: v for k, v in asdict(each).items() if v} for name, each in named if each is not None}
