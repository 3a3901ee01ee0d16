"""Several DICOM series in one folder: which of them is the scan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uniseg.errors import InputError
from uniseg.images.dicom_file import Tags

MOST_LISTED = 12
FEW = 3  # slices, at most, of scouts that do not say so
SHAPE = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")
CHOOSE = "choose one by series=<its number or UID> of uniseg predict, or put each series into its own folder"


@dataclass(frozen=True)
class ListedSeries:
    """The files of one series.

    Attributes:
        number: SeriesNumber where all series have one of their own, else the position in the list.

    Examples:
        >>> from pydicom import Dataset
        >>> str(ListedSeries("3", "1.2.3", {Path("1.dcm"): Tags(Path("1.dcm"), Dataset())}))
        "3 '' (1 slice, 1.2.3)"
    """

    number: str
    uid: str
    headers: Mapping[Path, Tags]

    def __str__(self) -> str:
        first = next(iter(self.headers.values()))
        facts = [text for text in (first.text("Modality"), self.uid) if text]
        description = first.text("SeriesDescription")
        plural = "slice" if self.num_slices == 1 else "slices"
        return f"{self.number} '{description:.40}' ({', '.join([f'{self.num_slices} {plural}', *facts])})"

    @property
    def num_slices(self) -> int:
        return sum(int((header.numbers("NumberOfFrames") or [1])[0]) for header in self.headers.values())


def list_series(headers: Mapping[Path, Tags]) -> list[ListedSeries]:
    """By number."""
    files: dict[str, dict[Path, Tags]] = {}
    for path, header in headers.items():
        files.setdefault(header.text("SeriesInstanceUID"), {})[path] = header
    own = {uid: next(iter(each.values())).text("SeriesNumber") for uid, each in files.items()}
    are_numbers = all(number.isdigit() for number in own.values()) and len(set(own.values())) == len(own)
    ordered = sorted(files, key=lambda uid: (int(own[uid]) if are_numbers else 0, uid))
    return [ListedSeries(own[uid] if are_numbers else str(n), uid, files[uid]) for n, uid in enumerate(ordered, 1)]


def pick_series(listed: Sequence[ListedSeries], wanted: str, folder: Path) -> ListedSeries:
    """The one of that number or UID.

    Raises:
        InputError: there is none.
    """
    for each in listed:
        if wanted in (each.number, each.uid):
            return each
    raise InputError(folder, f"no series {wanted}", f"one of {describe(listed)}", "correct series=")


def only_volume(listed: Sequence[ListedSeries], folder: Path) -> ListedSeries:
    """The one series, or the one beside which only localisers lie.

    Raises:
        InputError: several.
    """
    largest = max(listed, key=lambda each: each.num_slices)
    if all(each is largest or _is_localiser(each, largest) for each in listed):
        return largest
    raise InputError(folder, f"{len(listed)} series: {describe(listed)}", "one series", CHOOSE)


def describe(listed: Sequence[ListedSeries]) -> str:
    more = f"; and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    return "; ".join(map(str, listed[:MOST_LISTED])) + more


def _is_localiser(series: ListedSeries, volume: ListedSeries) -> bool:
    """By its own word; or a few slices none of which could be one of the volume's, which may be a stray otherwise."""
    headers = series.headers.values()
    if all("LOCALIZER" in header.text("ImageType").upper() for header in headers):
        return True
    usual = [next(iter(volume.headers.values())).numbers(name) for name in SHAPE]
    is_few = series.num_slices <= FEW < volume.num_slices
    return is_few and all([header.numbers(name) for name in SHAPE] != usual for header in headers)
