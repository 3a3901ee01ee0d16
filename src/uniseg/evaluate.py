"""``python -m uniseg.evaluate``: a run's test cases, or any tool's label maps -> scores."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from rich.table import Table

from uniseg.cli import entry_point, make_predictor, require_datasets, sources_of, tasks_of
from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.inference.evaluation import Rules, Score, blind_map, read_scores, score_case, summarise, write_scores, write_summary
from uniseg.inference.runner import CaseRunner
from uniseg.inference.postprocess import FILE, Choice, choose, write_cleanings
from uniseg.inference.prompt_files import MAP, SIMILARITY
from uniseg.inference.prompts import SeenCase, prompt_map, prompt_similarity, telling_tasks
from uniseg.models.uniseg import UniSegModel
from uniseg.prepare.dataset import Dataset, find_datasets
from uniseg.prepare.loading import load_label, reference_image
from uniseg.scans.case import Case
from uniseg.scans.inputs import find_inputs
from uniseg.scans.io import read_geometry, read_label

SCORED_SIDES = ("test", "dev")
CHOOSE = "choose"
PROMPT_CASES = 2  # dev scans per task over which the prompts are compared
RULES = (
    "Dice: mean over cases, then classes, then tasks. A class that reference and prediction both lack counts 1; "
    "beside it nnU-Net's convention, which leaves such cases out."
)


def evaluate_run(config: DictConfig) -> dict:
    """Predict and score the cases of one side of every task; writes scores.csv, cases.json, metrics.json under ``output``, with postprocessing.json if chosen.

    Raises:
        InputError: a dataset, the checkpoint, or a case is missing or bad; a side that is not to be looked at in this way.
    """
    side, choosing = config.side, config.postprocessing == CHOOSE
    if side not in SCORED_SIDES or (choosing and side != "dev"):
        raise InputError("side", f"'{side}'", "dev, where postprocessing=choose" if choosing else "test or dev", "correct side=")
    sources, rules = sources_of(config), Rules(**OmegaConf.to_container(config.rules, resolve=True))
    require_datasets(sources)
    checkpoint = OmegaConf.to_container(config.checkpoint) if OmegaConf.is_list(config.checkpoint) else config.checkpoint
    predictor = make_predictor(checkpoint, config.task_files, config.inference, None if choosing else config.postprocessing)
    datasets = find_datasets(tasks_of(config), sources)
    output, fold = Path(config.output), config.data.fold
    for dataset in datasets:
        predictor.model.tasks.position(dataset.task.name)
        for model in predictor.models:
            refuse_seen(model, dataset, fold, side, str(config.checkpoint))
    jobs = [(dataset, case) for dataset in datasets for case in dataset.side(side, fold)]
    if not jobs:
        raise InputError(f"side={side}", "no case on it", "at least one", "list the sides in source.splits of the task file")
    blind_sides = ("train", "dev") if side == "test" else ("train",)
    blind = {d.task.name: blind_map(d.task, d.source, [case for own in blind_sides for case in d.side(own, fold)]) for d in datasets}
    finished = CaseRunner(predictor, output / "predictions").over((case, {dataset.task.name: case.image_paths}) for dataset, case in jobs)
    scores: list[Score] = []
    rows: list[dict] = []
    for (dataset, case), (prediction,) in track(zip(jobs, finished, strict=True), "evaluate", total=len(jobs), console=Console(stderr=True)):
        scores += score_case(dataset.task, dataset.source, case, prediction, blind[dataset.task.name], rules)
        rows.append(_case_row(dataset, case, prediction.relative_to(output)))
    summary = summarise(scores) | {
        "split": side,
        "checkpoint": predictor.fingerprint,
        "postprocessed": bool(predictor.cleanings),
        "stages_s": {stage: round(seconds, 3) for stage, seconds in predictor.stopwatch.seconds.items()},
    }
    for dataset in datasets:
        split = dataset.splits.fold(dataset.task.name, fold)
        if dataset.task.name in summary["tasks"]:
            summary["tasks"][dataset.task.name] |= {
                "modalities": list(dataset.task.modalities),
                "spacing_mm": list(dataset.task.spacing_mm),
                "cases_per_side": {own: len(split[own]) for own in ("train", "dev", "test")},
                "licence": dataset.source.licence,
            }
    write_prompts(predictor.model, datasets, fold, output)
    if choosing:
        choose_postprocessing(datasets, fold, predictor.fingerprint, output)
    write_scores(scores, output / "scores.csv")
    write_json(output / "cases.json", rows)
    write_summary(summary, output / "metrics.json")
    return summary


def choose_postprocessing(datasets: Sequence[Dataset], fold: int, fingerprint: str, output: Path) -> None:
    """Which components are cleaned away, by the Dice of the dev predictions under ``output``; told as a table."""
    choices: list[Choice] = []
    for dataset in datasets:
        name = dataset.task.name
        cases = [partial(_read_pair, dataset, case, output / "predictions" / name / f"{case.case_id}.nii.gz") for case in dataset.side("dev", fold)]
        choices += choose(dataset.task, cases) if cases else []
    write_cleanings(choices, fingerprint, output / FILE)
    table = Table("task", "class", "cases", "kept", "dev Dice before", "after", caption="Chosen on these dev cases, so the gain is an upper bound.")
    for own in choices:
        kept = "largest component" if own.cleaning.largest else f"components from {own.cleaning.least_ml} ml" if own.cleaning.least_ml else "all"
        table.add_row(own.task, own.class_name, str(own.num_cases), kept, f"{own.before:.3f}", f"{own.after:.3f}")
    Console(file=sys.stdout, width=110).print(table)


def _read_pair(dataset: Dataset, case: Case, prediction: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    grid = reference_image(dataset.task, case)
    return read_label(prediction, [grid]), load_label(dataset.task, dataset.source, case), read_geometry(grid).spacing_mm


def refuse_seen(model: UniSegModel, dataset: Dataset, fold: int, scored: str, checkpoint: str) -> None:
    """Ends an evaluation of a network that was trained on cases of the ``scored`` side, or, where that is the test side, chosen on them.

    Raises:
        InputError: names the first of them.
    """
    facts = model.origin.get("data", {}).get(dataset.task.name, {})
    for side in ("train", "dev") if scored == "test" else ("train",):
        seen = sorted(set(facts.get(side, ())) & set(dataset.splits.fold(dataset.task.name, fold)[scored]))
        if seen:
            found = f"{scored} case '{seen[0]}' of '{dataset.task.name}' on its {side} side ({len(seen)} such cases)"
            raise InputError(checkpoint, found, f"a network that never saw the {scored} cases", "evaluate with the task file and split of its training")


def pool(config: DictConfig) -> dict:
    """Out-of-fold scores of all folds as one evaluation; every case counts once, scored by the network that was not trained on it.

    Raises:
        InputError: a run without scores, or a case that two runs scored.
    """
    scores: list[Score] = []
    owner: dict[tuple[str, str], str] = {}
    for run in config.pool:
        path = Path(run) / "evaluation_dev" / "scores.csv"
        own = read_scores(path)
        for key in sorted({(score.task, score.case_id) for score in own}):
            if key in owner:
                raise InputError(path, f"case '{key[1]}' of '{key[0]}', which {owner[key]} has too", "every case in one fold", "give one run of each fold")
            owner[key] = str(run)
        scores += own
    output = Path(config.output)
    summary = summarise(scores) | {"split": "dev", "pooled": list(config.pool)}
    write_scores(scores, output / "scores.csv")
    write_summary(summary, output / "metrics.json")
    return summary


def write_prompts(model: UniSegModel, datasets: Sequence[Dataset], fold: int, output: Path) -> None:
    """``prompts/similarity.npz`` over a few dev scans of every task, ``prompts/map.npz`` over the first; nothing for a network without prompts."""
    seen = [SeenCase(model.tasks[model.tasks.position(dataset.task.name)], case) for dataset in datasets for case in dataset.side("dev", fold)[:PROMPT_CASES]]
    if similarity := prompt_similarity(model, seen):
        similarity.save(output / SIMILARITY)
        prompt_map(model, seen[0], telling_tasks(similarity, seen[0].task.name)).save(output / MAP)


def _case_row(dataset: Dataset, case: Case, prediction: Path) -> dict:
    source = dataset.source
    return {
        "task": dataset.task.name,
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "images": [path and str(path) for path in case.image_paths],
        "label": case.label_path and str(case.label_path),
        "prediction": str(prediction),
        "definition": dataset.task.to_dict(),
        "source": {"layout": source.layout, "root": str(source.root), "label_map": source.label_map, "ignore": source.ignore},
    }


def evaluate_folders(config: DictConfig) -> dict:
    """Score the label maps of one folder against those of another, matched by file name; the one task says what the values mean.

    Raises:
        InputError: not exactly one task, a folder without label maps, a prediction without reference or the reverse.
    """
    tasks, rules = tasks_of(config), Rules(**OmegaConf.to_container(config.rules, resolve=True))
    if len(tasks) != 1:
        raise InputError("task", f"{len(tasks)} tasks", "exactly one", "add task=<name>")
    task, source = tasks[0], sources_of(config)[tasks[0].name]
    predictions = {case.case_id: case.image_paths[0] for case in find_inputs(config.predictions)}
    references = {case.case_id: case.image_paths[0] for case in find_inputs(config.labels)}
    for folder, own, other in ((config.labels, references, predictions), (config.predictions, predictions, references)):
        lacking = sorted(set(other) - set(own))
        if lacking:
            raise InputError(folder, f"no '{lacking[0]}' ({len(lacking)} missing)", "the same cases in both folders", "restore or remove the file")
    scores: list[Score] = []
    for case_id, reference in track(references.items(), "evaluate", console=Console(stderr=True)):
        case = Case(case_id, source.patient_id(case_id), (), reference)
        scores += score_case(task, source, case, predictions[case_id], None, rules)
    output = Path(config.output)
    summary = summarise(scores)
    write_scores(scores, output / "scores.csv")
    write_summary(summary, output / "metrics.json")
    return summary


def summary_table(summary: dict) -> Table:
    """Task means with the image-blind row beside."""
    table = Table("task", "cases", "Dice", "nnU-Net's", "image-blind", caption=RULES)
    for name, task in summary["tasks"].items():
        table.add_row(name, str(task["num_cases"]), *(_number(task[key]) for key in ("dice", "dice_nnunet", "blind_dice")))
    table.add_section()
    table.add_row("mean", "", *(_number(summary[key]) for key in ("mean_dice", "mean_dice_nnunet", "blind_mean_dice")))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


@entry_point("evaluate")
def main(config: DictConfig) -> None:
    if (config.predictions is None) != (config.labels is None):
        raise InputError("evaluate", "one of predictions and labels", "both folders, or neither", "add the other")
    work = pool if config.pool is not None else evaluate_run if config.predictions is None else evaluate_folders
    summary = work(config)
    Console(file=sys.stdout, width=110).print(summary_table(summary))


if __name__ == "__main__":
    main()
