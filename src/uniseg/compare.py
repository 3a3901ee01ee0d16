"""``python -m uniseg.compare``: several cross-validations -> the best, and whether it can be told from the next."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("compare")

import sys
from pathlib import Path

from omegaconf import DictConfig

from uniseg.commands.builders import make_metrics
from uniseg.reporting.best import Ranked, lines, rank, read_candidate
from uniseg.reporting.compare_files import names_of, write_comparison


def compare(config: DictConfig) -> list[Ranked]:
    """All runs, the best first; the comparison of each with it is written.

    Raises:
        InputError: fewer than two runs, scores that are missing, of test cases, or of other cases.
    """
    runs, metric = [Path(run) for run in config.runs], make_metrics()["dice"]
    ranking = rank([read_candidate(run, name, metric) for run, name in zip(runs, names_of(runs), strict=True)])
    ordered = [each.candidate.folder for each in ranking]
    write_comparison(ordered, Path(config.output), metric=metric, margin=config.margin, ranking=ranking)
    return ranking


def main(config: DictConfig) -> None:
    for line in lines(compare(config)):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{Path(config.output) / 'comparison.html'}\n")
