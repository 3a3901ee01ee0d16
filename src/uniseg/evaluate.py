"""``python -m uniseg.evaluate``: a run's test cases, or any tool's label maps -> scores."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("evaluate")

import sys
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from uniseg.commands.builders import (
    make_loggers,
    make_metrics,
    make_predictor,
    require_datasets,
    sources_of,
    tasks_of,
)
from uniseg.commands.structured import settings_from
from uniseg.datasets.dataset import find_datasets
from uniseg.errors import InputError
from uniseg.evaluation.choose_postprocessing import choice_table
from uniseg.evaluation.folders import evaluate_folders
from uniseg.evaluation.pool import pool_folds
from uniseg.evaluation.records import Summary
from uniseg.evaluation.run import RunEvaluation, evaluate_run, require_scored_split
from uniseg.evaluation.scoring import Scorer, ScoringRules
from uniseg.evaluation.summary import summary_table
from uniseg.run_folder import EvaluationFolder
from uniseg.task import TaskSet
from uniseg.training.logs import close_loggers

CHOOSE = "choose"
CSV = "lightning.pytorch.loggers.CSVLogger"  # of the training's curves, which scores would replace


def evaluate(config: DictConfig) -> RunEvaluation:
    """Scores of a run's cases, of the label maps of two folders, or of all folds together.

    Raises:
        InputError: anything wrong with what is to be scored; nothing is written.
    """
    output = EvaluationFolder(Path(config.output))
    if (config.predictions is None) != (config.labels is None):
        raise InputError("evaluate", "one of predictions and labels", "both folders, or neither", "add the other")
    if config.pool is not None:
        return RunEvaluation(pool_folds([Path(run) for run in config.pool], output), None)
    scorer = Scorer(settings_from(ScoringRules, config.rules), make_metrics())
    if config.predictions is not None:
        return RunEvaluation(_score_folders(config, output, scorer), None)
    return _score_run(config, output, scorer)


def _score_folders(config: DictConfig, output: EvaluationFolder, scorer: Scorer) -> Summary:
    tasks = tasks_of(config)
    if len(tasks) != 1:
        raise InputError("task", f"{len(tasks)} tasks", "exactly one", "add task=<name>")
    source, folders = sources_of(config)[tasks[0].name], (Path(config.predictions), Path(config.labels))
    return evaluate_folders(tasks[0], source, *folders, output, scorer, values=config.predictions_use)


def _score_run(config: DictConfig, output: EvaluationFolder, scorer: Scorer) -> RunEvaluation:
    choose, sources = config.postprocessing == CHOOSE, sources_of(config)
    require_scored_split(config.split, choose=choose)
    require_datasets(sources)
    postprocessing = None if choose else config.postprocessing
    predictor = make_predictor(config.checkpoint, config.task_files, config.inference, postprocessing)
    datasets = find_datasets(TaskSet(tasks_of(config).segmentations), sources)
    where = {"split": config.split, "fold": config.data.fold, "output": output}
    return evaluate_run(predictor, datasets, scorer, **where, choose=choose, checkpoint=str(config.checkpoint))


def log_scores(config: DictConfig, summary: Summary) -> None:
    """Hand the mean Dice to the loggers beside the CSV, which join the run that was trained."""
    loggers = make_loggers({name: block for name, block in config.logger.items() if block["_target_"] != CSV})
    means = {"": summary.mean_dice} | {f"/{name}": task.dice for name, task in summary.tasks.items()}
    for logger in loggers:
        logger.log_metrics({f"{summary.split or 'test'}/dice{name}": m for name, m in means.items() if m == m})
    close_loggers(loggers)


def main(config: DictConfig) -> None:
    evaluation = evaluate(config)
    log_scores(config, evaluation.summary)
    console = Console(file=sys.stdout, width=110)
    if evaluation.choices is not None:
        console.print(choice_table(evaluation.choices))
    console.print(summary_table(evaluation.summary))
    sys.stderr.write(f"{next_step(config)}\n")


def next_step(config: DictConfig) -> str:
    """Where everything is, and what to do with it: a run has a page of its own, its validation cases rules to apply."""
    output = EvaluationFolder(Path(config.output))
    line = f"Every case and class: {output.scores}."
    if config.pool is not None or config.predictions is not None:
        return f"{line} Next: uniseg report runs=[{output.path},...] compares it with others"
    if config.postprocessing == CHOOSE:
        return f"{line} Next: uniseg predict, or evaluate, with postprocessing={output.postprocessing}"
    return f"{line} Next: uniseg report run={config.run_dir}"
