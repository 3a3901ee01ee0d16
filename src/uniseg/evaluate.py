"""``python -m uniseg.evaluate``: a run's test cases, or any tool's label maps -> scores."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from rich.table import Table

from uniseg.cli import entry_point, make_predictor, require_datasets, sources_of, tasks_of
from uniseg.errors import InputError
from uniseg.inference.evaluation import Rules, Score, blind_map, score_case, summarise, write_scores, write_summary
from uniseg.inference.prompt_files import MAP, SIMILARITY
from uniseg.inference.prompts import SeenCase, prompt_map, prompt_similarity, telling_tasks
from uniseg.models.uniseg import UniSegModel
from uniseg.prepare.dataset import Dataset, find_datasets
from uniseg.scans.case import Case
from uniseg.scans.inputs import find_inputs

PROMPT_CASES = 2  # dev scans per task over which the prompts are compared
RULES = (
    "Dice: mean over cases, then classes, then tasks. A class that reference and prediction both lack counts 1; "
    "beside it nnU-Net's convention, which leaves such cases out."
)


def evaluate_run(config: DictConfig) -> dict:
    """Predict and score the test cases of every task; writes scores.csv, cases.json, metrics.json under ``output``.

    Raises:
        InputError: a dataset, the checkpoint, or a test case is missing or bad.
    """
    sources, rules = sources_of(config), Rules(**OmegaConf.to_container(config.rules, resolve=True))
    require_datasets(sources)
    predictor = make_predictor(config.checkpoint, config.task_files, config.inference)
    datasets = find_datasets(tasks_of(config), sources)
    output, fold = Path(config.output), config.data.fold
    for dataset in datasets:
        predictor.model.tasks.position(dataset.task.name)
        refuse_seen(predictor.model, dataset, fold, config.checkpoint)
    scores: list[Score] = []
    rows: list[dict] = []
    jobs = [(dataset, case) for dataset in datasets for case in dataset.side("test", fold)]
    blind = {d.task.name: blind_map(d.task, d.source, [*d.side("train", fold), *d.side("dev", fold)]) for d in datasets}
    for dataset, case in track(jobs, "evaluate", console=Console(stderr=True)):
        name = dataset.task.name
        (prediction,) = predictor.predict_case(case.case_id, {name: case.image_paths}, output / "predictions")
        scores += score_case(dataset.task, dataset.source, case, prediction, blind[name], rules)
        rows.append(_case_row(dataset, case, prediction.relative_to(output)))
    summary = summarise(scores) | {"split": "test", "checkpoint": predictor.fingerprint}
    for dataset in datasets:
        split = dataset.splits.fold(dataset.task.name, fold)
        if dataset.task.name in summary["tasks"]:
            summary["tasks"][dataset.task.name] |= {
                "modalities": list(dataset.task.modalities),
                "spacing_mm": list(dataset.task.spacing_mm),
                "cases_per_side": {side: len(split[side]) for side in ("train", "dev", "test")},
                "licence": dataset.source.licence,
            }
    write_prompts(predictor.model, datasets, fold, output)
    write_scores(scores, output / "scores.csv")
    (output / "cases.json").write_text(json.dumps(rows))
    write_summary(summary, output / "metrics.json")
    return summary


def refuse_seen(model: UniSegModel, dataset: Dataset, fold: int, checkpoint: str) -> None:
    """Ends an evaluation of a network that was trained, or chosen, on cases of the test side.

    Raises:
        InputError: names the first of them.
    """
    facts = model.origin.get("data", {}).get(dataset.task.name, {})
    for side in ("train", "dev"):
        seen = sorted(set(facts.get(side, ())) & set(dataset.splits.fold(dataset.task.name, fold)["test"]))
        if seen:
            found = f"test case '{seen[0]}' of '{dataset.task.name}' on its {side} side ({len(seen)} such cases)"
            raise InputError(checkpoint, found, "a network that never saw the test cases", "evaluate with the task file and split of its training")


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
    summary = evaluate_run(config) if config.predictions is None else evaluate_folders(config)
    Console(file=sys.stdout, width=110).print(summary_table(summary))


if __name__ == "__main__":
    main()
