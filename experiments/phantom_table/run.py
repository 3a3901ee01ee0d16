"""Trains, scores and cross-predicts all networks of the comparison; started again it resumes where it was stopped.

    python experiments/phantom_table/run.py --processes 2

Start it in the root of a checkout, after ``python -m uniseg.prepare experiment=phantom_table``.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from choice import choose
from hydra.utils import instantiate
from joblib import Parallel, delayed, parallel_config
from jobs import ARMS, OUTPUTS, UNISEG, Arm, Job, Training, choices, entries, matrices
from work import work_quietly

from uniseg.commands.builders import require_datasets, sources_of, tasks_of


def work_all(title: str, jobs: Sequence[Job], processes: int) -> None:
    """Do what is not done yet, with a line on stderr per job."""
    left = [job for job in jobs if not job.result.exists()]
    sys.stderr.write(f"{title}: {len(left)} of {len(jobs)} jobs left\n")
    start = time.perf_counter()
    with parallel_config("loky", inner_max_num_threads=1):
        seconds = Parallel(n_jobs=processes, return_as="generator")(delayed(work_quietly)(job) for job in left)
        for count, (job, job_seconds) in enumerate(zip(left, seconds, strict=True), 1):
            minutes = (time.perf_counter() - start) / 60
            sys.stderr.write(
                f"{title} {count}/{len(left)}, {minutes:.1f} min: {job_seconds:.0f} s for {job.training.folder}\n"
            )


def check(arms: Sequence[Arm]) -> None:
    """Build the network of every arm, so that what is missing shows at once."""
    for arm in arms:
        config = Training(arm, arm.trainings[0], arm.steps, math.nan, 0, OUTPUTS).config("train")
        require_datasets(sources_of(config), Path(config.paths.cache))
        instantiate(config.model, _convert_="all")(tasks_of(config), patch_size=tuple(config.data.patch_size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], default=[arm.name for arm in ARMS])
    parser.add_argument(
        "--runs", type=Path, default=OUTPUTS, help="folder of the trainings; another one for other overrides"
    )
    parser.add_argument("--override", action="append", default=[], help="of the configuration of every training")
    options = parser.parse_args()
    arms = tuple(
        replace(arm, overrides=(*arm.overrides, *options.override)) for arm in ARMS if arm.name in options.arms
    )
    check(arms)
    work_all("learning rate", choices(arms, options.runs), options.processes)
    rates = {name: chosen.learning_rate for name, chosen in choose(arms, options.runs).items()}
    work_all("table", entries(arms, rates, options.runs), options.processes)
    with_matrix = [arm for arm in arms if arm.name == UNISEG.name]
    work_all("matrix", matrices(with_matrix, rates, options.runs), options.processes)


if __name__ == "__main__":
    main()
