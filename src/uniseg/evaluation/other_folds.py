"""What another tool says out of fold of our cases: nnU-Net's validation label maps, or folders that were scored."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from uniseg.datasets.dataset import Dataset
from uniseg.datasets.inputs import find_images
from uniseg.errors import InputError
from uniseg.evaluation.output import require_replaceable, write_evaluation
from uniseg.evaluation.pool import pool_scores
from uniseg.evaluation.records import Score, Summary, read_scores
from uniseg.evaluation.score_all import ScoredCase, score_all
from uniseg.evaluation.scoring import Scorer
from uniseg.evaluation.summary import summarise
from uniseg.run_folder import EvaluationFolder
from uniseg.weights.foreign.nnunet_results import TrainedConfiguration, find_configurations

VALIDATION = "validation"
ALL = "fold_all"  # trained on every case, so that nothing of it is out of fold


@dataclass(frozen=True)
class OtherFolds:
    """Another tool's scores of our cases, and what is to be said of them, one line each.

    Examples:
        >>> OtherFolds(None, ["hippocampus: 3 cases lie in another fold there"]).notes[0][:11]
        'hippocampus'
    """

    summary: Summary | None
    notes: Sequence[str] = ()


def other_folders(given: Any, task_names: Sequence[str]) -> list[tuple[str | None, Path]]:
    """(task, or None where the folder says it itself; folder) of what ``nnunet_folds`` names.

    Raises:
        InputError: not a path, a list of paths, or paths by task; an unknown task; a folder with neither scores nor
            validation label maps.
    """
    by_task = given if isinstance(given, Mapping) else {None: given}
    folders = []
    for name, paths in by_task.items():
        listed = [paths] if isinstance(paths, str) else paths
        if not isinstance(listed, Sequence) or not listed or not all(isinstance(each, str) for each in listed):
            expected = "a folder, a list of folders, or {task: folder}"
            raise InputError("nnunet_folds", f"{given!r:.100}", expected, "correct nnunet_folds=")
        if name is not None and name not in task_names:
            raise InputError("nnunet_folds", f"task '{name}'", f"one of {', '.join(task_names)}", "correct the name")
        folders += [(name, Path(each)) for each in listed]
    for name, path in folders:
        if not path.is_dir():
            expected = "nnU-Net's results of a dataset, or a folder that uniseg.evaluate wrote"
            raise InputError(path, "no such folder", expected, "correct nnunet_folds=")
        if EvaluationFolder(path).scores.is_file():
            continue
        if name is None and len(task_names) > 1:
            found, expected = f"label maps of one of {len(task_names)} tasks", "to know of which"
            raise InputError(path, found, expected, f"give nnunet_folds={{{task_names[0]}:<folder>}}")
        validation_maps(path)  # now, and not after all folds are trained
    return folders


def score_other_folds(
    folders: Sequence[tuple[str | None, Path]],
    datasets: Sequence[Dataset],
    scorer: Scorer,
    output: EvaluationFolder,
    values: str | None,
) -> OtherFolds:
    """Scores of the cases that our folds hold, written as an evaluation.

    Args:
        folders: of ``other_folders``.
        values: whose the label maps hold, as of ``load_prediction``.

    Raises:
        InputError: a folder without validation label maps or scores, or without any of our cases; a case twice.
    """
    by_name, notes = {dataset.task.name: dataset for dataset in datasets}, []
    folds: list[tuple[Path, Path, Sequence[Score]]] = []
    require_replaceable(output)
    for name, path in folders:
        scored = EvaluationFolder(path).scores
        if scored.is_file():
            ours = {each: set(_fold_of(dataset)) for each, dataset in by_name.items()}
            scores = [score for score in read_scores(scored) if score.case_id in ours.get(score.task, ())]
        else:
            dataset = by_name[name or next(iter(by_name))]
            scores, lines = _score_results(path, dataset, scorer, values)
            notes += lines
        if not scores:
            fix = "give the folds of the same dataset"
            raise InputError(path, "none of the cases of our folds", "the same cases", fix)
        folds.append((path, scored, scores))
    pooled = pool_scores(folds)
    lacking = sum(len(_fold_of(dataset)) for dataset in datasets) - len({(s.task, s.case_id) for s in pooled})
    if lacking:
        notes.append(f"{lacking} of our cases are not among theirs, and are left out of the comparison")
    summary = summarise(pooled, split="val", rules=asdict(scorer.rules))
    write_evaluation(output, pooled, summary)
    return OtherFolds(summary, notes)


def _score_results(path: Path, dataset: Dataset, scorer: Scorer, values: str | None) -> tuple[list[Score], list[str]]:
    """Of nnU-Net's results folder."""
    maps, ours = validation_maps(path), _fold_of(dataset)
    task, common = dataset.task, sorted(maps.keys() & ours.keys())

    def score(case_id: str) -> ScoredCase:
        case, (_, prediction) = dataset.cases[case_id], maps[case_id]
        return ScoredCase(tuple(scorer.score_case(task, dataset.source, case, prediction, values=values)))

    scores = [score for each in score_all(score, common, len(common), f"evaluate {path.name}") for score in each.scores]
    moved = sum(maps[case_id][0] != f"fold_{ours[case_id]}" for case_id in common)
    notes = {
        f"{task.name}: {moved} of {len(common)} cases lie in another fold there": moved,
        f"{task.name}: {len(maps) - len(common)} of their cases are in none of our folds; they trained on them": len(
            maps
        )
        - len(common),
    }
    return scores, [note for note, number in notes.items() if number]


def validation_maps(folder: Path) -> dict[str, tuple[str, Path]]:
    """Case id -> (fold, label map) below ``fold_*/validation``.

    Raises:
        InputError: none; several configurations; a case in two folds.
    """
    results = folder if any(folder.glob(f"fold_*/{VALIDATION}")) else _only_configuration(folder).folder
    folds = [path for path in TrainedConfiguration(results).folds() if path.name != ALL]
    maps: dict[str, tuple[str, Path]] = {}
    held = Counter[str]()
    for fold in folds:
        if (fold / VALIDATION).is_dir():
            found = {case_id: (fold.name, path) for case_id, path in find_images(fold / VALIDATION).items()}
            held.update(list(found))
            maps |= found
    if not maps:
        expected, fix = f"fold_0/{VALIDATION} with label maps", "run nnUNetv2_train ... --val, or correct nnunet_folds="
        raise InputError(folder, "no validation label maps", expected, fix)
    twice = [case_id for case_id, number in held.items() if number > 1]
    if twice:
        raise InputError(results, f"case '{twice[0]}' in two folds", "each case in one", "remove the stale folder")
    return maps


def _only_configuration(folder: Path) -> TrainedConfiguration:
    found = find_configurations(folder)
    if len(found) > 1:
        names = ", ".join(each.folder.name for each in found)
        raise InputError(folder, f"{len(found)} configurations ({names})", "one", "name its folder in nnunet_folds=")
    return found[0]


def _fold_of(dataset: Dataset) -> dict[str, int]:
    """Case id -> the fold that holds it out."""
    return {case_id: number for number, fold in enumerate(dataset.splits.folds) for case_id in fold}
