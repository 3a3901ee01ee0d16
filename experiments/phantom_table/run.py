"""Trains, scores and cross-predicts all networks of the comparison; started again it resumes where it was stopped.

    python experiments/phantom_table/run.py --processes 2
    python experiments/phantom_table/run.py --processes 2 --minutes 30    # a chunk; the same command goes on

Start it in the root of a checkout, after ``python -m uniseg.prepare experiment=phantom_table``.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from choice import candidates, choose
from hydra.utils import instantiate
from joblib import Parallel, delayed, parallel_config
from jobs import ARMS, OUTPUTS, UNISEG, Arm, Job, Training, choices, entries, matrices
from work import work_quietly

from uniseg.commands.builders import require_datasets, sources_of, tasks_of


def work_all(title: str, jobs: Sequence[Job], processes: int, end: float) -> None:
    """Do what is not done yet, with a line on stderr per job; jobs that begin after ``end`` are left for another time,
    and end this process.
    """
    left = [job for job in jobs if not job.result.exists()]
    sys.stderr.write(f"{title}: {len(left)} of {len(jobs)} jobs left\n")
    start = time.perf_counter()
    with parallel_config("loky", inner_max_num_threads=1):
        seconds = Parallel(n_jobs=processes, return_as="generator")(delayed(_work_before)(job, end) for job in left)
        for count, (job, job_seconds) in enumerate(zip(left, seconds, strict=True), 1):
            minutes = (time.perf_counter() - start) / 60
            if job_seconds is not None:
                where = f"{title} {count}/{len(left)}, {minutes:.1f} min"
                sys.stderr.write(f"{where}: {job_seconds:.0f} s for {job.training.folder}\n")
    if not all(job.result.exists() for job in left):
        sys.exit("the minutes are over; the same command goes on")


def _work_before(job: Job, end: float) -> float | None:
    return None if time.time() > end else work_quietly(job)


def choose_rates(arms: Sequence[Arm], runs: Path, processes: int, end: float) -> dict[str, float]:
    """Of every arm, by trainings over a ladder that goes on until the best is no edge of it, or ends."""
    while True:
        jobs = choices(arms, candidates(arms, runs), runs)
        if all(job.result.exists() for job in jobs):
            return {name: chosen.learning_rate for name, chosen in choose(arms, runs).items()}
        work_all("learning rate", jobs, processes, end)


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
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no further job is begun")
    options = parser.parse_args()
    arms = tuple(
        replace(arm, overrides=(*arm.overrides, *options.override)) for arm in ARMS if arm.name in options.arms
    )
    check(arms)
    end = time.time() + 60 * options.minutes
    rates = choose_rates(arms, options.runs, options.processes, end)
    work_all("table", entries(arms, rates, options.runs), options.processes, end)
    with_matrix = [arm for arm in arms if arm.name == UNISEG.name]
    work_all("matrix", matrices(with_matrix, rates, options.runs), options.processes, end)


if __name__ == "__main__":
    main()
