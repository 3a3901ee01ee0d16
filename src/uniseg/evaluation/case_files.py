"""The files of an evaluation: which cases were scored, whether they still are what they were, what may be replaced."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.images.stamp import stamp
from uniseg.inference.outputs import ELSEWHERE, json_path, read_prediction_json, require_folder
from uniseg.task import Task

SCORES, CASES, METRICS = "scores.csv", "cases.json", "metrics.json"
BEGINNINGS = {
    SCORES: b"task,case_id,",
    CASES: b'"task": ',
    METRICS: b'"mean_dice": ',
    "postprocessing.json": b'"uniseg postprocessing"',
}
BEGINNING_BYTES = 200


def case_row(task: Task, source: Source, case: Case, prediction: Path, output: Path) -> dict:
    """Where a scored case lies, how it is read, as plain containers.

    Paths are absolute; that of the prediction leads from ``output``, with which it moves.

    Raises:
        InputError: the label is not there.
    """
    told = read_prediction_json(json_path(prediction)) or {}
    return {
        "task": task.name,
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "images": [path and os.path.abspath(path) for path in case.image_paths],
        "label": case.label_path and os.path.abspath(case.label_path),
        "prediction": prediction.relative_to(output).as_posix(),
        "stamps": {
            "images": told.get("stamps"),
            "label": case.label_path and stamp(case.label_path),
            "prediction": content_hash(prediction),
        },
        "definition": task.to_dict(),
        "source": {
            "layout": source.layout,
            "root": os.path.abspath(source.root),
            "label_map": source.label_map,
            "ignore": source.ignore,
        },
    }


def content_hash(path: Path) -> str:
    """Of a prediction, which is small and moves with its run folder, so that its time says nothing."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def require_unchanged(stamps: Iterable[tuple[Path, dict]], prediction: Path, prediction_hash: str | None) -> None:
    """Compares what is still there with what was scored.

    Args:
        stamps: files with the stamps that were kept of them.

    Raises:
        InputError: another scan, label or prediction lies there now.
    """
    moved = [path for path, before in stamps if path.exists() and stamp(path) != before]
    if prediction_hash is not None and prediction.is_file() and content_hash(prediction) != prediction_hash:
        moved.append(prediction)
    if moved:
        raise InputError(
            moved[0],
            "another file than the one that was scored",
            "the same scans, labels and predictions",
            "evaluate again",
        )


def require_replaceable(output: Path) -> None:
    """Looks at the folder of an evaluation ahead of all work.

    Raises:
        InputError: it cannot be one, or a file lies there that is called as one of ours and is another's.
    """
    require_folder(output)
    for name, beginning in BEGINNINGS.items():
        path = output / name
        try:
            with path.open("rb") as file:
                begins = file.read(BEGINNING_BYTES)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(
                path, error.strerror or str(error), "a file that may be read and replaced", ELSEWHERE
            ) from error
        if begins.strip() not in (b"", b"[]") and beginning not in begins:
            raise InputError(path, "a file that uniseg.evaluate did not write", "nothing, or an evaluation", ELSEWHERE)
