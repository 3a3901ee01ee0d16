"""The measured figures as a table, for RESULTS.md and the documentation; what was not measured is left out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- measured on a GPU: begin -->", "<!-- measured on a GPU: end -->"
STEP = "training step, published network, 64x192x192, batch 2"


def tables() -> str:
    """Of every card that has a file in this folder."""
    found = [json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))]
    return "".join(table(results) for results in found if not results["tiny"])


def table(results: dict[str, Any]) -> str:
    rates = results["parts"].get("rates", {})
    head = f"\n### {rates.get('card', results['device'])}\n\n`make bench-gpu`, {results['date']}, "
    head += (
        f"torch {rates.get('torch', '?')}, commit {results['commit'] or 'unknown'}.\n\n| what | measured |\n|---|---|\n"
    )
    return head + "".join(f"| {what} | {value} |\n" for what, value in rows(results))


def rows(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    parts = results["parts"]
    rates, steps, stream, predict = (parts.get(name, {}) for name in ("rates", "step", "stream", "predict"))
    yield from _present(rates, ("product_bf16_tflops", "bf16 matrix product", "{:.0f} TFLOP/s"))
    yield from _present(rates, ("copy_gb_s", "copy on the card", "{:.0f} GB/s"))
    anchor = steps.get("nnunet", {}).get("step_ms")
    for name, step in steps.items():
        if "step_ms" not in step:
            continue
        ratio = f", {step['step_ms'] / anchor:.2f} of nnU-Net's" if anchor and name != "nnunet" else ""
        kernels = f", kernels alone {step['kernel_ms']:.1f} ms" if "kernel_ms" in step else ""
        what = "nnU-Net v2 as it runs" if name == "nnunet" else name.replace("_", " ")
        memory = f"; {step['reserved_gb']:.2f} GB reserved" if "reserved_gb" in step else ""
        yield f"{STEP}: {what}", f"{step['step_ms']:.1f} ms{ratio}{kernels}{memory}"
    yield from _present(stream, ("steps_per_s", "whole stream, four tasks of 1, 1, 4, 2 channels", "{:.2f} steps/s"))
    mixed = steps.get("mixed_tasks", {}).get("unsynchronized_ms")
    if mixed and "step_ms" in stream:
        yield "whole stream against the static step of the same tasks", f"{stream['step_ms'] / mixed:.3f}"
    yield from _present(stream, ("utilization_percent", "utilisation over steady epochs", "{:.0f} %"))
    yield from _present(stream, ("epoch_550_s", "epoch of 550 steps, extrapolated from steady ones", "{:.1f} s"))
    yield from _present(stream, ("reserved_gb", "card memory of the stream, reserved", "{:.2f} GB"))
    yield from _present(parts.get("syncs", {}), ("syncs_per_step", "waits of the host for the card, a step", "{:.1f}"))
    for name, run in predict.items():
        if isinstance(run, dict) and "seconds" in run:
            stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in run["stages"].items())
            yield f"seven CT tasks of 192x384x384, {name.replace('_', ' ')}", f"{run['seconds']:.2f} s ({stages})"
    if dice := parts.get("accuracy", {}).get("summary"):
        yield (
            "fp16 against float32, difference in Dice; noise of two seeds",
            f"{dice['difference']:.3f}; {dice['noise']:.3f}",
        )


def insert(page: Path) -> None:
    """Fill the place of the tables in a page, where it has one."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        page.write_text(f"{before}{BEGIN}\n{tables()}\n{END}{after}")


def _present(values: dict[str, Any], row: tuple[str, str, str]) -> Iterator[tuple[str, str]]:
    key, what, form = row
    if key in values:
        yield what, form.format(values[key])


def summarize_accuracy(arms: dict[str, Any], floor: float) -> dict[str, Any] | None:
    """Of trainings in half precision and in float32 by one seed, and in float32 by another.

    Args:
        floor: smallest difference that counts, whatever the seeds say.
    """
    dice: Callable[[str], float | None] = lambda name: arms.get(name, {}).get("dice")  # noqa: E731
    half, full, other = dice("half"), dice("float32"), dice("float32_other_seed")
    if half is None or full is None or other is None:
        return None
    noise, difference = abs(full - other), half - full
    return {
        "difference": difference,
        "noise": noise,
        "floor": floor,
        "within": abs(difference) <= max(2 * noise, floor),
    }
