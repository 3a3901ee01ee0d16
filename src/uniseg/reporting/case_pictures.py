"""The cases that a report shows: overlays of best, median and worst, scenes of those that the viewer holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from matplotlib.colors import to_rgb

from uniseg.evaluation.case_record import CaseRecord
from uniseg.images.segments import Segment
from uniseg.images.volume import Volume
from uniseg.reporting.failures import Key, cases_to_view
from uniseg.reporting.overlays import class_colours, overlay_figure, shown_modalities, view_box
from uniseg.reporting.pictures import Picture, picture
from uniseg.reporting.run import CaseResult, Run, TaskResult, extremes
from uniseg.reporting.scene import MB, Layer, PackedScene, Scene, pack
from uniseg.reporting.tables import number
from uniseg.task import Task

MOST_VIEWED = 16

Loaded = tuple[Volume, np.ndarray, np.ndarray]


@dataclass
class CasePictures:
    """Of the cases of a run, each read once.

    Attributes:
        overlays: by task and case.
        scenes: by task and case, in the order of the viewer.

    Examples:
        >>> len(draw_cases(read_run(Path("outputs/demo")), viewer_mb=0).scenes)  # doctest: +SKIP
        0
    """

    overlays: dict[Key, Picture] = field(default_factory=dict)
    scenes: dict[Key, PackedScene] = field(default_factory=dict)

    def of_task(self, task: TaskResult) -> list[Picture]:
        """Best, median, worst."""
        return [self.overlays[task.name, case.case_id] for _, case in extremes(task.cases)]


def draw_cases(run: Run, viewer_mb: float) -> CasePictures:
    """
    Args:
        viewer_mb: what all scenes may take, in 10⁶ bytes; those that come later share what earlier ones left.

    Raises:
        InputError: a case cannot be read.
    """
    drawn = CasePictures()
    ranks = {(task.name, case.case_id): rank for task in run.tasks for rank, case in extremes(task.cases)}
    viewed = cases_to_view(run, MOST_VIEWED) if viewer_mb > 0 else []
    left = viewer_mb
    for position, (task, case) in enumerate(viewed):
        record = run.records[task, case.case_id]
        loaded, key = record.load(), (task, case.case_id)
        drawn.scenes[key] = pack(_scene(record, case, loaded), left / (len(viewed) - position))
        left -= drawn.scenes[key].num_bytes / MB
        if key in ranks:
            drawn.overlays[key] = _overlay(record.task, case, ranks[key], loaded)
    cases = {(case.task, case.case_id): case for case in run.cases}
    for key in ranks.keys() - drawn.overlays.keys():
        record = run.records[key]
        drawn.overlays[key] = _overlay(record.task, cases[key], ranks[key], record.load())
    return drawn


def _overlay(task: Task, case: CaseResult, rank: str, loaded: Loaded) -> Picture:
    figure = overlay_figure(
        *loaded,
        task=task,
        dice=[score.dice for score in case.scores],
        title=f"{task.name}, {rank}: {case.case_id}, mean Dice {number(case.dice)}",
    )
    caption = (
        f"{rank.capitalize()}: {case.case_id}, mean Dice {number(case.dice)}, baseline {number(case.baseline_dice)}."
    )
    return picture(f"overlay_{task.name}_{rank}", caption, figure)


def _scene(record: CaseRecord, case: CaseResult, loaded: Loaded) -> Scene:
    """Narrowed to the structures, as the pictures are; in their colours."""
    volume, reference, prediction = loaded
    task = record.task
    shown = shown_modalities(len(volume.array))
    missed = [score.class_name for score in case.scores if score.complete_miss]
    title = f"{task.name}: {case.case_id}, Dice {number(case.dice)}"
    layer = Layer(task.name, _segments(task), prediction, np.maximum(reference, 0), _details(case))
    channels = Volume(volume.array[list(shown)], volume.spacing_mm, volume.affine)
    scene = Scene(
        f"{title}, missed: {', '.join(missed)}" if missed else title,
        channels,
        tuple(task.modalities[index] for index in shown),
        (layer,),
        "narrowed to the structures",
    )
    return scene.cropped(view_box((reference > 0) | (prediction > 0), volume.spacing_mm))


def _segments(task: Task) -> tuple[Segment, ...]:
    colours = [[round(255 * part) for part in to_rgb(colour)] for colour in class_colours(task.num_classes)]
    return tuple(
        Segment(name, values, (red, green, blue))
        for name, values, (red, green, blue) in zip(task.classes[1:], task.class_values, colours, strict=True)
    )


def _details(case: CaseResult) -> Mapping[str, str]:
    return {score.class_name: f"Dice {number(score.dice)}" for score in case.scores}
