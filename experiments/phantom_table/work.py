"""What is done for each kind of job."""

import csv
import json
import logging
import os
import time
from contextlib import redirect_stderr, redirect_stdout
from functools import singledispatch
from pathlib import Path

import torch
from jobs import Choice, Entry, Job, Matrix, Training
from matrix import score_all_tasks

from uniseg.evaluate import evaluate
from uniseg.train import train


def work_quietly(job: Job) -> float:
    """Do a job on one thread, so that its ``result`` exists; what libraries tell goes to its own log.

    The seconds it took.
    """
    start = time.perf_counter()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    job.training.folder.mkdir(parents=True, exist_ok=True)
    with (job.training.folder / "log.txt").open("a") as log, redirect_stdout(log), redirect_stderr(log):
        work(job)
    return time.perf_counter() - start


@singledispatch
def work(job: Job) -> None:
    raise NotImplementedError(job)


@work.register
def _(job: Choice) -> None:
    """A training that diverges scores 0."""
    try:
        _train(job.training)
        dev_dice = _last_dev_dice(job.training.folder / "logs" / "metrics.csv")
    except FloatingPointError:
        dev_dice = 0.0
    _write_json(job.result, {"dev_dice": dev_dice})


@work.register
def _(job: Entry) -> None:
    _train(job.training)
    evaluate(job.training.config("evaluate"))


@work.register
def _(job: Matrix) -> None:
    _write_json(job.result, score_all_tasks(job))


def _train(training: Training) -> None:
    config = training.config("train")
    config.ckpt_path = "last"
    train(config)


def _last_dev_dice(log: Path) -> float:
    with log.open(newline="") as file:
        return [float(row["val/pseudo_dice"]) for row in csv.DictReader(file) if row["val/pseudo_dice"]][-1]


def _write_json(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(values, indent=1) + "\n")
    os.replace(part, path)
