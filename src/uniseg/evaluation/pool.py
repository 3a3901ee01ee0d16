"""Out-of-fold scores of all folds as one evaluation."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from uniseg.errors import InputError
from uniseg.evaluation.output import require_replaceable, write_evaluation
from uniseg.evaluation.records import Score, Summary, read_scores
from uniseg.evaluation.summary import summarise
from uniseg.run_folder import EvaluationFolder, RunFolder


def pool_folds(runs: Sequence[Path], output: EvaluationFolder) -> Summary:
    """The validation scores of runs of all folds; every case counts once, scored by the network that was not trained on
    it.

    Raises:
        InputError: a run without scores, or a case that two runs scored.
    """
    files = ((run, RunFolder(run).evaluation("val").scores) for run in runs)
    scores = pool_scores((run, path, read_scores(path)) for run, path in files)
    require_replaceable(output)
    summary = summarise(scores, split="val", pooled=tuple(map(str, runs)))
    write_evaluation(output, scores, summary)
    return summary


def pool_scores(folds: Iterable[tuple[Path, Path, Sequence[Score]]]) -> list[Score]:
    """All of them.

    Args:
        folds: what a message calls the fold, the file of its scores, the scores.

    Raises:
        InputError: a case that two folds scored.
    """
    scores: list[Score] = []
    owner: dict[tuple[str, str], Path] = {}
    for name, path, fold_scores in folds:
        for task, case_id in sorted({(score.task, score.case_id) for score in fold_scores}):
            if (task, case_id) in owner:
                found = f"case '{case_id}' of '{task}', which {owner[task, case_id]} has too"
                raise InputError(path, found, "every case in one fold", "give one run of each fold")
            owner[task, case_id] = name
        scores += fold_scores
    return scores
