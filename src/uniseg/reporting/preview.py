"""A first look at a prepared task: a case as the network will see it."""

from pathlib import Path

import numpy as np

from uniseg.cache.store import TaskCache
from uniseg.files import write_atomically
from uniseg.images.volume import Volume
from uniseg.reporting.figures import DPI
from uniseg.reporting.overlays import overlay_figure


def write_preview(folder: Path) -> Path:
    """``<folder>/preview.png``: image with label of the first cached case that has a target, at the task's spacing,
    normalised.
    """
    cache = TaskCache(folder)
    shown = next((case_id for case_id in cache.entries if cache.foreground(case_id)), next(iter(cache.entries)))
    image, label = cache.read_box(shown, (0, 0, 0), cache.entries[shown].shape)
    volume = Volume(image.astype(np.float32), cache.task.spacing_mm, np.diag([*cache.task.spacing_mm, 1.0]))
    figure = overlay_figure(
        volume, label, None, task=cache.task, dice=None, title=f"{cache.task.name}: {shown}, as prepared"
    )
    with write_atomically(folder / "preview.png") as part:
        figure.savefig(part, format="png", dpi=DPI)
    return folder / "preview.png"
