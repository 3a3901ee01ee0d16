"""``python -m uniseg.evaluate``: a run's test cases, or any tool's label maps -> scores."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("evaluate")

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from uniseg.commands.builders import close_loggers, make_loggers, make_predictor, require_datasets, sources_of, tasks_of
from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset, find_datasets
from uniseg.datasets.inputs import find_images
from uniseg.datasets.labels import load_label, reference_image
from uniseg.datasets.split_file import SPLITS
from uniseg.errors import InputError
from uniseg.evaluation.case_files import CASES, METRICS, SCORES, case_row, require_replaceable
from uniseg.evaluation.in_order import in_order
from uniseg.evaluation.prompts import SeenCase, prompt_map, prompt_similarity, telling_tasks
from uniseg.evaluation.score_case import FILE_VALUES, TASK_VALUES, Rules, blind_map, load_prediction, score_case
from uniseg.evaluation.scores import Score, read_scores, summarise, write_scores, write_summary
from uniseg.files import write_json
from uniseg.images.files import read_geometry
from uniseg.inference.case_runner import CaseRunner, Outcome
from uniseg.inference.outputs import is_predicted_probabilities, label_path
from uniseg.inference.postprocessing import FILE, Choice, choose, write_postprocessing
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import EvaluationFolder, RunFolder
from uniseg.weights.seen import LEARNT_FROM, find_seen

T = TypeVar("T")
SCORED_SPLITS = ("test", "val")
CHOOSE = "choose"
CSV = "lightning.pytorch.loggers.CSVLogger"  # of the training's curves, which scores would replace
PREDICTIONS = "predictions"
PROMPT_CASES = 2  # val scans per task over which the prompts are compared
RULES = (
    "Dice: mean over cases, then classes, then tasks. A class that reference and prediction both lack counts 1; "
    "beside it nnU-Net's convention, which leaves such cases out."
)


def evaluate_run(config: DictConfig) -> dict:
    """Predict and score the cases of one split of every task; writes scores.csv, cases.json, metrics.json under
    ``output``, with postprocessing.json if chosen.

    Raises:
        InputError: a dataset, the checkpoint, or a case is missing or bad; a split that is not to be looked at in this
            way.
    """
    split, choosing = config.split, config.postprocessing == CHOOSE
    if split not in SCORED_SPLITS or (choosing and split != "val"):
        expected = "val, where postprocessing=choose" if choosing else "test or val"
        raise InputError("split", f"'{split}'", expected, "correct split=")
    sources, rules = sources_of(config), Rules(**OmegaConf.to_container(config.rules, resolve=True))
    require_datasets(sources)
    checkpoint = (
        OmegaConf.to_container(config.checkpoint) if OmegaConf.is_list(config.checkpoint) else config.checkpoint
    )
    predictor = make_predictor(
        checkpoint, config.task_files, config.inference, None if choosing else config.postprocessing
    )
    datasets = find_datasets(tasks_of(config), sources)
    output, fold = Path(config.output), config.data.fold
    for dataset in datasets:
        predictor.model.tasks.position(dataset.task.name)
        for model in predictor.models:
            refuse_seen(model, dataset, fold, split, str(config.checkpoint))
    jobs = [(dataset, case) for dataset in datasets for case in dataset.cases_of(split, fold)]
    if not jobs:
        fix = "list the cases of each split in source.splits of the task file"
        raise InputError(f"split={split}", "no case in it", "at least one", fix)
    require_replaceable(output)
    blind_splits = ("train", "val") if split == "test" else ("train",)
    blind = {
        d.task.name: blind_map(d.task, d.source, [case for own in blind_splits for case in d.cases_of(own, fold)])
        for d in datasets
    }
    runner = CaseRunner(predictor, output / PREDICTIONS)
    finished = runner.run([(case, {dataset.task.name: case.image_paths}) for dataset, case in jobs])
    scored = _all_scored(partial(_score_own, blind, rules, output), zip(jobs, finished, strict=True), len(jobs))
    scores = [score for each in scored for score in each.scores]
    summary = summarise(scores) | {
        "split": split,
        "checkpoint": predictor.checkpoint_hash,
        "postprocessed": bool(predictor.postprocessing),
        "rules": asdict(rules),
        "stages_s": {stage: round(seconds, 3) for stage, seconds in predictor.stopwatch.seconds.items()},
    }
    for dataset in datasets:
        splits = dataset.splits.fold(dataset.task.name, fold)
        if dataset.task.name in summary["tasks"]:
            summary["tasks"][dataset.task.name] |= {
                "modalities": list(dataset.task.modalities),
                "spacing_mm": list(dataset.task.spacing_mm),
                "cases_per_split": {own: len(splits[own]) for own in SPLITS},
                "licence": dataset.source.licence,
            }
    write_prompts(predictor.model, datasets, fold, output)
    if choosing:
        choose_postprocessing(datasets, fold, predictor.checkpoint_hash, output)
    write_scores(scores, output / SCORES)
    write_json(output / CASES, [each.row for each in scored])
    write_summary(summary, output / METRICS)
    return summary


@dataclass(frozen=True)
class Scored:
    """What became of a case: its scores with its row in cases.json, or why it has none."""

    scores: tuple[Score, ...] = ()
    row: dict | None = None
    refusal: InputError | None = None


def _score_own(
    blind: dict[str, np.ndarray], rules: Rules, output: Path, item: tuple[tuple[Dataset, Case], Outcome]
) -> Scored:
    (dataset, case), outcome = item
    if outcome.refusal is not None:
        return Scored(refusal=outcome.refusal)
    (prediction,), task, source = outcome.paths, dataset.task, dataset.source
    try:
        row = case_row(task, source, case, prediction, output)
        return Scored(tuple(score_case(task, source, case, prediction, blind[task.name], rules)), row)
    except InputError as error:
        return Scored(refusal=error)


def _all_scored(work: Callable[[T], Scored], items: Iterable[T], total: int) -> list[Scored]:
    """Every case, or none: a mean that lacks a case without saying so would be another's.

    Raises:
        InputError: the first refusal, once all cases were tried; the others are told.
    """
    console = Console(stderr=True, soft_wrap=True)
    scored = list(track(in_order(work, items), "evaluate", total=total, console=console))
    refusals = [each.refusal for each in scored if each.refusal is not None]
    if refusals:
        for refusal in refusals if len(refusals) > 1 else ():
            console.print(f"refused {refusal}", markup=False, highlight=False)
        first, count = refusals[0], f"{len(refusals)} of {total} cases cannot be scored, so that nothing is"
        raise InputError(first.where, f"{first.found} ({count})", first.expected, first.fix) from first
    return scored


def choose_postprocessing(datasets: Sequence[Dataset], fold: int, checkpoint_hash: str, output: Path) -> None:
    """Which components are cleaned away, by the Dice of the val predictions under ``output``; told as a table."""
    choices: list[Choice] = []
    for dataset in datasets:
        name = dataset.task.name
        paths = {case: label_path(output / PREDICTIONS, name, case.case_id) for case in dataset.cases_of("val", fold)}
        cases = [partial(_read_pair, dataset, case, path) for case, path in paths.items()]
        choices += choose(dataset.task, cases) if cases else []
    write_postprocessing(choices, checkpoint_hash, output / FILE)
    table = Table(
        "task",
        "class",
        "cases",
        "kept",
        "val Dice before",
        "after",
        caption="Chosen on these val cases, so the gain is an upper bound.",
    )
    for own in choices:
        kept = (
            "largest component"
            if own.rule.largest
            else f"components from {own.rule.least_ml} ml"
            if own.rule.least_ml
            else "all"
        )
        table.add_row(
            escape(own.task), escape(own.class_name), str(own.num_cases), kept, f"{own.before:.3f}", f"{own.after:.3f}"
        )
    Console(file=sys.stdout, width=110).print(table)


def _read_pair(dataset: Dataset, case: Case, prediction: Path) -> tuple[np.ndarray, np.ndarray, float]:
    task, source = dataset.task, dataset.source
    voxel_ml = read_geometry(reference_image(task, case)).voxel_ml
    return load_prediction(task, source, case, prediction), load_label(task, source, case), voxel_ml


def refuse_seen(model: UniSegModel, dataset: Dataset, fold: int, scored: str, checkpoint: str) -> None:
    """Ends an evaluation of a network that was trained on cases of the ``scored`` split, or, where that is the test
    split, chosen on them.

    Raises:
        InputError: names the first of them.
    """
    name, patients = dataset.task.name, dataset.splits.patients
    scored_patients = {case_id: patients[case_id] for case_id in dataset.splits.fold(name, fold)[scored]}
    splits = LEARNT_FROM if scored == "test" else ("train",)
    seen = list(find_seen(model.origin.get("data", {}), name, scored_patients, splits))
    if not seen:
        return
    one, number = seen[0], f"({len(seen)} such cases)"
    expected = f"a network that never saw the {scored} cases"
    if not one.patient:
        found = f"{scored} case '{one.case_id}' of '{name}' in its {one.split} split {number}"
        raise InputError(checkpoint, found, expected, "evaluate with the task file and split of its training")
    where = f"in its {one.split} split of '{one.task}'"
    found = f"{scored} case '{one.case_id}' of '{name}', whose patient '{one.patient}' is {where} {number}"
    fix = "give these patients one split in all its trainings, or, if they are others, a patient_namespace of their own"
    raise InputError(checkpoint, found, expected, fix)


def pool(config: DictConfig) -> dict:
    """Out-of-fold scores of all folds as one evaluation; every case counts once, scored by the network that was not
    trained on it.

    Raises:
        InputError: a run without scores, or a case that two runs scored.
    """
    scores: list[Score] = []
    owner: dict[tuple[str, str], str] = {}
    for run in config.pool:
        path = RunFolder(Path(run)).evaluation("val").scores
        own = read_scores(path)
        for key in sorted({(score.task, score.case_id) for score in own}):
            if key in owner:
                raise InputError(
                    path,
                    f"case '{key[1]}' of '{key[0]}', which {owner[key]} has too",
                    "every case in one fold",
                    "give one run of each fold",
                )
            owner[key] = str(run)
        scores += own
    output = Path(config.output)
    require_replaceable(output)
    summary = summarise(scores) | {"split": "val", "pooled": list(config.pool)}
    write_scores(scores, output / SCORES)
    write_summary(summary, output / METRICS)
    return summary


def write_prompts(model: UniSegModel, datasets: Sequence[Dataset], fold: int, output: Path) -> None:
    """``prompts/similarity.npz`` over a few val scans of every task, ``prompts/map.npz`` over the first; nothing for a
    network without prompts.
    """
    seen = [
        SeenCase(model.tasks[model.tasks.position(dataset.task.name)], case)
        for dataset in datasets
        for case in dataset.cases_of("val", fold)[:PROMPT_CASES]
    ]
    if similarity := prompt_similarity(model, seen):
        similarity.save(EvaluationFolder(output).prompt_similarity)
        prompt_map(model, seen[0], telling_tasks(similarity, seen[0].task.name)).save(
            EvaluationFolder(output).prompt_map
        )


def evaluate_folders(config: DictConfig) -> dict:
    """Score the label maps of one folder against those of another, matched by file name; the one task says what the
    values mean.

    Our own probabilities beside label maps are passed over.

    Raises:
        InputError: not exactly one task, a folder without label maps, a prediction without reference or the reverse, a
            case that cannot be scored.
    """
    tasks, rules = tasks_of(config), Rules(**OmegaConf.to_container(config.rules, resolve=True))
    if len(tasks) != 1:
        raise InputError("task", f"{len(tasks)} tasks", "exactly one", "add task=<name>")
    if config.predictions_use not in (None, TASK_VALUES, FILE_VALUES):
        found, expected = f"'{config.predictions_use}'", f"{TASK_VALUES}, {FILE_VALUES} or null"
        raise InputError("predictions_use", found, expected, "correct the word")
    task, source, output = tasks[0], sources_of(config)[tasks[0].name], Path(config.output)
    require_replaceable(output)
    predictions, references = (
        {name: path for name, path in find_images(folder).items() if not is_predicted_probabilities(path)}
        for folder in (config.predictions, config.labels)
    )
    for folder, own, other in ((config.labels, references, predictions), (config.predictions, predictions, references)):
        lacking = sorted(set(other) - set(own))
        if lacking:
            raise InputError(
                folder,
                f"no '{lacking[0]}' ({len(lacking)} missing)",
                "the same cases in both folders",
                "restore or remove the file",
            )

    def score(case_id: str) -> Scored:
        try:
            case = Case(case_id, source.patient_id(case_id), (), references[case_id])
            use = config.predictions_use
            return Scored(tuple(score_case(task, source, case, predictions[case_id], None, rules, use)))
        except InputError as error:
            return Scored(refusal=error)

    scores = [score for each in _all_scored(score, references, len(references)) for score in each.scores]
    summary = summarise(scores) | {"rules": asdict(rules)}
    write_scores(scores, output / SCORES)
    write_summary(summary, output / METRICS)
    return summary


def summary_table(summary: dict) -> Table:
    """Task means with the image-blind row beside."""
    table = Table("task", "cases", "Dice", "nnU-Net's", "image-blind", caption=RULES)
    for name, task in summary["tasks"].items():
        table.add_row(
            escape(name), str(task["num_cases"]), *(_number(task[key]) for key in ("dice", "dice_nnunet", "blind_dice"))
        )
    table.add_section()
    table.add_row("mean", "", *(_number(summary[key]) for key in ("mean_dice", "mean_dice_nnunet", "blind_mean_dice")))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def log_scores(config: DictConfig, summary: dict) -> None:
    """Hand the mean Dice to the loggers beside the CSV, which join the run that was trained."""
    loggers = make_loggers({name: block for name, block in config.logger.items() if block["_target_"] != CSV})
    split = summary.get("split", "test")
    dice = {f"{split}/dice": summary["mean_dice"]}
    dice |= {f"{split}/dice/{name}": task["dice"] for name, task in summary["tasks"].items()}
    for logger in loggers:
        logger.log_metrics({key: value for key, value in dice.items() if value is not None})
    close_loggers(loggers)


def main(config: DictConfig) -> None:
    if (config.predictions is None) != (config.labels is None):
        raise InputError("evaluate", "one of predictions and labels", "both folders, or neither", "add the other")
    work = pool if config.pool is not None else evaluate_run if config.predictions is None else evaluate_folders
    summary = work(config)
    log_scores(config, summary)
    Console(file=sys.stdout, width=110).print(summary_table(summary))
