"""What the values of a label map mean: names, colours, codes, and who made it."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from uniseg.environment import uniseg_version
from uniseg.terminology import UNKNOWN, ClassCodes

GOLDEN = 0.618034  # of the hue circle: neighbouring values differ clearly
LONGEST_NAME = 64  # characters of a name in DICOM

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Segment:
    """One class of a label map.

    Attributes:
        values: of the label map; a value may belong to several segments.
        colour: red, green, blue, 0 to 255.

    Examples:
        >>> Segment("spleen", (1,), (230, 200, 80)).codes.type
        '85756007 Tissue'
    """

    name: str
    values: tuple[int, ...]
    colour: Colour
    codes: ClassCodes = UNKNOWN


@dataclass(frozen=True)
class SegmentTable:
    """The segments of a label map with what made it.

    Attributes:
        title: of the whole: the task's name.
        checkpoint_hash: of the weights; empty where unknown.

    Examples:
        >>> table = SegmentTable("brain", (Segment("whole", (1, 2), (255, 0, 0)), Segment("core", (2,), (0, 255, 0))))
        >>> [(segment.name, segment.values) for segment in table.exclusive().segments]
        [('whole', (1,)), ('whole+core', (2,))]
    """

    title: str
    segments: tuple[Segment, ...]
    checkpoint_hash: str = ""
    version: str = field(default_factory=uniseg_version)

    @property
    def is_exclusive(self) -> bool:
        """Whether each segment is one value, which no other has."""
        values = [segment.values for segment in self.segments]
        return all(len(each) == 1 for each in values) and len(set(values)) == len(values)

    def exclusive(self) -> "SegmentTable":
        """The same with one segment for each value, named after all classes that hold it."""
        if self.is_exclusive:
            return self
        values = sorted({value for segment in self.segments for value in segment.values})
        return replace(self, segments=tuple(self._of_value(value) for value in values))

    def _of_value(self, value: int) -> Segment:
        owners = [segment for segment in self.segments if value in segment.values]
        narrowest = min(owners, key=lambda segment: len(segment.values))
        return replace(narrowest, name="+".join(segment.name for segment in owners), values=(value,))


def make_segments(
    names: Sequence[str], values: Sequence[tuple[int, ...]], codes: Sequence[ClassCodes | None] = ()
) -> tuple[Segment, ...]:
    """Segments in colours that differ.

    Args:
        codes: of each, None where unknown; empty: of none.
    """
    listed = list(codes) or [None] * len(names)
    return tuple(
        Segment(name, tuple(each), distinct_colour(number), code or UNKNOWN)
        for number, (name, each, code) in enumerate(zip(names, values, listed, strict=True), 1)
    )


def distinct_colour(number: int) -> Colour:
    """The same for the same number, unlike its neighbours'."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.65, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
