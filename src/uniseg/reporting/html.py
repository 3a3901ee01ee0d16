"""The report's page: everything in one HTML file."""

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from uniseg.files import write_atomically
from uniseg.reporting.figures import DPI, box_figure, curve_figure, dice_panels, loss_panels, overlay_figure
from uniseg.reporting.prompts import prompt_figures
from uniseg.reporting.provenance import environment_rows, forgetting_rows, weight_rows
from uniseg.reporting.run import CaseResult, Run, TaskResult, extremes, read_run, read_scan
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

TEMPLATE = Path(__file__).with_name("template.html.jinja")


@dataclass(frozen=True)
class Picture:
    """A PNG: ``name`` is its file name without ending, ``caption`` stands under it."""

    name: str
    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """What an ``img`` element needs to hold the picture itself."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def write_report(
    run_dir: Path, output: Path, default: Mapping[str, Any] | None = None, loggers: Sequence[Any] = ()
) -> Path:
    """Write ``report.html``, its pictures inside, with the same pictures in ``figures/`` beside it; returns the page's
    path.

    Everything is made before anything is written.

    Args:
        default: the configuration without an experiment, as plain containers; None: what the run changed is left out.
        loggers: of Lightning; those with ``log_image`` get the pictures.

    Raises:
        InputError: the run folder lacks a file, or one of its files is malformed.
    """
    run = read_run(run_dir)
    curves = list(curve_pictures(run))
    overlays = [
        (task, [overlay_picture(run, task, rank, case) for rank, case in extremes(task.cases)]) for task in run.tasks
    ]
    boxes = picture(
        "dice_per_case",
        "Dots: cases. Boxes: quartiles, median in blue. Red tick: image-blind mean.",
        box_figure(run.tasks),
    )
    prompts = [picture(*each) for each in prompt_figures(run_dir)]
    page = render(run, default or {}, weight_rows(run_dir), forgetting_rows(run_dir), curves, overlays, boxes, prompts)
    pictures = (*curves, *prompts, *(p for _, own in overlays for p in own), boxes)
    for each in pictures:
        _write(output / "figures" / f"{each.name}.png", each.png)
    _write(output / "report.html", page.encode())
    for logger in (logger for logger in loggers if hasattr(logger, "log_image")):
        for each in pictures:
            logger.log_image(
                f"report/{each.name}", [str(output / "figures" / f"{each.name}.png")], caption=[each.caption]
            )
    return output / "report.html"


def curve_pictures(run: Run) -> Iterator[Picture]:
    """Losses, then pseudo-Dice; each only where training logged it."""
    if losses := loss_panels(run):
        yield picture(
            "loss", "Loss per epoch: overall, then training loss per task.", curve_figure(losses, "loss", None)
        )
    if dice := dice_panels(run):
        caption = "Pseudo-Dice per epoch on unaugmented validation patches: not the Dice of whole cases."
        yield picture("pseudo_dice", caption, curve_figure(dice, "pseudo-Dice", (0.0, 1.0)))


def overlay_picture(run: Run, task: TaskResult, rank: str, case: CaseResult) -> Picture:
    """One case's overlay.

    Raises:
        InputError: the case cannot be read.
    """
    files = run.files[task.name, case.case_id]
    scan = read_scan(files)
    figure = overlay_figure(
        scan.volume,
        scan.reference,
        scan.prediction,
        task=files.task,
        dice=[score.dice for score in case.scores],
        title=f"{task.name}, {rank}: {case.case_id}, mean Dice {number(case.dice)}",
    )
    caption = (
        f"{rank.capitalize()}: {case.case_id}, mean Dice {number(case.dice)}, image-blind {number(case.blind_dice)}."
    )
    return picture(f"overlay_{task.name}_{rank}", caption, figure)


def picture(name: str, caption: str, figure: Figure) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return Picture(re.sub(r"[^\w.-]+", "_", name), caption, buffer.getvalue())


def render(
    run: Run,
    default: Mapping[str, Any],
    weights: list[tuple[str, str]],
    forgetting: list[tuple[str, str, str]],
    curves: list[Picture],
    overlays: list[tuple[TaskResult, list[Picture]]],
    boxes: Picture,
    prompts: list[Picture],
) -> str:
    """The page as text."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(
        run=run,
        summary=summary_line(run),
        settings=[*settings_rows(run.config), *weights],
        environment=environment_rows(),
        rule=RULE,
        changed=changed_rows(run.config, default),
        data=data_rows(run),
        stages=stage_rows(run),
        tasks=[task_table(task) for task in run.tasks],
        forgetting=forgetting,
        curves=curves,
        overlays=overlays,
        boxes=boxes,
        prompts=prompts,
        cases=[case_table(task) for task in run.tasks],
    )


def _write(path: Path, content: bytes) -> None:
    with write_atomically(path) as part:
        part.write_bytes(content)
