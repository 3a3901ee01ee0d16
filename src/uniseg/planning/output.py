"""A plan as a person reads it, as Hydra reads it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from uniseg.errors import InputError
from uniseg.files import write_text
from uniseg.planning.budget import seconds_of
from uniseg.planning.planner import OFFER_WITHIN, Plan, Sharing
from uniseg.planning.time_limit import FEWEST_STEPS, MIN_BATCH

MARK = "# What it plans:"  # in the header of every file written here


def print_plan(plan: Plan) -> None:
    """Two tables with the reasons below, on stderr."""
    console = Console(stderr=True, width=240)
    console.print(_voxel_table(plan))
    console.print(_cost_table(plan))
    for line in reasons(plan):
        console.print(line, markup=False, highlight=False)


def reasons(plan: Plan) -> list[str]:
    """The joint choices, one per line."""
    patch, topology = plan.patch, plan.patch.topology
    shrunk = (
        f"shrunk from {_size(patch.start)} until batch {MIN_BATCH} fitted"
        if patch.start != topology.patch_size
        else "the whole of it fits"
    )
    coarse = [axis for axis, name in enumerate("zyx") if topology.strides[0][axis] == 1]
    halving = (
        f"{'zyx'[coarse[0]]} is coarse, halved later"
        if len(coarse) == 1
        else "axes are halved while maps keep 4 voxels"
    )
    strides = " ".join(_size(stride) for stride in topology.strides)
    epoch, step, run = (_duration(seconds) for seconds in (epoch_seconds(plan), plan.step.seconds, run_seconds(plan)))
    budget = plan.budget
    width, batch = _reasons_of_size(plan)
    lines = [
        f"patch {_size(topology.patch_size)}: median shape of what training draws is {_size(patch.shape)}; {shrunk}",
        f"strides {strides}: joint spacing ratio {_size(patch.ratio)}; {halving}",
        f"channels {list(topology.channels(*plan.recipe.width))}: doubled from {plan.recipe.width[0]} to at most "
        f"{plan.recipe.width[1]} ({width})",
        f"batch {patch.batch_size} on one GPU: {batch}",
        f"memory {patch.gigabytes:.1f} of {plan.options.settings.gpu_memory_gb:g} GB, {memory_word(plan)}, "
        f"{plan.recipe.precision}",
        f"time {epoch} per epoch of {budget.steps_per_epoch} training steps, {step} a step, {plan.step.how}",
        f"budget {budget.name}: {budget.max_epochs} epochs, {budget.steps:,} steps, {budget.num_workers} readers, "
        f"{'no mirroring' if not budget.mirror_axes else 'mirroring'} at prediction: {run} for the whole run "
        f"(budget=quick, standard, published or a time: 30min, 8h, 2d)",
        f"spacing: {SPACING_REASONS[plan.options.settings.plan_spacing]}",
    ]
    if seconds_of(budget.name) is not None and budget.steps < FEWEST_STEPS:
        lines.append(
            f"{budget.steps:,} steps are few: give more time, or a lower gpu_memory_gb, which has smaller patches"
        )
    lines += [f"shared windows: {_sharing(s)}" for s in plan.shared]
    lines += [
        f"plan_share_within={max(OFFER_WITHIN, plan.options.settings.plan_share_within):g} would share: {_sharing(s)}"
        for s in plan.offered
    ]
    return lines


def _reasons_of_size(plan: Plan) -> tuple[str, str]:
    """Of the width, of the batch."""
    patch, asked = plan.patch, plan.options.settings.plan_width
    in_time = f"for {FEWEST_STEPS:,} steps in {plan.budget.name}"
    width = "plan_width" if plan.recipe.width == tuple(asked) else f"plan_width {[*asked]} halved {in_time}"
    if patch.batch_size < plan.most:
        return width, f"of {plan.most} that memory holds, {in_time}"
    if patch.batch_size == patch.batch_cap:
        return width, "nnU-Net's cap, 5 % of all voxels"
    return width, "nnU-Net's least" if patch.batch_size == MIN_BATCH else "as many as fit"


SPACING_REASONS = {
    "given": "the task files' (plan_spacing=nnunet takes the rule's)",
    "nnunet": "nnU-Net's rule (plan_spacing=given keeps the task files')",
}


def memory_word(plan: Plan) -> str:
    return "measured" if plan.options.settings.measure_memory else "modelled"


def epoch_seconds(plan: Plan) -> float:
    return plan.step.seconds * plan.budget.steps_per_epoch


def run_seconds(plan: Plan) -> float:
    return plan.budget.seconds(plan.step.seconds)


def write_experiment(plan: Plan, path: Path, command: str, defaults: Sequence[Mapping], values: Mapping) -> None:
    """``conf/experiment/<name>.yaml`` for ``experiment=<name>``; appears whole or not at all.

    Args:
        command: that planned.
        defaults, values: what the configuration chose beside the tasks; the plan's own values go over them.

    Raises:
        InputError: the file exists and is no plan.
    """
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            path, "an experiment that was not planned", "a new file or an earlier plan", "give another plan_output"
        )
    write_text(path, experiment_text(plan, path.stem, command, defaults, values))


def experiment_text(plan: Plan, name: str, command: str, defaults: Sequence[Mapping], values: Mapping) -> str:
    """The experiment file."""
    budget, patch = plan.budget, plan.patch
    planned = {
        "defaults": [{"override /task": [t.task.name for t in plan.tasks]}, *defaults],
        "name": name,
        "tasks": {t.task.name: {"spacing_mm": list(t.task.spacing_mm)} for t in plan.tasks},
        "data": {
            "patch_size": list(patch.topology.patch_size),
            "batch_size": patch.batch_size,
            "steps_per_epoch": budget.steps_per_epoch,
            "val_steps": budget.val_steps,
            "tasks_per_batch": budget.tasks_per_batch,
            "num_workers": budget.num_workers,
        },
        **values,
        "model": _merged(values.get("model", {}), {"encoder": plan.recipe.encoder_shape(patch.topology)}),
        "trainer": {"precision": plan.recipe.precision, "max_epochs": budget.max_epochs},
        "inference": {"mirror_axes": list(budget.mirror_axes)},
    }
    cases = sum(len(t.geometry.case_ids) for t in plan.tasks)
    header = [
        "# @package _global_",
        f"{MARK} one network for {len(plan.tasks)} tasks, {cases} training and val cases.",
        f"# Command: {command}; then python -m uniseg.prepare experiment={name}, the same with uniseg.train",
        f"# Hardware, time: one GPU of {plan.options.settings.gpu_memory_gb:g} GB, {patch.gigabytes:.1f} GB "
        f"{memory_word(plan)};",
        f"#   budget {budget.name}: {budget.steps:,} training steps, {_duration(run_seconds(plan))}, {plan.step.how};",
        f"#   cache {_total_gb(plan):.3g} GB, preparation {_duration(_total_prepare(plan))}, one case per task "
        f"measured, scaled by voxels",
        "# Expected score: not measured",
    ]
    return "\n".join(header) + "\n" + yaml.dump(planned, Dumper=_Dumper, sort_keys=False, width=160)


def _merged(values: Mapping, over: Mapping) -> dict:
    """``over`` laid over ``values``, mapping by mapping."""
    merged = dict(values)
    for key, value in over.items():
        merged[key] = _merged(merged.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged


class _Dumper(yaml.SafeDumper):
    """Lists that hold no mapping stay on one line; items are indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def _one_line(dumper: yaml.SafeDumper, values: list) -> yaml.Node:
    return dumper.represent_sequence(
        "tag:yaml.org,2002:seq", values, flow_style=not any(isinstance(v, dict) for v in values)
    )


