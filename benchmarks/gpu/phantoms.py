"""Phantoms of four tasks with 1, 1, 4, 2 channels, prepared twice: coarse, and fine enough for the published patch."""

import sys
from pathlib import Path
from typing import Any

from gpu.scale import Scale, arguments, emit

NAMES = ("liver", "spleen", "brain_tumour", "whole_body_tumour")
COARSE, FINE = "coarse", "fine"


def overrides(folder: str | Path, cache: str, scale: Scale) -> list[str]:
    """Of every command on one of the two caches in ``folder``."""
    tasks = [f"phantom_{name}" for name in names(scale)]
    words = [f"task=[{','.join(tasks)}]", f"paths.phantoms={folder}/phantoms", f"paths.cache={folder}/{cache}"]
    if cache == FINE:
        words += [f"tasks.{task}.spacing_mm={scale.spacing}" for task in tasks]
    return words


def names(scale: Scale) -> tuple[str, ...]:
    return NAMES[::3] if scale.tiny else NAMES


def main(scale: Scale, given: dict[str, Any]) -> None:
    """``folder``: where all of it goes; ``caches``: which of the two."""
    import time

    from joblib import Parallel, delayed

    from uniseg.commands.app import run
    from uniseg.phantom import suite

    folder, start = Path(given["folder"]), time.perf_counter()
    num_workers = 1 if scale.tiny else -1
    chosen = [task for task in suite.TASKS if task.name in names(scale)]
    suite._prepare_folders(folder / "phantoms", scale.num_cases, chosen)
    (folder / "phantoms" / "truth").mkdir()
    Parallel(n_jobs=num_workers)(
        delayed(suite.write_case)(folder / "phantoms", 0, suite.DATASETS.index(task), case, False)
        for task in chosen
        for case in range(scale.num_cases)
    )
    emit(drawn_s=time.perf_counter() - start)
    for cache in given["caches"]:
        done = run(["prepare", *overrides(folder, cache, scale), f"num_workers={num_workers}", f"name={cache}"])
        if done.code:
            sys.exit(done.line)
        emit(**{f"{cache}_s": time.perf_counter() - start})


if __name__ == "__main__":
    main(*arguments())
