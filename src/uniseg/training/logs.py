"""What loggers know of a run, how they recognise it, and the metrics file of one that is resumed."""

import csv
import os
import secrets
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from uniseg.datasets.split_file import SPLITS
from uniseg.datasets.splits import Splits
from uniseg.files import read_json, write_json
from uniseg.run_folder import METRICS_LOG, RunFolder


@rank_zero_only
def truncate_log(logger: CSVLogger, step: int) -> None:
    """Keep the rows before ``step``, at which the run resumes; Lightning's logger would delete the file.

    The old file waits under another name until the new one is written, so that a kill in between loses nothing.
    """
    path = Path(logger.log_dir) / METRICS_LOG
    before = path.with_name("metrics.before.csv")
    if not before.exists():
        if not path.exists():
            return
        os.replace(path, before)
    with before.open(newline="") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        experiment = logger.experiment
    experiment.metrics.extend(row for row in rows if int(row["step"]) < step)
    logger.save()
    before.unlink()


def log_run(loggers: Iterable[Logger], config: dict, parameters: dict[str, int], splits: Mapping[str, Splits]) -> None:
    """Hand the resolved configuration, the parameter counts, the cases per task and split to loggers.

    The CSV has ``config.yaml`` beside it.
    """
    facts = {name: {split: len(cases[split]) for split in SPLITS} for name, cases in splits.items()}
    for logger in loggers:
        if not isinstance(logger, CSVLogger):
            logger.log_hyperparams({"config": config, "parameters": parameters, "cases": facts})


def close_loggers(loggers: Iterable[Logger]) -> None:
    """End what loggers have begun; the next run of a process, as in a sweep, would become a part of it."""
    for logger in loggers:
        if finish := getattr(logger.experiment, "finish", None):  # type: ignore[attr-defined]
            finish()


def start_tracking(run_dir: Path, name: str, group: str, *, renew: bool) -> None:
    """Write the run's ``id``, ``name``, ``group``; what is there stays, unless ``renew``."""
    path = RunFolder(run_dir).tracking
    if renew or not path.exists():
        write_json(path, {"id": secrets.token_hex(4), "name": name, "group": group})


def tracked(key: str, run_dir: str | Path, default: str | None) -> str | None:
    """What the run in ``run_dir`` has for ``key``; ``default`` where it has nothing.

    Raises:
        InputError: the file is damaged.
    """
    path = RunFolder(Path(run_dir)).tracking
    if not path.exists():
        return default
    return read_json(path, "what uniseg.train wrote for loggers", "remove the file: loggers then start a new run").get(
        key, default
    )
