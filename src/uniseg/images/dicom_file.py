"""One DICOM file through pydicom: whether it is one, the few tags that matter, its pixels.

Tags are decoded here from their bytes. pydicom's own decoding warns of harmless values, and can be kept from it only
for the whole process, other threads included.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniseg.errors import InputError
from uniseg.images.image_file import RESTORE, needing, refusing

if TYPE_CHECKING:
    import pydicom

A_SLICE, MOVE = "a DICOM file, as the others in the folder", "restore it, or move it away"
MARK_AT, MARK = 128, b"DICM"
BARE = re.compile(rb"[\x02\x08]\0.\0([A-Z]{2}|..\0\0)", re.DOTALL)  # a first tag of group 2 or 8, explicit or implicit
# Endings of what may lie beside slices; nothing that a slice, packed or not, is ever called.
TABLES, SETTINGS = (".csv", ".tsv", ".xls", ".xlsx"), (".cfg", ".inf", ".ini", ".json", ".toml", ".yaml", ".yml")
TEXTS = (".doc", ".docx", ".htm", ".html", ".log", ".md", ".pdf", ".rtf", ".txt", ".xml")
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
OTHER_SCANS = (".mha", ".mhd", ".nhdr", ".nii", ".nii.gz", ".nrrd")
PROGRAMS = (".bat", ".db", ".exe", ".js", ".lnk", ".py", ".sh", ".url")
FOREIGN = TABLES + SETTINGS + TEXTS + PICTURES + OTHER_SCANS + PROGRAMS
RESCALING = ("RescaleSlope", "RescaleIntercept")
BINARY = {"US": ("H", 2), "UL": ("I", 4), "FD": ("d", 8)}


@dataclass(frozen=True)
class Tags:
    """What a DICOM file, or an item of a sequence in it, says by name.

    Attributes:
        path: for messages.
        dataset: as pydicom read it, not decoded.

    Examples:
        >>> import pydicom
        >>> dataset = pydicom.Dataset()
        >>> dataset.Modality = "CT"
        >>> Tags(Path("1.dcm"), dataset).text("Modality")
        'CT'
    """

    path: Path
    dataset: "pydicom.Dataset"

    def __contains__(self, name: str) -> bool:
        return name in self.dataset

    def text(self, name: str) -> str:
        """Empty where it is absent."""
        from pydicom.datadict import tag_for_keyword

        element = self.dataset.get_item(tag_for_keyword(name))
        if element is None or element.value is None:
            return ""
        return element.value.decode("latin-1").strip(" \0") if isinstance(element.value, bytes) else str(element.value)

    def numbers(self, name: str) -> list[float]:
        """Empty where it is absent.

        Raises:
            InputError: something else than numbers.
        """
        from pydicom.datadict import dictionary_VR, tag_for_keyword
        from pydicom.dataelem import RawDataElement

        with refusing(self.path, f"numbers for {name}", RESTORE):
            element = self.dataset.get_item(tag_for_keyword(name))
            form = BINARY.get(dictionary_VR(name))
            if form is None or element is None or not isinstance(element, RawDataElement) or not element.value:
                return [float(word) for word in re.split(r"[\\,]", self.text(name).strip("[]")) if word.strip()]
            letter, size = form
            order = "<" if element.is_little_endian else ">"
            return [float(n) for n in struct.unpack(f"{order}{len(element.value) // size}{letter}", element.value)]

    def items(self, name: str) -> list["Tags"]:
        """Of a sequence."""
        with refusing(self.path, f"a sequence for {name}", RESTORE):
            return [Tags(self.path, item) for item in self.dataset.get(name) or ()]


def is_dicom(path: Path) -> bool:
    """Whether the content is DICOM: the mark after the preamble or, without a preamble, tags with a SOP class.

    Raises:
        InputError: the file cannot be opened.
    """
    with refusing(path, "a file that can be read"), path.open("rb") as file:
        head = file.read(MARK_AT + len(MARK))
    if head[MARK_AT:] == MARK:
        return True
    if not BARE.match(head):
        return False
    try:
        return bool(read_tags(path, ["SOPClassUID"], is_bare=True).text("SOPClassUID"))
    except InputError:
        return False


def is_foreign(path: Path) -> bool:
    """Whether the name is that of another kind of file."""
    return path.name.lower().endswith(FOREIGN)


def read_tags(path: Path, names: list[str], is_bare: bool) -> Tags:
    """Some tags of a file, ``is_bare`` if it may lack the preamble.

    Raises:
        InputError: no DICOM, or a damaged file.
    """
    with needing("pydicom", path):
        import pydicom
    with refusing(path, A_SLICE, MOVE):
        return Tags(path, pydicom.dcmread(path, force=is_bare, specific_tags=names, stop_before_pixels=True))


def read_pixels(path: Path) -> np.ndarray:
    """``[rows,columns]``, of several frames with their number before, in the units of the file's own rescaling.

    Raises:
        InputError: no pixels, or such as pydicom cannot decode; intensities that are not finite.
    """
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with refusing(path, A_SLICE, MOVE):
        dataset = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            is_implicit, is_little = dataset.original_encoding
            plain = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else plain
    tags = Tags(path, dataset)
    slope, intercept = (tags.numbers(name) for name in RESCALING)
    with refusing(path, "voxels that pydicom can decode", "restore the file, or install python-gdcm for lossless JPEG"):
        values = dataset.pixel_array
        if "ModalityLUTSequence" in tags:
            values = apply_modality_lut(values, dataset)
        elif slope and intercept:
            values = values.astype(np.float64) * slope[0] + intercept[0]
    if slope[:1] == [0.0] or not np.isfinite(values).all():
        found = ", ".join(f"{name} {tags.text(name)}" for name in RESCALING)
        raise InputError(path, found, "finite intensities", RESTORE)
    return values
