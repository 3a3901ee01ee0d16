"""What loggers are told of a run, and the metrics file of one that goes on."""

import csv
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from uniseg.datasets.split_file import SPLITS
from uniseg.datasets.splits import Splits


@rank_zero_only
def keep_log(logger: CSVLogger, step: int) -> None:
    """Keep the rows ahead of ``step``, from which the run goes on; Lightning's logger would delete the file.

    The old file waits under another name until the new one is written, so that a kill in between loses nothing.
    """
    path = Path(logger.log_dir) / "metrics.csv"
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
    facts = {name: {split: len(own[split]) for split in SPLITS} for name, own in splits.items()}
    for logger in loggers:
        if not isinstance(logger, CSVLogger):
            logger.log_hyperparams({"config": config, "parameters": parameters, "cases": facts})
