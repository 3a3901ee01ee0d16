"""Enhanced multi-frame files: every frame is a slice, placed and rescaled as its functional groups say."""

from dataclasses import dataclass, replace
from pathlib import Path

from uniseg.errors import InputError
from uniseg.images.dicom_file import Tags
from uniseg.images.dicom_slices import Slice, make_slice
from uniseg.images.image_file import require_bytes
from uniseg.images.suv import UNITS, measured_units

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
FRAME_TAGS = [SHARED, PER_FRAME]
PLACES = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
MACROS = (*PLACES, "PixelValueTransformationSequence", "FrameContentSequence")
MAPPING = "RealWorldValueMappingSequence"


@dataclass(frozen=True)
class FrameTags(Tags):
    """What a file says of one of its frames: its own groups, those that all share, the file.

    Examples:
        >>> from pydicom import Dataset
        >>> content = Dataset()
        >>> content.StackID = "1"
        >>> FrameTags(Path("1.dcm"), Dataset(), (Tags(Path("1.dcm"), content),)).text("StackID")
        '1'
    """

    macros: tuple[Tags, ...] = ()

    def text(self, name: str) -> str:
        """Empty where it is absent."""
        return next((macro.text(name) for macro in self.macros if name in macro), super().text(name))

    def numbers(self, name: str) -> list[float]:
        """Empty where it is absent.

        Raises:
            InputError: something else than numbers.
        """
        holder = next((macro for macro in self.macros if name in macro), None)
        return super().numbers(name) if holder is None else holder.numbers(name)


def is_multi_frame(header: Tags) -> bool:
    """Whether frames say by themselves where they lie."""
    return PER_FRAME in header


def make_frames(path: Path, header: Tags) -> list[Slice]:
    """The slices of a file in the order of its frames.

    Raises:
        InputError: frames of several stacks or time points; one that does not say where it lies; fewer groups than
            frames; PET in other units than activity or SUV.
    """
    frames, shared = header.items(PER_FRAME), header.items(SHARED)[:1]
    count = int((header.numbers("NumberOfFrames") or [1])[0])
    if len(frames) != count:
        raise InputError(path, f"{len(frames)} groups for {count} frames", "one for each", "restore the file")
    slices = []
    for number, frame in enumerate(frames):
        groups = [frame, *shared]
        macros = tuple(item for name in MACROS for group in groups for item in group.items(name)[:1])
        tags = FrameTags(path, header.dataset, macros)
        one = make_slice(path, tags, frame=number)
        mapping = next((found for group in groups if (found := group.items(MAPPING))), header.items(MAPPING))
        rescale, units = _rescale(tags, mapping)
        slices.append(replace(one, rescale=rescale, units=units))
    for name, what in (("StackID", "stacks"), ("TemporalPositionIndex", "time points")):
        values = {s.header.text(name) if name == "StackID" else str(s.header.numbers(name)) for s in slices}
        if len(values) > 1:
            fix = "split the file, with dcm2niix for instance, and give one"
            raise InputError(path, f"frames of {len(values)} {what}", "one volume in a file", fix)
    first = slices[0]
    bits = header.numbers("BitsAllocated") or [16.0]
    claimed = count * first.shape[0] * first.shape[1] * bits[0] / 8
    require_bytes(path, claimed, path.stat().st_size, packed=first.is_packed)
    return slices


def _rescale(tags: FrameTags, mapping: list[Tags]) -> tuple[tuple[float, float], str]:
    """Slope, intercept; of PET those to activity or SUV, with their units."""
    if tags.text("Modality") == "PT":
        for item in mapping:
            if measured_units(item) in UNITS:
                slope, intercept = (item.numbers(f"RealWorldValue{name}") for name in ("Slope", "Intercept"))
                if slope and intercept:
                    return (slope[0], intercept[0]), measured_units(item)
    slope, intercept = tags.numbers("RescaleSlope"), tags.numbers("RescaleIntercept")
    return ((slope[0], intercept[0]) if slope and intercept else (1.0, 0.0)), ""
