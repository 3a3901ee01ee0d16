"""The report's page: everything in one HTML file."""

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from uniseg.files import write_bytes
from uniseg.metrics.registry import Metrics, packaged_metrics
from uniseg.reporting.figures import box_figure, curve_figure, dice_panels, loss_panels
from uniseg.reporting.health import health_figures
from uniseg.reporting.markup import render_page
from uniseg.reporting.overlays import DPI, overlay_figure
from uniseg.reporting.pretexts import reconstruction_figures
from uniseg.reporting.prompts import prompt_figures
from uniseg.reporting.provenance import environment_rows, forgetting_rows, weight_rows
from uniseg.reporting.run import CaseResult, Run, TaskResult, extremes, read_run
from uniseg.reporting.tables import (
    RULE,
    case_table,
    changed_rows,
    data_rows,
    number,
    settings_rows,
    stage_rows,
    summary_line,
    task_table,
)
from uniseg.reporting.verdict import rate_figures, read_verdict, verdict_figures
from uniseg.run_folder import ReportFolder


@dataclass(frozen=True)
class Picture:
    """A PNG: ``name`` is its file name without ending, ``caption`` stands under it.

    Examples:
        >>> Picture("loss", "Loss per epoch.", b"").source
        'data:image/png;base64,'
    """

    name: str
    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """What an ``img`` element needs to hold the picture itself."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Pictures:
    """All pictures of a page; ``overlays`` by task.

    Examples:
        >>> picture = Picture("loss", "Loss per epoch.", b"")
        >>> len(list(Pictures(curves=[picture], prompts=[], overlays=[], boxes=picture, verdict=[])))
        2
    """

    curves: list[Picture]
    prompts: list[Picture]
    overlays: list[tuple[TaskResult, list[Picture]]]
    boxes: Picture | None
    verdict: list[Picture]
    pretexts: Sequence[Picture] = ()

    def __iter__(self) -> Iterator[Picture]:
        yield from self.curves
        yield from self.pretexts
        yield from self.prompts
        for _, overlays in self.overlays:
            yield from overlays
        yield from [self.boxes] if self.boxes is not None else []
        yield from self.verdict


def write_report(
    run_dir: Path,
    output: Path,
    default: Mapping[str, Any] | None = None,
    loggers: Sequence[Any] = (),
    metrics: Metrics | None = None,
) -> Path:
    """Write ``report.html``, its pictures inside, with the same pictures in ``figures/`` beside it; returns the page's
    path.

    Everything is made before anything is written.

    Args:
        default: the configuration without an experiment, as plain containers; None: what the run changed is left out.
        loggers: of Lightning; those with ``log_image`` get the pictures.
        metrics: columns of the tables; None: those of uniseg.

    Raises:
        InputError: the run folder lacks a file, or one of its files is malformed.
    """
    run = read_run(run_dir)
    pictures = draw(run, run_dir)
    page = render_page(
        "report.html.jinja",
        run=run,
        summary=summary_line(run),
        settings=[*settings_rows(run.config), *weight_rows(run_dir)],
        environment=environment_rows(),
        rule=RULE,
        changed=changed_rows(run.config, default or {}),
        data=data_rows(run),
        stages=stage_rows(run),
        tasks=[task_table(task, packaged_metrics() if metrics is None else metrics) for task in run.tasks],
        forgetting=forgetting_rows(run_dir),
        verdict=read_verdict(run_dir),
        pictures=pictures,
        cases=[case_table(task) for task in run.tasks],
    )
    folder = ReportFolder(output)
    files = {each: folder.figures / f"{each.name}.png" for each in pictures}
    for each, path in files.items():
        write_bytes(path, each.png)
    write_bytes(folder.page, page.encode())
    for logger in (logger for logger in loggers if hasattr(logger, "log_image")):
        for each, path in files.items():
            logger.log_image(f"report/{each.name}", [str(path)], caption=[each.caption])
    return folder.page


def draw(run: Run, run_dir: Path) -> Pictures:
    """
    Raises:
        InputError: a case, or a file of prompts, cannot be read.
    """
    boxes = "Dots: cases. Boxes: quartiles, median in blue. Red tick: mean of the majority-vote baseline."
    return Pictures(
        curves=[*curve_pictures(run), *(picture(*each) for each in health_figures(run_dir))],
        prompts=[picture(*each) for each in prompt_figures(run_dir)],
        overlays=[
            (task, [overlay_picture(run, task, rank, case) for rank, case in extremes(task.cases)])
            for task in run.tasks
        ],
        boxes=picture("dice_per_case", boxes, box_figure(run.tasks)) if run.tasks else None,
        pretexts=[picture(*each) for each in reconstruction_figures(run_dir)],
        verdict=[picture(*each) for each in verdict_figures(read_verdict(run_dir))],
    )


def curve_pictures(run: Run) -> Iterator[Picture]:
    """Losses, then pseudo-Dice; each only where training logged it."""
    if losses := loss_panels(run):
        yield picture(
            "loss", "Loss per epoch: overall, then training loss per task.", curve_figure(losses, "loss", None)
        )
    if dice := dice_panels(run):
        caption = "Pseudo-Dice per epoch on unaugmented validation patches: not the Dice of whole cases."
        yield picture("pseudo_dice", caption, curve_figure(dice, "pseudo-Dice", (0.0, 1.0)))
    for each in rate_figures(run.curves):
        yield picture(*each)


def overlay_picture(run: Run, task: TaskResult, rank: str, case: CaseResult) -> Picture:
    """One case's overlay.

    Raises:
        InputError: the case cannot be read.
    """
    record = run.records[task.name, case.case_id]
    figure = overlay_figure(
        *record.load(),
        task=record.task,
        dice=[score.dice for score in case.scores],
        title=f"{task.name}, {rank}: {case.case_id}, mean Dice {number(case.dice)}",
    )
    caption = (
        f"{rank.capitalize()}: {case.case_id}, mean Dice {number(case.dice)}, baseline {number(case.baseline_dice)}."
    )
    return picture(f"overlay_{task.name}_{rank}", caption, figure)


def picture(name: str, caption: str, figure: Figure) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return Picture(re.sub(r"[^\w.-]+", "_", name), caption, buffer.getvalue())
