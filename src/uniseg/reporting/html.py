"""The report's page: everything in one HTML file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniseg.files import write_bytes
from uniseg.metrics.registry import Metrics, packaged_metrics
from uniseg.reporting.case_pictures import CasePictures, draw_cases
from uniseg.reporting.failures import MOST_ROWS, Key, case_links, failures, row_ids
from uniseg.reporting.figures import box_figure, curve_figure, dice_panels, loss_panels
from uniseg.reporting.health import health_figures
from uniseg.reporting.markup import content_policy, own_file, render_page, script_hash
from uniseg.reporting.niivue import find_library
from uniseg.reporting.pictures import Picture, picture
from uniseg.reporting.pretexts import reconstruction_figures
from uniseg.reporting.prompts import prompt_figures
from uniseg.reporting.provenance import environment_rows, forgetting_rows, weight_rows
from uniseg.reporting.run import Run, TaskResult, read_run
from uniseg.reporting.tables import (
    RULE,
    case_table,
    changed_rows,
    data_rows,
    settings_rows,
    stage_rows,
    summary_line,
    task_table,
)
from uniseg.reporting.training_cost import cost_rows
from uniseg.reporting.verdict import rate_figures, read_verdict, verdict_figures
from uniseg.reporting.viewer import Viewer, viewer_style
from uniseg.run_folder import ReportFolder

SCRIPT = "tables.js"


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
    viewer_mb: float = 0,
) -> Path:
    """Write ``report.html``, its pictures inside, with the same pictures in ``figures/`` beside it; returns the page's
    path.

    Everything is made before anything is written.

    Args:
        default: the configuration without an experiment, as plain containers; None: what the run changed is left out.
        loggers: of Lightning; those with ``log_image`` get the pictures.
        metrics: columns of the tables; None: those of uniseg.
        viewer_mb: of the cases that the page's viewer holds, in 10⁶ bytes; 0, or without the extra ``view``: no viewer.

    Raises:
        InputError: the run folder lacks a file, or one of its files is malformed.
    """
    run = read_run(run_dir)
    library = find_library() if viewer_mb > 0 else None
    cases = draw_cases(run, viewer_mb if library else 0)
    pictures = draw(run, run_dir, cases)
    viewer = Viewer(library, list(cases.scenes.values())) if library and cases.scenes else None
    page = render_page(
        "report.html.jinja",
        **_facts(run, run_dir, default or {}),
        **_results(run, list(cases.scenes), packaged_metrics() if metrics is None else metrics),
        verdict=read_verdict(run_dir),
        pictures=pictures,
        viewer=viewer,
        script=own_file(SCRIPT),
        style=viewer_style() if viewer else "",
        policy=content_policy([script_hash(own_file(SCRIPT)), *(viewer.hashes if viewer else ())]),
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


def _facts(run: Run, run_dir: Path, default: Mapping[str, Any]) -> dict[str, Any]:
    """What was trained on what, and what it took."""
    return {
        "run": run,
        "summary": summary_line(run),
        "cost": cost_rows(run_dir),
        "settings": [*settings_rows(run.config), *weight_rows(run_dir)],
        "environment": environment_rows(),
        "changed": changed_rows(run.config, default),
        "data": data_rows(run),
        "stages": stage_rows(run),
        "forgetting": forgetting_rows(run_dir),
    }


def _results(run: Run, viewed: Sequence[Key], metrics: Metrics) -> dict[str, Any]:
    """Scores with the links from one to the other."""
    failed = failures(run, viewed)
    return {
        "rule": RULE,
        "tasks": [task_table(task, metrics) for task in run.tasks],
        "task_links": {task.name: f"#task-{position}" for position, task in enumerate(run.tasks)},
        "failures": failed[:MOST_ROWS],
        "more_failures": len(failed[MOST_ROWS:]),
        "case_links": case_links(run, viewed),
        "cases": [case_table(task) for task in run.tasks],
        "row_ids": row_ids(run),
    }


def draw(run: Run, run_dir: Path, cases: CasePictures) -> Pictures:
    """
    Raises:
        InputError: a file of prompts cannot be read.
    """
    boxes = "Dots: cases. Boxes: quartiles, median in blue. Red tick: mean of the majority-vote baseline."
    return Pictures(
        curves=[*curve_pictures(run), *(picture(*each) for each in health_figures(run_dir))],
        prompts=[picture(*each) for each in prompt_figures(run_dir)],
        overlays=[(task, cases.of_task(task)) for task in run.tasks],
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
