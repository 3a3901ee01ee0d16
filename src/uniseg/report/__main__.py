"""``python -m uniseg.report``: a run folder -> one HTML file."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from uniseg.cli import entry_point
from uniseg.report.html import write_report


@entry_point("report")
def main(config: DictConfig) -> None:
    sys.stdout.write(f"{write_report(Path(config.run), Path(config.output))}\n")


if __name__ == "__main__":
    main()
