"""The numbers to reach, each with what was measured of it: the first table of RESULTS.md."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured on this code"
PREPARED = ("chaos_t2_abdomen (10 cases, 2 processes)", "sts_ct (8 cases, 2 processes)")
PREPARED += ("la2018_left_atrium (4 cases, 2 processes)",)
STEP = "training step, width {}, 32x96x96, batch 2, fp32, cpu, channels last"
PREDICTION = (
    "prediction of a phantom of 192x384x384",
    "prediction of a real abdominal CT",
    "prediction of four windows of 64x192x192, published width, random weights",
)
WHOLE = "{}, seven tasks at once"
SAME, GATED = f"{WHOLE}, least Dice to one after another", f"{WHOLE}, skip_empty and gate"
MISSES = "{}, skip_empty and gate, misses"
MEMORY = "peak memory, 512x512x1000 int16, {}"

Rows = Mapping[str, Mapping[str, Any]]  # of results.json, by name
Card = Mapping[str, Any]  # a file of ``gpu``


@dataclass(frozen=True)
class Bar:
    """One number to reach.

    Attributes:
        measured: of the rows called ``names`` in their order, or of a card's file where there are none; None: nothing
            states it.
        held_by: what holds it that is no row: a test, an experiment with its result.
    """

    what: str
    against: str
    bar: str
    command: str
    names: Sequence[str] = ()
    measured: Callable[..., str] | None = None
    held_by: str = ""


def times(row: Mapping) -> str:
    """Ours as a fraction of the anchor's time."""
    return f"{row['ours'] / row['anchor']:.2f}x"


def ratios(rows: Sequence[Mapping]) -> str:
    return ", ".join(f"{row['ratio']:.2f}x" for row in rows)


def prepared(*rows: Mapping) -> str:
    apart = max(row["ours"] for row in rows[3:])
    return f"{ratios(rows[:3])} (CHAOS, STS, left atrium); at most {apart:.2f} % apart"


def predicted(*rows: Mapping) -> str:
    whole, same, gated, misses = rows[:3], rows[3:6], rows[6:8], rows[8:]
    return (
        f"{ratios(whole)} (phantom, real CT, published width), least Dice {min(row['ours'] for row in same):.3f}; "
        f"gated {ratios(gated)} (phantom, real CT), {sum(row['ours'] for row in misses)} components missed"
    )


def memory(eleven: Mapping, few_many: Mapping) -> str:
    apart = abs(few_many["ours"] / few_many["anchor"] - 1)
    return f"{eleven['ours']:.2f} GB; 120 classes take {100 * apart:.0f} % more than 4"


def step_of(card: Card) -> str:
    ours, nnunet = (card["parts"]["step"][name]["step_ms"] for name in ("auto", "nnunet"))
    return f"{ours / nnunet:.2f}x ({ours:.1f} against {nnunet:.1f} ms)"


def stream_of(card: Card) -> str:
    stream, static = card["parts"]["stream"], card["parts"]["step"]["mixed_tasks"]["unsynchronized_ms"]
    return f"{stream['step_ms'] / static:.3f}x, {stream['utilization_percent']:.0f} %"


