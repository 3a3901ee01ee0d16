"""Pictures that a page holds itself."""

import base64
import io
import re
from dataclasses import dataclass

from matplotlib.figure import Figure

from uniseg.reporting.overlays import DPI


@dataclass(frozen=True)
class Area:
    """A part of a picture that stands for a task; percents of its width and height.

    Examples:
        >>> Area("liver", left=0, top=10, width=80, height=5).style
        'left:0.00%;top:10.00%;width:80.00%;height:5.00%'
    """

    task: str
    left: float
    top: float
    width: float
    height: float

    @property
    def style(self) -> str:
        names = ("left", "top", "width", "height")
        return ";".join(f"{name}:{getattr(self, name):.2f}%" for name in names)


@dataclass(frozen=True)
class Picture:
    """A PNG: ``name`` is its file name without ending, ``caption`` stands under it, ``areas`` lead to their tasks.

    Examples:
        >>> Picture("loss", "Loss per epoch.", b"").source
        'data:image/png;base64,'
    """

    name: str
    caption: str
    png: bytes
    areas: tuple[Area, ...] = ()

    @property
    def source(self) -> str:
        """What an ``img`` element needs to hold the picture itself."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def picture(name: str, caption: str, figure: Figure, areas: tuple[Area, ...] = ()) -> Picture:
    """Drawn, under a name that a file may have."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return Picture(re.sub(r"[^\w.-]+", "_", name), caption, buffer.getvalue(), areas)
