"""nnU-Net v2's preparation of one dataset, timed; run by ``bench_prepare.py`` in nnU-Net's own environment.

Checks, fingerprint, preprocessing of 3d_fullres at a given spacing; planning is not counted. Its pools fork here
instead of spawning, so that starting Python is not counted either. Prints the seconds of the steps as JSON.
"""

import json
import multiprocessing
import sys
import time

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, preprocess_dataset

spawn_or_fork = multiprocessing.get_context
multiprocessing.get_context = lambda method=None: spawn_or_fork("fork")


def main(dataset: int, processes: int, spacing: list[float]) -> None:
    start = time.perf_counter()
    extract_fingerprint_dataset(
        dataset, num_processes=processes, check_dataset_integrity=True, verbose=False, show_progress_bar=False
    )
    checked = time.perf_counter() - start
    ExperimentPlanner(dataset, overwrite_target_spacing=spacing, suppress_transpose=True).plan_experiment()
    start = time.perf_counter()
    preprocess_dataset(dataset, configurations=["3d_fullres"], num_processes=[processes], show_progress_bar=False)
    sys.stdout.write("\n" + json.dumps({"check": checked, "write": time.perf_counter() - start}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), [float(word) for word in sys.argv[3:]])
