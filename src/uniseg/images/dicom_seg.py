"""Label maps as DICOM segmentations and back, through highdicom."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uniseg.errors import InputError
from uniseg.images.dicom import LABEL_MAP_STORAGE, Series
from uniseg.images.dicom_file import is_dicom, read_tags
from uniseg.images.dicom_source import save_dataset, source_datasets
from uniseg.images.image_file import ImageFile, needing, refusing
from uniseg.images.segments import LONGEST_NAME, Segment, SegmentTable

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

BINARY, LABELMAP = "binary", "labelmap"
SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
SERIES_NUMBER = 300


def is_dicom_seg(path: Path) -> bool:
    """Whether a file is a DICOM segmentation, of bits or of numbers."""
    if not (path.is_file() and is_dicom(path)):
        return False
    kind = read_tags(path, ["SOPClassUID"], is_bare=True).text("SOPClassUID")
    return kind in (SEGMENTATION_STORAGE, LABEL_MAP_STORAGE)


def open_dicom_seg(path: Path) -> ImageFile:
    """The numbers of the segments, which are the label values of what is written here, on the slices that hold any.

    Raises:
        InputError: no highdicom; segments that overlap, or lie on no regular grid.
    """
    with needing("highdicom", path):
        from highdicom.seg import segread
    expected, fix = "segments on one grid that do not overlap", "give the label map as NIfTI or .seg.nrrd"
    with refusing(path, expected, fix):
        volume = segread(path).get_volume(combine_segments=True)
    affine = np.diag([-1.0, -1, 1, 1]) @ volume.affine  # LPS to RAS
    return ImageFile(path, volume.array.shape, affine, lambda: volume.array, is_extract=True)


def write_dicom_seg(planes: np.ndarray, series: Series, table: SegmentTable, path: Path, kind: str = BINARY) -> None:
    """Write ``[slice,row,column]`` of the series' grid; slices without a segment are left out.

    Frames are the slices of the series, but those of a right-angled grid where a gantry was tilted: readers stack them
    along their normal.

    Args:
        kind: ``binary``: bits, segment by segment; ``labelmap``: one number a voxel.

    Raises:
        InputError: a series that cannot be referred to; a label map of classes that overlap.
    """
    from highdicom.seg import Segmentation
    from pydicom.uid import generate_uid

    sources = source_datasets(series)
    own_planes = {} if series.tilt is None else _plane_arguments(series)
    pixels = _segment_numbers(planes if own_planes else series.in_file_order(planes), table, path, kind)
    algorithm = _algorithm(table)
    with refusing(series.folder, "a series that a segmentation can refer to", "take the archive's own series"):
        segmentation = Segmentation(
            source_images=sources,
            pixel_array=pixels,
            segmentation_type=kind.upper(),
            segment_descriptions=[_describe(s, number, algorithm) for number, s in enumerate(table.segments, 1)],
            series_instance_uid=generate_uid(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="uniseg",
            manufacturer_model_name="uniseg",
            software_versions=table.version,
            device_serial_number=table.checkpoint_hash or "none",
            content_label="UNISEG",
            content_description=f"{table.title}, by uniseg {table.version}"[:LONGEST_NAME],
            content_creator_name="uniseg^",
            series_description=f"uniseg {table.title}"[:LONGEST_NAME],
            **own_planes,
        )
    save_dataset(segmentation, path)


def _plane_arguments(series: Series) -> dict[str, Any]:
    """Where the planes of the grid lie, which are no slices of the series."""
    from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence

    lps = np.diag([-1, -1, 1, 1]) @ series.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    origins = [lps[:3] @ (0, 0, number, 1) for number in range(series.shape[2])]
    return {
        "plane_positions": [PlanePositionSequence("PATIENT", origin) for origin in origins],
        "plane_orientation": PlaneOrientationSequence("PATIENT", (lps[:3, :2] / spacing[:2]).T.ravel()),
        "pixel_measures": PixelMeasuresSequence((spacing[1], spacing[0]), spacing[2], spacing[2]),
    }


def _segment_numbers(planes: np.ndarray, table: SegmentTable, path: Path, kind: str) -> np.ndarray:
    """``[slice,row,column]``; of segments that overlap, or hold several values, masks in a last axis."""
    segments = table.segments
    if table.is_exclusive:
        numbers = np.zeros(1 + max(int(planes.max(initial=0)), *(s.values[0] for s in segments)), np.uint16)
        numbers[[s.values[0] for s in segments]] = np.arange(1, 1 + len(segments))
        return numbers[planes].astype(np.uint8 if len(segments) < 256 else np.uint16)
    if kind == LABELMAP:
        found = f"classes of '{table.title}' that overlap"
        raise InputError(path, found, "one class for each voxel", "leave segmentation_type=labelmap out")
    return np.stack([np.isin(planes, s.values) for s in segments], axis=-1).astype(np.uint8)


def _algorithm(table: SegmentTable) -> "AlgorithmIdentificationSequence":
    from highdicom import AlgorithmIdentificationSequence
    from pydicom.sr.codedict import codes

    facts = {"task": table.title, "checkpoint": table.checkpoint_hash or "unknown"}
    family = codes.DCM.ArtificialIntelligence
    return AlgorithmIdentificationSequence("uniseg", family, table.version, parameters=facts)


def _describe(segment: Segment, number: int, algorithm: "AlgorithmIdentificationSequence") -> "SegmentDescription":
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    codes = segment.codes
    region = _coded(codes.region) if codes.region else None
    description = SegmentDescription(
        number,
        segment.name[:LONGEST_NAME],
        _coded(codes.category),
        _coded(codes.type),
        "AUTOMATIC",
        algorithm,
        anatomic_regions=[region] if region else None,
        display_color=CIELabColor.from_rgb(*segment.colour),
    )
    if codes.modifier:
        holder = description.AnatomicRegionSequence[0] if region else description.SegmentedPropertyTypeCodeSequence[0]
        name = "AnatomicRegionModifierSequence" if region else "SegmentedPropertyTypeModifierCodeSequence"
        setattr(holder, name, [_coded(codes.modifier)])
    return description


def _coded(text: str) -> "CodedConcept":
    from highdicom.sr import CodedConcept

    number, _, meaning = text.partition(" ")
    return CodedConcept(number, "SCT", meaning)
