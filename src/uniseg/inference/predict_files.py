"""Prediction of whatever a user gives: files, folders, DICOM series -> label maps."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from uniseg.datasets.case import Case
from uniseg.datasets.inputs import Given, find_inputs, passed_over
from uniseg.errors import InputError
from uniseg.inference.case_reader import Files, Images
from uniseg.inference.case_runner import CaseRunner, Outcome
from uniseg.inference.predictor import Predictor
from uniseg.inference.shard import Shard
from uniseg.inference.stopwatch import WINDOWS
from uniseg.task import Task

AUTO = "auto"
MOST_NAMED = 5


def predict_files(predictor: Predictor, given: Given, output: str | os.PathLike, **choices) -> list[Path]:
    """What was written, or was there already from the same scans, weights and settings.

    Args:
        given, output, choices: as of ``predict_cases``.

    Raises:
        InputError: as of ``predict_cases``; a scan was refused, once all others are finished.
    """
    outcomes = predict_cases(predictor, given, output, **choices)
    require_none_refused(outcomes)
    return [path for outcome in outcomes for path in outcome.paths]


def predict_cases(
    predictor: Predictor,
    given: Given,
    output: str | os.PathLike,
    *,
    tasks: str | Sequence[str] = AUTO,
    modality: Sequence[str] | None = None,
    merge: bool = False,
    probabilities: bool = False,
    shard: str | None = None,
    series: str | None = None,
    console: Console | None = None,
    **layout: Any,
) -> list[Outcome]:
    """What became of every scan.

    A progress bar goes to ``console``, with lines on what was taken for what, passed over, refused.

    Args:
        given: a file, a folder of files or DICOM series, or a list of files, one per modality.
        tasks: names; ``auto``: all that take the modalities, or, where these are not stated, that fit what the scan
            looks like.
        modality: what the channels are, in order.
        merge, probabilities: as of ``OutputLayout``.
        shard: which part of the scans, as ``1/4``, where several processes share them; None: all.
        series: number or UID of the one in a folder of DICOM slices.
        console: None: standard error.
        layout: ``format``, ``segmentation_type`` of ``OutputLayout``.

    Raises:
        InputError: anything wrong with the tasks, the output or what is given as a whole.
    """
    console = console or Console(stderr=True, soft_wrap=True)
    log = partial(console.print, markup=False, highlight=False)
    part = Shard.of(shard)
    runner = CaseRunner(predictor, output, merge=merge, probabilities=probabilities, log=log, **layout)
    pairs = find_pairs(predictor, given, tasks, modality, series, log)
    if part.count > 1:
        runner.require_free(pairs)  # of all parts: no prediction may replace a scan of another
        pairs = part.take(pairs, key=lambda pair: pair[0].case_id)
    outcomes = _run_with_bar(runner, pairs, console)
    if len(outcomes) > 1:
        for outcome in outcomes:
            if outcome.refusal is not None:
                log(f"refused {outcome.case_id}: {outcome.refusal}")
    return outcomes


def _run_with_bar(runner: CaseRunner, pairs: Sequence[tuple[Case, Images | None]], console: Console) -> list[Outcome]:
    """All of them, while a bar moves with the windows of a scan, since one alone may take minutes."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    stopwatch, total = runner.predictor.stopwatch, len(pairs)
    listener = stopwatch.listener
    with Progress(*columns, TimeRemainingColumn(elapsed_when_finished=True), console=console) as progress:
        bar = progress.add_task("predict", total=total)

        def listen(stage: str, fraction: float) -> None:
            if listener is not None:
                listener(stage, fraction)
            if stage == WINDOWS:
                completed = max(progress.tasks[0].completed, min(runner.num_segmented + fraction, total))
                progress.update(bar, completed=completed)

        stopwatch.listener = listen
        try:
            outcomes = list(runner.run(pairs))
        finally:
            stopwatch.listener = listener
        progress.update(bar, completed=total)
    return outcomes


def find_pairs(
    predictor: Predictor,
    given: Given,
    tasks: str | Sequence[str],
    modality: Sequence[str] | None,
    series: str | None,
    log: Callable[[str], None],
) -> list[tuple[Case, Images | None]]:
    """Every case that is given, with its files per task; None: those of the tasks that fit what the scan looks like.

    Args:
        given, tasks, modality, series: as of ``predict_cases``.
        log: takes a line on what is passed over.

    Raises:
        InputError: as of ``predict_cases``.
    """
    chosen = _chosen_tasks(predictor, tasks, modality)
    num_channels = {task.num_modalities for task in chosen or predictor.tasks} if modality is None else {len(modality)}
    cases = find_inputs(given, num_channels, series)
    # what does not fit is refused before all work
    pairs = [(case, chosen and {task.name: arrange_files(task, case, modality) for task in chosen}) for case in cases]
    if left := passed_over(given):
        more = f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
        log(f"passed over: {', '.join(left[:MOST_NAMED])}{more} (no image by name)")
    return pairs


def _chosen_tasks(
    predictor: Predictor, tasks: str | Sequence[str], modality: Sequence[str] | None
) -> list[Task] | None:
    """None: those that fit what each scan looks like."""
    names = [tasks] if isinstance(tasks, str) else list(tasks)
    if names == [AUTO]:
        if modality is None:
            return None
        names = predictor.fitting_tasks(modality)
    predictor.require_adapted(names)
    if not names:
        expected = f"names among {', '.join(predictor.tasks.names)}, or auto"
        raise InputError("tasks", "an empty list", expected, "correct tasks=")
    return [predictor.task(name) for name in names]


def require_none_refused(outcomes: Sequence[Outcome]) -> None:
    """
    Raises:
        InputError: a scan was refused; the first of them, with how many there are.
    """
    refusals = [outcome.refusal for outcome in outcomes if outcome.refusal is not None]
    if not refusals:
        return
    first, count = refusals[0], f"{len(refusals)} of {len(outcomes)} scans refused"
    others = (
        ""
        if len(outcomes) == 1
        else f" ({count}, the others are finished)"
        if len(refusals) == 1
        else f" (the first of {count}, the others are finished)"
    )
    raise InputError(first.where, f"{first.found}{others}", first.expected, first.fix) from first


def arrange_files(task: Task, case: Case, modality: Sequence[str] | None) -> Files:
    """The files of a case in the order of the task's modalities, None for one that it lacks; as they come without
    ``modality``.

    Raises:
        InputError: another number of files than names, or one file of several modalities in another order than the
            task's.
    """
    if modality is None:
        return case.image_paths
    if len(case.image_paths) == 1 < len(modality):
        if tuple(modality) != task.modalities:
            raise InputError(
                case.image_paths[0],
                f"one file of {list(modality)}",
                f"{list(task.modalities)}, in this order",
                "give one file per modality",
            )
        return case.image_paths
    if len(modality) != len(case.image_paths):
        raise InputError(
            case.image_paths[0],
            f"{len(case.image_paths)} files",
            f"one for each of {list(modality)}",
            "correct modality=[...] or the input",
        )
    by_name = dict(zip(modality, case.image_paths, strict=True))
    return tuple(by_name.get(name) for name in task.modalities)