_Dumper.add_representer(list, _one_line)


SCAN_HEADINGS = (
    "task",
    "train and val cases (patients)",
    "scan, median",
    "mm, median",
    "mm, task file",
    "mm, nnU-Net's rule",
)
PLAN_HEADINGS = ("mm, planned", "shape at it", "patch covers", "normalisation")


def _voxel_table(plan: Plan) -> Table:
    table = Table(*SCAN_HEADINGS, *PLAN_HEADINGS)
    for planned in plan.tasks:
        geometry, shape = planned.geometry, planned.median_shape
        table.add_row(
            escape(planned.task.name),
            f"{len(geometry.case_ids)} ({geometry.num_patients})",
            _size(np.median(geometry.shapes, 0)),
            _size(np.median(geometry.spacings_mm, 0)),
            _size(geometry.task.spacing_mm),
            _size(planned.rule_mm),
            _size(planned.task.spacing_mm),
            _size(shape),
            " ".join(f"{p / n:.0%}" for p, n in zip(plan.patch.topology.patch_size, shape, strict=True)),
            escape(
                ", ".join(
                    f"{m} {n.mode}" for m, n in zip(planned.task.modalities, planned.task.normalization, strict=True)
                )
            ),
        )
    return table


def _cost_table(plan: Plan) -> Table:
    workers = plan.options.num_workers
    table = Table(
        "task",
        "cache GB",
        f"preparation, num_workers={workers}",
        title="one case per task measured, scaled by voxels",
        title_justify="left",
    )
    for planned in plan.tasks:
        table.add_row(
            escape(planned.task.name), f"{planned.cache_bytes / 1e9:.3g}", _duration(planned.prepare_seconds(workers))
        )
    table.add_row("all", f"{_total_gb(plan):.3g}", _duration(_total_prepare(plan)))
    return table


def _total_gb(plan: Plan) -> float:
    return sum(planned.cache_bytes for planned in plan.tasks) / 1e9


def _total_prepare(plan: Plan) -> float:
    return sum(planned.prepare_seconds(plan.options.num_workers) for planned in plan.tasks)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _sharing(sharing: Sharing) -> str:
    saving = f"{sharing.saving:.0%} fewer operations for a scan predicted for all of them (modelled)"
    return f"{', '.join(sharing.names)} at {_size(sharing.spacing_mm)} mm: {saving}"


def _size(values: Sequence[float]) -> str:
    return "x".join(f"{float(v):.4g}" for v in values)