BARS = (
    Bar(
        "logits with published-format weights, a task's own classes",
        "the published network",
        "max abs difference <= 1e-4, all five outputs",
        "pytest tests/parity",
        held_by="held by a test",
    ),
    Bar(
        "training step, same shape, patch, batch, float32, same cores",
        "nnU-Net v2's PlainConvUNet",
        "<= 1.0x its time",
        "make bench BENCH=step",
        [STEP.format(width) for width in (8, 16, 32)],
        lambda *rows: f"{', '.join(map(times, rows))} (width 8, 16, 32; channels last, the default)",
    ),
    Bar(
        "augmentation, one 64x192x192 patch, same recipe, one core",
        "batchgeneratorsv2 0.3.6",
        "<= 0.5x",
        "make bench BENCH=augment",
        ["augmentation, 64x192x192, 1 modalities, one core, mean"],
        lambda row: f"{times(row)} ({row['ours']:.3f} s)",
    ),
    Bar(
        "patches per second and core from a warm cache, collated",
        "nnU-Net v2's reader",
        ">= 1.5x",
        "make bench BENCH=reader",
        ["reader, 64x192x192, warm cache, one core, mean"],
        lambda row: f"{row['ratio']:.2f}x ({row['ours']:.1f} a second)",
    ),
    Bar(
        "preparation of CHAOS, STS, left atrium: cases per minute, same two cores",
        "nnU-Net v2 2.8.1",
        ">= 1.5x, image within 1 % of its range",
        "make bench BENCH=prepare DATA=...",
        [f"preparation of {name}, {what}" for what in ("all", "largest difference of a voxel") for name in PREPARED],
        prepared,
    ),
    Bar(
        "prediction of seven CT tasks, one scan, same weights",
        "one task after another",
        ">= 1.5x, Dice >= 0.999; gated >= 3x, misses reported",
        "make bench BENCH=predict_speed SCAN=...",
        [
            *(form.format(scan) for form in (WHOLE, SAME) for scan in PREDICTION),
            *(form.format(scan) for form in (GATED, MISSES) for scan in PREDICTION[:2]),
        ],
        predicted,
    ),
    Bar(
        "prediction peak memory, 512x512x1000, 11 tasks",
        "",
        "<= 6 GB; 4 against 120 classes within 25 %",
        "make bench BENCH=predict_memory",
        [MEMORY.format("11 tasks of 2 to 3 classes"), "peak memory of 120 against 4 classes"],
        memory,
    ),
    Bar(
        "MSD hippocampus, heads split, 10 minutes on two cores",
        "majority vote 0.71; nnU-Net v2 2.8.1, its default plan 0.277",
        "test Dice >= 0.85",
        "python experiments/hippocampus_vs_nnunet/run.py --parts time_planned",
        held_by="0.880 with `budget=10min`, 0.747 with the default plan; 35 heads, a training each",
    ),
    Bar(
        "training step on one H100/H200, published network and patch, batch 2",
        "PlainConvUNet as nnU-Net runs it (fp16, compiled)",
        "0.7x, goal 0.5x",
        "make bench-gpu",
        measured=step_of,
    ),
    Bar(
        "whole stream against that static step; utilisation",
        "the static step",
        "1.08x, 93 %; goal 1.03x, 97 %",
        "make bench-gpu",
        measured=stream_of,
    ),
    Bar(
        "seven CT tasks of 192x384x384 on one card",
        "",
        "2.0 s, goal 1.0 s",
        "make bench-gpu",
        measured=lambda card: f"{card['parts']['predict']['at_once']['seconds']:.2f} s",
    ),
    Bar(
        "`import uniseg`",
        "",
        "0.4 s, goal 0.15 s",
        "make bench BENCH=import",
        ["import uniseg"],
        lambda row: f"{row['ours']:.2f} s",
    ),
    Bar(
        "`prompts/image_share` at the end of the demo",
        "",
        "0.05, mean Dice not below 0.680",
        "make bench BENCH=demo",
        ["demo, image share of the task prompts", "demo, mean test Dice"],
        lambda share, dice: f"{share['ours']:.3f}, mean Dice {dice['ours']:.3f}",
    ),
    Bar(
        "same network, batch, schedule, equal steps",
        "nnU-Net v2 2.8.1",
        "non-inferior, margin 1 Dice point",
        "python experiments/hippocampus_vs_nnunet/run.py --parts equal_steps",
        held_by="non-inferior: +0.015 (+0.011 to +0.019) on 35 heads, 600 steps",
    ),
    Bar(
        "resume",
        "an uninterrupted run",
        "bit-identical final weights (CPU)",
        "pytest tests/integration/test_resume.py",
        held_by="held by a test",
    ),
)


def lines(rows: Rows, cards: Sequence[Card]) -> Iterator[tuple[str, ...]]:
    """What, against, bar, measured, machine, commit, command of every bar; a card's once per card."""
    for bar in BARS:
        for measured, machine, commit in _found(bar, rows, cards):
            yield bar.what, bar.against, bar.bar, measured, machine, commit, bar.command and f"`{bar.command}`"


def _found(bar: Bar, rows: Rows, cards: Sequence[Card]) -> list[tuple[str, str, str]]:
    used = [rows[name] for name in bar.names if name in rows]
    if bar.measured and bar.names and len(used) == len(bar.names):
        return [(bar.measured(*used), joined(row["machine"] for row in used), joined(row["commit"] for row in used))]
    if bar.measured and not bar.names and cards:
        return [(bar.measured(card), card["parts"]["rates"]["card"], str(card["commit"])) for card in cards]
    return [(bar.held_by or NOT_MEASURED, "", "")]


def joined(values: Iterator[str]) -> str:
    return "; ".join(dict.fromkeys(values))
