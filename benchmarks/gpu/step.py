"""One variant of a training step: wall time, the card's own time, memory, the time of the first step."""

import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from gpu.scale import Scale, arguments, await_turn, emit, synchronize

WARM_UP, PROFILED = 5, 3
TOP_KERNELS = 25


def main(scale: Scale, given: dict[str, Any]) -> None:
    """``side`` ours or nnunet, ``changes`` of the defaults, ``mixed`` tasks; ``warm``: fill the compiler's cache."""
    import torch
    from gpu import networks

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    is_warm_up = given.get("warm", False)
    if given["side"] == "nnunet":
        try:
            step = networks.anchor(scale)
        except ImportError as error:
            emit(skipped=str(error))
            return
    else:
        step = networks.ours(scale, given.get("changes", {}), mixed=given.get("mixed", False))
    if not is_warm_up:
        await_turn()
    emit(settings=step.settings, parameters=sum(p.numel() for p in step.network.parameters()))
    run, start = step.runner(), time.perf_counter()
    run()
    synchronize(scale.device)
    emit(first_s=time.perf_counter() - start)
    if not is_warm_up:
        measure(run, scale, 3 if scale.tiny else 16, profile=given.get("profile", False))


def measure(run: Callable, scale: Scale, repeats: int, *, profile: bool) -> None:
    import torch

    on_card = scale.device == "cuda"
    for _ in range(1 if scale.tiny else WARM_UP):
        run()
    synchronize(scale.device)
    if on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        loss = run()
        synchronize(scale.device)
        seconds.append(time.perf_counter() - start)
    if on_card:  # reserved, since what a graph needs is not counted as allocated
        peak = torch.cuda.max_memory_reserved() / 1e9
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    emit(step_ms=median(seconds) * 1e3, fastest_ms=min(seconds) * 1e3, reserved_gb=peak, loss=loss.item())
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize(scale.device)
    emit(unsynchronized_ms=(time.perf_counter() - start) / repeats * 1e3)
    if on_card:
        total, kernels = kernel_times(run)
        emit(kernel_ms=total)
        if profile:
            emit(kernels=kernels)


def kernel_times(run: Callable) -> tuple[float, list[dict[str, Any]]]:
    """The card's own time of a step in ms, and the kernels that take most of it."""
    import torch
    from torch.profiler import ProfilerActivity

    with torch.profiler.profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        for _ in range(PROFILED):
            run()
        torch.cuda.synchronize()
    rows = [row for row in profiler.key_averages() if row.device_type.name == "CUDA"]
    rows.sort(key=lambda row: -row.self_device_time_total)
    kernels = [
        {"name": row.key[:120], "ms": row.self_device_time_total / PROFILED / 1e3, "calls": row.count / PROFILED}
        for row in rows[:TOP_KERNELS]
    ]
    return sum(row.self_device_time_total for row in rows) / PROFILED / 1e3, kernels


if __name__ == "__main__":
    main(*arguments())
