"""Two folders of label maps, any tool's and the references."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.datasets.inputs import find_images
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.evaluation.output import require_replaceable, write_evaluation
from uniseg.evaluation.predictions import FILE_VALUES, TASK_VALUES
from uniseg.evaluation.records import Summary
from uniseg.evaluation.score_all import ScoredCase, score_all
from uniseg.evaluation.scoring import Scorer
from uniseg.evaluation.summary import summarise
from uniseg.inference.outputs import is_predicted_probabilities
from uniseg.run_folder import EvaluationFolder
from uniseg.task import Task


def evaluate_folders(
    task: Task,
    source: Source,
    predictions: Path,
    references: Path,
    output: EvaluationFolder,
    scorer: Scorer,
    *,
    values: str | None = None,
) -> Summary:
    """Score the label maps of one folder against those of another, matched by file name.

    Our own probabilities beside label maps are passed over.

    Args:
        task: says what the values mean.
        values: whose the predictions hold, as of ``load_prediction``.

    Raises:
        InputError: a folder without label maps, a prediction without reference or the reverse, a case that cannot be
            scored.
    """
    if values not in (None, TASK_VALUES, FILE_VALUES):
        expected = f"{TASK_VALUES}, {FILE_VALUES} or null"
        raise InputError("predictions_use", f"'{values}'", expected, "correct the word")
    require_replaceable(output)
    predicted, labels = _label_maps(predictions), _label_maps(references)
    _require_same(references, labels, predicted)
    _require_same(predictions, predicted, labels)

    def score(case_id: str) -> ScoredCase:
        case = Case(case_id, source.patient_id(case_id), (), labels[case_id])
        return ScoredCase(tuple(scorer.score_case(task, source, case, predicted[case_id], values=values)))

    scores = [score for each in score_all(score, labels, len(labels)) for score in each.scores]
    summary = summarise(scores, rules=asdict(scorer.rules))
    write_evaluation(output, scores, summary)
    return summary


def _label_maps(folder: Path) -> dict[str, Path]:
    """Case id -> file."""
    return {case_id: path for case_id, path in find_images(folder).items() if not is_predicted_probabilities(path)}


def _require_same(folder: Path, files: Mapping[str, Path], others: Mapping[str, Path]) -> None:
    lacking = sorted(set(others) - set(files))
    if lacking:
        found = f"no '{lacking[0]}' ({len(lacking)} missing)"
        raise InputError(folder, found, "the same cases in both folders", "restore or remove the file")
