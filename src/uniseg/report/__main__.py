"""``python -m uniseg.report``: a run folder, or several against each other -> one HTML file."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from uniseg.cli import entry_point
from uniseg.errors import InputError
from uniseg.report.compare_files import write_comparison
from uniseg.report.html import write_report


@entry_point("report")
def main(config: DictConfig) -> None:
    if (config.run is None) == (config.runs is None):
        raise InputError("report", "both run and runs" if config.run else "neither run nor runs", "one of them", "give run=<folder> or runs=[a,b]")
    if config.runs is None:
        page = write_report(Path(config.run), Path(config.output or Path(config.run) / "report"))
    else:
        page = write_comparison([Path(run) for run in config.runs], Path(config.output or "comparison"), metric=config.metric, margin=config.margin)
    sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
