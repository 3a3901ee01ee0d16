"""``python -m uniseg.report``: a run folder, several against each other, a few-shot sweep -> page or table."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("report")

import sys
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from uniseg.commands.builders import make_loggers, make_metrics
from uniseg.errors import InputError
from uniseg.reporting.compare_files import write_comparison
from uniseg.reporting.fewshot_files import write_fewshot
from uniseg.reporting.html import write_report
from uniseg.run_folder import RunFolder
from uniseg.training.logs import close_loggers


def report(config: DictConfig) -> Path:
    """What was written.

    Raises:
        InputError: not exactly one of run, runs, sweep; or what they name is not whole.
    """
    given = [key for key in ("run", "runs", "sweep") if config[key] is not None]
    if len(given) != 1:
        found, fix = " and ".join(given) or "nothing to report on", "give run=<folder>, runs=[a,b] or sweep=<folder>"
        raise InputError("report", found, "one of run, runs, sweep", fix)
    metrics = make_metrics()
    if config.run is not None:
        run, loggers = RunFolder(Path(config.run)), make_loggers(config.logger)
        default = OmegaConf.to_container(compose("train"), resolve=True)
        page = write_report(run.path, Path(config.output or run.report), default, loggers, metrics, config.viewer_mb)
        close_loggers(loggers)
        return page
    metric = metrics[config.metric.name]
    if config.sweep is not None:
        return write_fewshot(Path(config.sweep), Path(config.output or config.sweep), metric)
    runs, output = [Path(run) for run in config.runs], Path(config.output or "comparison")
    return write_comparison(runs, output, metric=metric, margin=config.margin)


def main(config: DictConfig) -> None:
    sys.stdout.write(f"{report(config)}\n")
