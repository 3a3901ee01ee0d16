"""Label maps as an RT structure set: closed contours on the slices of the series."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniseg.images.contours import find_contours
from uniseg.images.dicom import Series
from uniseg.images.dicom_slices import Slice
from uniseg.images.dicom_source import MAY_BE_EMPTY, save_dataset, source_datasets
from uniseg.images.segments import LONGEST_NAME, Segment, SegmentTable

if TYPE_CHECKING:
    from pydicom import Dataset

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # retired, and what readers expect of a referenced study
SERIES_NUMBER = 301
SHORT = 16


def write_rtstruct(planes: np.ndarray, series: Series, table: SegmentTable, path: Path) -> None:
    """Write ``[slice,row,column]`` in the order of the series; one structure per segment, those without voxels too.

    Raises:
        InputError: a series that cannot be referred to.
    """
    sources = source_datasets(series)
    by_path = dict(zip(dict.fromkeys(s.path for s in series.slices), sources, strict=True))
    dataset = _header(sources[0], table)
    frame_of_reference = sources[0].FrameOfReferenceUID
    dataset.ReferencedFrameOfReferenceSequence = [_references(sources)]
    dataset.StructureSetROISequence = [
        _item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=frame_of_reference,
            ROIName=segment.name[:LONGEST_NAME],
            ROIGenerationAlgorithm="AUTOMATIC",
        )
        for number, segment in enumerate(table.segments, 1)
    ]
    dataset.ROIContourSequence = [
        _structure(np.isin(planes, segment.values), series, by_path, segment, number)
        for number, segment in enumerate(table.segments, 1)
    ]
    dataset.RTROIObservationsSequence = [
        _item(
            ObservationNumber=number,
            ReferencedROINumber=number,
            RTROIInterpretedType="",
            ROIInterpreter="",
            RTROIIdentificationCodeSequence=[_code(segment.codes.type)],
        )
        for number, segment in enumerate(table.segments, 1)
    ]
    save_dataset(dataset, path)


def _header(source: "Dataset", table: SegmentTable) -> "Dataset":
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

    dataset, now = Dataset(), datetime.now()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if "SpecificCharacterSet" in source:
        dataset.SpecificCharacterSet = source.SpecificCharacterSet
    for name in (*MAY_BE_EMPTY, "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, name, source.get(name))
    dataset.PositionReferenceIndicator = source.get("PositionReferenceIndicator", "")
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = "RTSTRUCT", generate_uid(), SERIES_NUMBER
    dataset.InstanceNumber = 1
    dataset.SeriesDescription = f"uniseg {table.title}"[:LONGEST_NAME]
    dataset.Manufacturer = dataset.ManufacturerModelName = "uniseg"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = table.version, table.checkpoint_hash or "none"
    dataset.OperatorsName, dataset.ApprovalStatus = "", "UNAPPROVED"
    dataset.StructureSetLabel, dataset.StructureSetName = table.title[:SHORT], table.title[:LONGEST_NAME]
    checkpoint = table.checkpoint_hash or "unknown"
    dataset.StructureSetDescription = f"task {table.title}, by uniseg {table.version}, checkpoint {checkpoint}"
    dataset.StructureSetDate = dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = now.strftime("%H%M%S")
    return dataset


def _references(sources: Sequence["Dataset"]) -> "Dataset":
    images = [_reference(source) for source in sources]
    of_series = _item(SeriesInstanceUID=sources[0].SeriesInstanceUID, ContourImageSequence=images)
    of_study = _item(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=sources[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[of_series],
    )
    return _item(FrameOfReferenceUID=sources[0].FrameOfReferenceUID, RTReferencedStudySequence=[of_study])


def _structure(
    masks: np.ndarray, series: Series, by_path: dict[Path, "Dataset"], segment: Segment, number: int
) -> "Dataset":
    structure = _item(ReferencedROINumber=number, ROIDisplayColor=list(segment.colour))
    contours: list[Dataset] = []
    for mask, s in zip(masks, series.slices, strict=True):
        for polygon in find_contours(mask):
            points = _in_space(polygon, s)
            contour = _item(
                ContourNumber=len(contours) + 1,
                ContourImageSequence=[_reference(by_path[s.path], s.frame)],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=[f"{value:.4f}" for value in points.ravel()],
            )
            contours.append(contour)
    if contours:
        structure.ContourSequence = contours
    return structure


def _in_space(polygon: np.ndarray, s: Slice) -> np.ndarray:
    """(column, row) -> LPS mm ``[n,3]``."""
    return s.position + polygon * [s.spacing_mm[1], s.spacing_mm[0]] @ s.axes


def _reference(source: "Dataset", frame: int | None = None) -> "Dataset":
    item = _item(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
    if frame is not None:
        item.ReferencedFrameNumber = frame + 1
    return item


def _code(text: str) -> "Dataset":
    number, _, meaning = text.partition(" ")
    return _item(CodeValue=number, CodingSchemeDesignator="SCT", CodeMeaning=meaning)


def _item(**values: object) -> "Dataset":
    from pydicom import Dataset

    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item
