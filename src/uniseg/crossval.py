"""``python -m uniseg.crossval``: cache -> a network per fold, their out-of-fold scores, an ensemble, a report."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("crossval")

import sys
from dataclasses import replace
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from uniseg.commands.folds import Crossval
from uniseg.commands.side_by_side import end_with_starter, fold_command, run_side_by_side
from uniseg.evaluation.crossval import choose_out_of_fold, write_ensemble
from uniseg.evaluation.other_folds import OtherFolds, other_folders, score_other_folds
from uniseg.evaluation.pool import pool_folds
from uniseg.reporting.crossval import CrossvalPage, write_crossval
from uniseg.train import one_line_endings, training_run


def main(config: DictConfig) -> float:
    """The pooled Dice, for sweeps; of some folds alone their mean."""
    end_with_starter()
    crossval = Crossval.of(config)
    given = crossval.settings.nnunet_folds
    others = [] if given is None else other_folders(given, [each.task.name for each in crossval.datasets])
    training_run(crossval.fold_config(0))  # what it refuses is said before anything is written
    crossval.begin()
    unfinished = [number for number in crossval.numbers if crossval.weights(number) is None]
    if crossval.settings.parallel > 1 and len(unfinished) > 1:
        commands = {number: fold_command(number) for number in unfinished}
        run_side_by_side(commands, crossval.folder.log, crossval.settings.parallel, say)
    for number in crossval.numbers:
        train_fold(crossval, number)
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return 0.0
    summaries = [crossval.evaluate(number, say) for number in crossval.numbers]
    if crossval.settings.folds is not None:
        say("Some folds alone were asked for; the command without folds= pools all, once they are there.")
        return sum(summary.mean_dice for summary in summaries) / len(summaries)
    return finish(crossval, others)


def train_fold(crossval: Crossval, number: int) -> None:
    """From its last checkpoint on; nothing where it is trained."""
    if crossval.weights(number) is not None:
        say(f"Fold {number}: trained.")
        return
    config = crossval.fold_config(number)
    run = training_run(config)
    run = replace(run, description=replace(run.description, title=f"{run.description.title} fold {number}"))
    say(f"Fold {number}: training in {config.run_dir}.")
    with one_line_endings(config.run_dir):
        trainer = run.start()
    if trainer.is_global_zero:
        crossval.mark_trained(number, trainer.global_step)
        say(f"Fold {number}: trained, {trainer.global_step} steps.")


def finish(crossval: Crossval, others: list[tuple[str | None, Path]]) -> float:
    """What is made of all folds: pooled scores, postprocessing, the ensemble, the report."""
    folder, settings = crossval.folder, crossval.settings
    weights = {number: crossval.weights(number) or "" for number in crossval.numbers}
    pooled = pool_folds([folder.fold(number).path for number in weights], folder.pooled)
    choices = choose_out_of_fold(folder, crossval.datasets, weights)
    write_ensemble(folder, weights)
    say(f"Ensemble of {len(weights)} folds: {folder.ensemble}")
    theirs = OtherFolds(None)
    if others:
        where = (crossval.datasets, crossval.scorer, folder.others)
        theirs = score_other_folds(others, *where, settings.predictions_use)
    page = CrossvalPage(folder, pooled, choices, theirs.notes if others else None, settings.margin)
    for line in write_crossval(page):
        say(line)
    say(f"Predict: uniseg predict checkpoint={folder.ensemble} input=... output=...")
    sys.stdout.write(f"{folder.report.page}\n")
    return pooled.mean_dice


@rank_zero_only
def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
