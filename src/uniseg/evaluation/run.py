"""The cases of one split of a run: predicted, scored, written down."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.split_file import SPLITS
from uniseg.errors import InputError
from uniseg.evaluation.baseline import majority_vote
from uniseg.evaluation.case_record import CaseRecord
from uniseg.evaluation.choose_postprocessing import choose_postprocessing
from uniseg.evaluation.output import require_replaceable, write_evaluation
from uniseg.evaluation.prompts import write_prompts
from uniseg.evaluation.records import Summary, TaskData
from uniseg.evaluation.score_all import ScoredCase, score_all
from uniseg.evaluation.scoring import Scorer
from uniseg.evaluation.summary import summarise
from uniseg.inference.case_runner import CaseRunner, Outcome
from uniseg.inference.postprocessing import Choice, write_postprocessing
from uniseg.inference.predictor import Predictor
from uniseg.run_folder import TEST, EvaluationFolder
from uniseg.task import TaskSet
from uniseg.weights.seen import LEARNT_FROM, find_seen

SCORED_SPLITS = ("test", "val")


@dataclass(frozen=True)
class RunEvaluation:
    """What an evaluation of a run found; ``choices`` of postprocessing are None where none were made.

    Examples:
        >>> evaluate_run(predictor, datasets, scorer, split="test", fold=0, output=folder).summary  # doctest: +SKIP
    """

    summary: Summary
    choices: list[Choice] | None


def evaluate_run(
    predictor: Predictor,
    datasets: Sequence[Dataset],
    scorer: Scorer,
    *,
    split: str,
    fold: int,
    output: EvaluationFolder,
    choose: bool = False,
    checkpoint: str = "checkpoint",
    title: str = "evaluate",
) -> RunEvaluation:
    """Predict and score the cases of one split of every task; writes scores.csv, cases.json, metrics.json, with
    postprocessing.json if it is to be chosen.

    Args:
        checkpoint: what messages call the weights.
        title: of the progress bar.

    Raises:
        InputError: a split without cases, one that the network has seen, or a case that cannot be predicted or scored.
    """
    for dataset in datasets:
        predictor.model.tasks.position(dataset.task.name)
        for model in predictor.models:
            refuse_seen(model.provenance.data, dataset, fold, split, checkpoint)
    jobs = [(dataset, case) for dataset in datasets for case in dataset.cases_of(split, fold)]
    if not jobs:
        listed = "list the cases of each split in source.splits of the task file"
        fix = f"score those of split=val, or {listed}" if split == TEST else listed
        raise InputError(f"split={split}", "no case in it", "at least one", fix)
    require_replaceable(output)
    baselines = {dataset.task.name: _baseline(dataset, fold, split) for dataset in datasets}
    outcomes = CaseRunner(predictor, output.predictions).run(
        [(case, {dataset.task.name: case.image_paths}) for dataset, case in jobs]
    )
    scored = score_all(partial(_score, scorer, baselines), zip(jobs, outcomes, strict=True), len(jobs), title)
    scores = [score for each in scored for score in each.scores]
    summary = summarise(
        scores,
        {dataset.task.name: _task_data(dataset, fold, predictor.model.tasks) for dataset in datasets},
        split=split,
        checkpoint=predictor.checkpoint_hash,
        postprocessed=bool(predictor.postprocessing),
        rules=asdict(scorer.rules),
        stages_s={stage: round(seconds, 3) for stage, seconds in predictor.stopwatch.seconds.items()},
    )
    write_prompts(predictor.model, datasets, fold, output)
    choices = choose_postprocessing(datasets, {fold: output}) if choose else None
    if choices is not None:
        write_postprocessing(choices, predictor.checkpoint_hash, output.postprocessing)
    write_evaluation(output, scores, summary, [each.record for each in scored if each.record is not None])
    return RunEvaluation(summary, choices)


def _baseline(dataset: Dataset, fold: int, split: str) -> np.ndarray:
    """Of every case that is not scored."""
    cases = [case for other in _before(split) for case in dataset.cases_of(other, fold)]
    return majority_vote(dataset.task, dataset.source, cases)


def _before(split: str) -> Sequence[str]:
    """Splits that a network may have learnt from, or been chosen on, before ``split`` is scored."""
    return LEARNT_FROM if split == "test" else ("train",)


def _score(
    scorer: Scorer, baselines: Mapping[str, np.ndarray], item: tuple[tuple[Dataset, Case], Outcome]
) -> ScoredCase:
    (dataset, case), outcome = item
    if outcome.refusal is not None:
        raise outcome.refusal
    (prediction,), task, source = outcome.paths, dataset.task, dataset.source
    record = CaseRecord.of(task, source, case, prediction)
    return ScoredCase(tuple(scorer.score_case(task, source, case, prediction, baselines[task.name])), record)


def _task_data(dataset: Dataset, fold: int, tasks: TaskSet) -> TaskData:
    """The spacing is the network's, which a fine-tuning may have planned otherwise than the task file."""
    task = tasks[tasks.position(dataset.task.name)]
    cases = dataset.splits.fold(dataset.task.name, fold)
    counts = {split: len(cases[split]) for split in SPLITS}
    return TaskData(task.modalities, task.spacing_mm, counts, dataset.source.licence)


def require_scored_split(split: str, *, choose: bool) -> None:
    """
    Raises:
        InputError: a split whose cases are not for scoring, or not for choosing.
    """
    if split not in SCORED_SPLITS or (choose and split != "val"):
        expected = "val, where postprocessing=choose" if choose else "test or val"
        raise InputError("split", f"'{split}'", expected, "correct split=")


def refuse_seen(data: Mapping[str, Mapping], dataset: Dataset, fold: int, split: str, checkpoint: str) -> None:
    """Ends an evaluation of a network that was trained on cases of ``split``, or, where that is the test split, chosen
    on them.

    Args:
        data: of the network's provenance.

    Raises:
        InputError: names the first of them.
    """
    name, patients = dataset.task.name, dataset.splits.patients
    scored = {case_id: patients[case_id] for case_id in dataset.splits.fold(name, fold)[split]}
    seen = list(find_seen(data, name, scored, _before(split)))
    if not seen:
        return
    first, number = seen[0], f"({len(seen)} such cases)"
    expected = f"a network that never saw the {split} cases"
    if not first.patient:
        found = f"{split} case '{first.case_id}' of '{name}' in its {first.split} split {number}"
        raise InputError(checkpoint, found, expected, "evaluate with the task file and split of its training")
    where = f"in its {first.split} split of '{first.task}'"
    found = f"{split} case '{first.case_id}' of '{name}', whose patient '{first.patient}' is {where} {number}"
    fix = "give these patients one split in all its trainings, or, if they are others, a patient_namespace of their own"
    raise InputError(checkpoint, found, expected, fix)
