"""Runs a teacher over the cases of one dataset and keeps what is accepted; what is done stays."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.labels import load_case, load_label, reference_image
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.files import read_json, write_json
from uniseg.images.files import read_geometry, write_label_map
from uniseg.inference.predictor import Predictor
from uniseg.inference.restore import CompressedSegmentation, OutputOptions
from uniseg.pseudo_labels.judge import (
    Judgement,
    ShapeRange,
    judge,
    measure_shapes,
    ranges_of,
    without_labelled,
)
from uniseg.pseudo_labels.settings import CompletionSettings
from uniseg.task import IGNORE, LARGEST_LABEL, Task


@dataclass(frozen=True)
class Target:
    """What a teacher adds to other datasets.

    Attributes:
        task: as the teacher knows it.
        labelled: the dataset whose own labels it has; None: nobody labels it.
        ranges: by class, of the labelled training cases.
        folder: for label maps and judgements.
        file_values: label value of the task -> that of its files.
        ignored: value of files that does not count.

    Examples:
        >>> from uniseg.task import Normalization
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> Target(liver, None, {}, Path("out/liver"), {1: 1}, ignored=2).label_path("spleen__a").as_posix()
        'out/liver/labels/spleen__a.nii.gz'
    """

    task: Task
    labelled: Dataset | None
    ranges: Mapping[str, ShapeRange]
    folder: Path
    file_values: Mapping[int, int]
    ignored: int

    def in_file_values(self, label: np.ndarray) -> np.ndarray:
        """Label values of the task, -1 where nobody knows, as its files have them."""
        table = np.zeros(1 + self.task.num_labels, np.int16)
        table[list(self.file_values)] = list(self.file_values.values())
        table[IGNORE] = self.ignored  # the last entry, which no label has
        return table[label]

    def label_path(self, name: str) -> Path:
        return self.folder / "labels" / f"{name}.nii.gz"

    def judgement_path(self, name: str) -> Path:
        return self.folder / "judged" / f"{name}.json"


@dataclass(frozen=True)
class PseudoCase:
    """A case with a teacher's label.

    Attributes:
        name: ``<dataset>__<case>``.
        label_path: None where it is refused.

    Examples:
        >>> case = Case("a", "set/a", (Path("a.nii"),), None)
        >>> PseudoCase("liver__a", case, "train", Judgement(("nothing found",), {}), None).label_path is None
        True
    """

    name: str
    case: Case
    split: str
    judgement: Judgement
    label_path: Path | None


def make_target(task: Task, labelled: Dataset | None, output: Path, fold: int) -> Target:
    """Ranges come from the labelled training cases of the fold.

    Raises:
        InputError: a label cannot be read, or knows no value for a class.
    """
    values = {value: value for value in range(1, task.num_labels)}
    if labelled is None:
        return Target(task, None, {}, output / task.name, values, _free_value(values.values()))
    source = labelled.source
    if (task.modalities, task.classes, task.class_values) != (
        labelled.task.modalities,
        labelled.task.classes,
        labelled.task.class_values,
    ):
        found, expected = f"{'+'.join(task.modalities)} -> {list(task.classes)}", f"those of task '{task.name}'"
        raise InputError(f"teacher of '{task.name}'", found, expected, "give a teacher of this task, or rename one")
    if source.label_map:
        values = {target: value for value, target in sorted(source.label_map.items(), reverse=True) if target > 0}
    unnamed = {value for each in task.class_values for value in each} - values.keys()
    if unnamed:
        fix = "let source.label_map name one"
        raise InputError(f"task '{task.name}'", f"no file value for label {min(unnamed)}", "one for each", fix)
    taken = [*source.label_map, *values.values()]
    ignored = source.ignore if source.ignore is not None else _free_value(taken)
    shapes = []
    for case in track(
        labelled.cases_of("train", fold), f"Measuring {task.name}", console=Console(stderr=True), transient=True
    ):
        voxel_ml = read_geometry(reference_image(labelled.task, case)).voxel_ml
        shapes.append(measure_shapes(load_label(labelled.task, source, case), task, voxel_ml))
    return Target(task, labelled, ranges_of(shapes), output / task.name, values, ignored)


def _free_value(taken: Any) -> int:
    value = 1 + max(taken)
    if value > LARGEST_LABEL:
        raise InputError("source.label_map", f"value {value - 1}", f"below {LARGEST_LABEL}", "set source.ignore")
    return value


def teach(
    predictor: Predictor,
    dataset: Dataset,
    targets: Sequence[Target],
    splits: Mapping[str, Sequence[str]],
    settings: CompletionSettings,
    fold: int,
) -> dict[str, list[PseudoCase]]:
    """By target the cases of ``dataset``, all targets of a case in one pass; what an earlier call with the same
    weights and settings judged is kept.

    Args:
        splits: by split the names of the targets that get its cases; train, and val where nobody labels a target.

    Raises:
        InputError: a scan cannot be read.
    """
    results: dict[str, list[PseudoCase]] = {target.task.name: [] for target in targets}
    jobs = [(split, names, case) for split, names in splits.items() for case in dataset.cases_of(split, fold)]
    description = f"Labelling {dataset.task.name}"
    for split, names, case in track(jobs, description, console=Console(stderr=True), disable=not jobs):
        wanted = [target for target in targets if target.task.name in names]
        for target, result in _teach_case(predictor, dataset, case, wanted, split, settings):
            results[target.task.name].append(result)
    return results


def _teach_case(
    predictor: Predictor,
    dataset: Dataset,
    case: Case,
    targets: Sequence[Target],
    split: str,
    settings: CompletionSettings,
) -> list[tuple[Target, PseudoCase]]:
    name = f"{dataset.task.name}__{case.case_id}"
    keys = {target.task.name: _key(predictor, dataset.source, case, target, settings) for target in targets}
    known = {target.task.name: _known(target, name, keys[target.task.name]) for target in targets}
    missing = [target for target in targets if known[target.task.name] is None]
    if missing:
        volume, own = load_case(dataset.task, dataset.source, case)
        options = OutputOptions(confidence=True)
        segmentations = predictor.segment(volume, [target.task.name for target in missing], options)
        for target in missing:
            segmentation = segmentations[target.task.name]
            known[target.task.name] = _judge_and_keep(
                segmentation, own > 0, target, (name, case, keys[target.task.name]), volume.voxel_ml, settings
            )
    return [(target, _pseudo_case(target, name, case, split, known[target.task.name])) for target in targets]


def _pseudo_case(target: Target, name: str, case: Case, split: str, judgement: Judgement | None) -> PseudoCase:
    assert judgement is not None
    return PseudoCase(name, case, split, judgement, target.label_path(name) if judgement.accepted else None)


def _judge_and_keep(
    segmentation: CompressedSegmentation,
    labelled: np.ndarray,
    target: Target,
    named: tuple[str, Case, str],
    voxel_ml: float,
    settings: CompletionSettings,
) -> Judgement:
    name, case, key = named
    label, confidence = segmentation.label[:].astype(np.int16), segmentation.confidence[:]
    judgement = judge(label, confidence, labelled, target.task, voxel_ml, target.ranges, settings)
    target.label_path(name).unlink(missing_ok=True)
    if judgement.accepted:
        kept = without_labelled(target.in_file_values(label), labelled, target.ignored)
        write_label_map(kept, reference_image(target.task, case), target.label_path(name))
    write_json(target.judgement_path(name), {"key": key, **asdict(judgement)})
    return judgement


def _known(target: Target, name: str, key: str) -> Judgement | None:
    """What an earlier call judged with the same key; None where there is nothing whole."""
    path = target.judgement_path(name)
    if not path.is_file():
        return None
    content = read_json(path, "a judgement of uniseg complete", "delete it: the case is judged anew")
    if content.get("key") != key:
        return None
    judgement = Judgement(tuple(content["reasons"]), content["classes"])
    return judgement if not judgement.accepted or target.label_path(name).is_file() else None


def _key(predictor: Predictor, source: Source, case: Case, target: Target, settings: CompletionSettings) -> str:
    """Of all that changes a judgement; the weight of the loss does not."""
    rules = {key: value for key, value in asdict(settings).items() if key != "loss_weight"}
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in case.files if path.exists()]
    ranges = {name: asdict(each) for name, each in target.ranges.items()}
    facts = [predictor.checkpoint_hash, predictor.recorded_settings, rules, ranges, files, target.ignored]
    own = [sorted(source.label_map.items()), source.ignore, sorted(target.file_values.items())]
    return hashlib.sha256(json.dumps([facts, own], sort_keys=True).encode()).hexdigest()
