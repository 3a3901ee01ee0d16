"""Which cases were scored, and whether they still are what they were: cases.json."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from uniseg.datasets.case import Case
from uniseg.datasets.labels import load_case
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.evaluation.predictions import load_prediction
from uniseg.files import content_hash, read_record, require_text, write_json
from uniseg.images.stamp import stamp
from uniseg.images.volume import Volume
from uniseg.inference.outputs import json_path, read_prediction_json
from uniseg.run_folder import EvaluationFolder
from uniseg.task import Task


@dataclass(frozen=True)
class CaseRecord:
    """A scored case: where it lies, how it is read, what identified its files when they were scored.

    Attributes:
        prediction: label map.
        image_stamps, label_stamp: None where there is no file, or an older version kept no stamp.
        prediction_hash: of the content, since it moves with its run folder, so that its time says nothing.

    Examples:
        >>> record = CaseRecord.of(task, source, case, prediction)  # doctest: +SKIP
        >>> volume, reference, predicted = record.load()  # doctest: +SKIP
    """

    task: Task
    source: Source
    case: Case
    prediction: Path
    image_stamps: tuple[Mapping | None, ...] = ()
    label_stamp: Mapping | None = None
    prediction_hash: str | None = None

    @classmethod
    def of(cls, task: Task, source: Source, case: Case, prediction: Path) -> Self:
        """With the stamps of the files that are there now.

        Raises:
            InputError: the label is not there.
        """
        facts = read_prediction_json(json_path(prediction)) or {}
        label_stamp = stamp(*case.label_files) if case.label_files else None
        return cls(task, source, case, prediction, tuple(facts.get("stamps") or ()), label_stamp, _hash(prediction))

    def require_unchanged(self) -> None:
        """Compares what is still there with what was scored.

        Raises:
            InputError: another scan, label or prediction lies there now.
        """
        images = zip(self.case.image_paths, self.image_stamps, strict=False)
        kept = [*(((path,), before) for path, before in images if path), (self.case.label_files, self.label_stamp)]
        stamped = [(paths, before) for paths, before in kept if paths and before is not None]
        there = [(paths, before) for paths, before in stamped if all(path.exists() for path in paths)]
        changed = [paths[0] for paths, before in there if stamp(*paths) != before]
        if self.prediction_hash and self.prediction.is_file() and _hash(self.prediction) != self.prediction_hash:
            changed.append(self.prediction)
        if changed:
            found, expected = "another file than the one that was scored", "the same scans, labels and predictions"
            raise InputError(changed[0], found, expected, "evaluate again")

    def load(self) -> tuple[Volume, np.ndarray, np.ndarray]:
        """Image ``[M,Z,Y,X]``, reference and prediction ``[Z,Y,X]`` (label values of the task) on one grid.

        Raises:
            InputError: as ``load_case`` and ``load_prediction``.
        """
        volume, reference = load_case(self.task, self.source, self.case)
        return volume, reference, load_prediction(self.task, self.source, self.case, self.prediction)


def write_cases(records: Sequence[CaseRecord], folder: EvaluationFolder) -> None:
    """Paths are absolute; those of the predictions lead from the folder, with which they move."""
    write_json(folder.cases, [_to_dict(record, folder) for record in records])


def read_cases(folder: EvaluationFolder) -> list[CaseRecord]:
    """What ``write_cases`` wrote; images stay on disk.

    Raises:
        InputError: missing or malformed.
    """

    def records(rows: list) -> list[CaseRecord]:
        return [_record(row, folder) for row in rows]

    return read_record(folder.cases, records, "cases.json of uniseg.evaluate", "evaluate again", list)


def _to_dict(record: CaseRecord, folder: EvaluationFolder) -> dict[str, Any]:
    task, source, case = record.task, record.source, record.case
    masks = [[os.path.abspath(path) for path in paths] for paths in case.masks]
    return {
        "task": task.name,
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "images": [path and os.path.abspath(path) for path in case.image_paths],
        "label": case.label_path and os.path.abspath(case.label_path),
        **({"masks": masks} if masks else {}),
        "prediction": record.prediction.relative_to(folder.path).as_posix(),
        "stamps": {
            "images": list(record.image_stamps) or None,
            "label": record.label_stamp,
            "prediction": record.prediction_hash,
        },
        "definition": task.definition(),
        "source": {
            "layout": source.layout,
            "root": os.path.abspath(source.root),
            "label_map": source.label_map,
            "ignore": source.ignore,
        },
    }


def _record(values: Mapping[str, Any], folder: EvaluationFolder) -> CaseRecord:
    source, stamps = values["source"], values.get("stamps") or {}
    *images, label = (None if path is None else Path(path) for path in (*values["images"], values["label"]))
    return CaseRecord(
        Task.from_dict(values["definition"]),
        Source(
            source["layout"],
            Path(source["root"]),
            label_map={int(value): int(target) for value, target in source["label_map"].items()},
            ignore=None if source["ignore"] is None else int(source["ignore"]),
        ),
        Case(
            require_text(values["case_id"]),
            require_text(values["patient_id"]),
            tuple(images),
            label,
            absent=label is None,
            masks=tuple(tuple(map(Path, paths)) for paths in values.get("masks", ())),
        ),
        folder.path / values["prediction"],
        tuple(stamps.get("images") or ()),
        stamps.get("label"),
        stamps.get("prediction"),
    )


def _hash(path: Path) -> str:
    return content_hash(path)[:16]
