"""``python -m uniseg.report``: a run folder, several against each other, a few-shot sweep -> page or table."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("report")

import sys
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from uniseg.commands.builders import close_loggers, make_loggers
from uniseg.errors import InputError
from uniseg.reporting.compare_files import write_comparison
from uniseg.reporting.fewshot_files import write_fewshot
from uniseg.reporting.html import write_report


def report(config: DictConfig) -> Path:
    """What was written.

    Raises:
        InputError: not exactly one of run, runs, sweep; or what they name is not whole.
    """
    given = [key for key in ("run", "runs", "sweep") if config[key] is not None]
    if len(given) != 1:
        raise InputError(
            "report",
            " and ".join(given) or "nothing to report on",
            "one of run, runs, sweep",
            "give run=<folder>, runs=[a,b] or sweep=<folder>",
        )
    if config.run is not None:
        default = OmegaConf.to_container(compose("train"), resolve=True)
        loggers = make_loggers(config.logger)
        page = write_report(Path(config.run), Path(config.output or Path(config.run) / "report"), default, loggers)
        close_loggers(loggers)
        return page
    if config.sweep is not None:
        return write_fewshot(Path(config.sweep), Path(config.output or config.sweep))
    return write_comparison(
        [Path(run) for run in config.runs],
        Path(config.output or "comparison"),
        metric=config.metric,
        margin=config.margin,
    )


def main(config: DictConfig) -> None:
    sys.stdout.write(f"{report(config)}\n")
