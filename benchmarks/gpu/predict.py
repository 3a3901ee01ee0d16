"""Seven CT tasks of one scan by the published network: all at once, one after another, in float32."""

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from gpu.scale import Scale, arguments, await_turn, emit, synchronize

NUM_TASKS = 7
PRECISION = "precision"
# name -> settings, and whether the tasks share the windows; most important first
WAYS = {"at_once": ({}, True), "at_once_float32": ({PRECISION: "32"}, True), "one_by_one": ({}, False)}


def main(scale: Scale, given: dict[str, Any]) -> None:
    import numpy as np
    import torch

    from uniseg.images.volume import Volume
    from uniseg.inference.settings import InferenceSettings
    from uniseg.model import UniSegModel
    from uniseg.weights.foreign.published_tasks import published_tasks

    torch.manual_seed(0)
    tasks = [task for task in published_tasks() if task.modalities == ("CT",)]
    tasks = [task for task in tasks if task.spacing_mm == tasks[0].spacing_mm][:NUM_TASKS]
    model = UniSegModel.from_preset(scale.model, published_tasks(), scale.patch).eval()
    volume = Volume.of_array(body(scale, np.random.default_rng(0)), spacing_mm=tasks[0].spacing_mm)
    known = {each.name for each in fields(InferenceSettings)}
    await_turn()
    emit(tasks=len(tasks), scan=list(scale.scan))
    for name, (changes, together) in WAYS.items():
        if not changes.keys() <= known:
            emit(**{name: {"skipped": f"no setting {', '.join(changes)}"}})
            continue
        settings = InferenceSettings(device=scale.device, max_memory_gb=None, **changes)
        emit(**{name: timed(model, settings, volume, [task.name for task in tasks], scale, together=together)})


def timed(
    model: Any, settings: Any, volume: Any, names: Sequence[str], scale: Scale, *, together: bool
) -> dict[str, Any]:
    """The best of two after one that warms up; one by one is warm already."""
    import torch

    from uniseg.inference.predictor import Predictor

    best: dict[str, Any] = {}
    for repeat in range(3 if together else 1):
        predictor = Predictor(model, settings)
        if scale.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        synchronize(scale.device)
        start = time.perf_counter()
        for some in [names] if together else [[name] for name in names]:
            predictor.predict(volume, some)
        synchronize(scale.device)
        seconds = time.perf_counter() - start
        if (repeat or not together) and seconds < best.get("seconds", float("inf")):
            best = {"seconds": seconds, "stages": dict(predictor.stopwatch.seconds)}
            best["settings"] = {name: getattr(settings, name) for name in ("window_batch", "overlap")}
            if scale.device == "cuda":
                best["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return best


def body(scale: Scale, rng: Any) -> Any:
    """An ellipse of soft tissue with noise, in air."""
    import numpy as np

    size = scale.scan
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in size]
    inside = (axes[1][:, None] / 0.7) ** 2 + (axes[2][None] / 0.9) ** 2 < 1
    values = rng.normal(40, 60, size).astype(np.float32)
    return np.where(inside[None], values, np.float32(-1000))


if __name__ == "__main__":
    main(*arguments())
