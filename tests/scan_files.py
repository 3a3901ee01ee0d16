"""Small scans in every format that the library reads."""

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

LPS = np.diag([-1.0, -1, 1, 1])
SERIES_UID = "1.2.826.0.1.3680043.8.498.1"


def itk_image(array_zyx: np.ndarray, affine_xyz: np.ndarray, is_vector: bool = False) -> SimpleITK.Image:
    """``[Z,Y,X]``, or ``[Z,Y,X,M]`` with ``is_vector``, whose index (x, y, z) the affine takes to RAS mm."""
    image = SimpleITK.GetImageFromArray(array_zyx, isVector=is_vector)
    lps = LPS @ affine_xyz
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def save_itk(
    path: Path, array_zyx: np.ndarray, affine_xyz: np.ndarray, is_vector: bool = False, is_packed: bool = False
) -> Path:
    """Write NRRD or MetaImage, as the path's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(itk_image(array_zyx, affine_xyz, is_vector), str(path), useCompression=is_packed)
    return path


def save_segmentation(
    path: Path, array_zyx: np.ndarray, affine_xyz: np.ndarray, values: tuple[int, ...], is_vector: bool = False
) -> Path:
    """Write a ``.seg.nrrd`` with one segment per value, as 3D Slicer does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = itk_image(array_zyx, affine_xyz, is_vector)
    for number, value in enumerate(values):
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_Layer", "0")
        image.SetMetaData(f"Segment{number}_Name", f"part {number}")
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    return path


def dicom_slice(
    pixels: np.ndarray, affine_xyz: np.ndarray, index: int, slope: float = 1, intercept: float = 0, modality: str = "CT"
) -> pydicom.Dataset:
    """Slice ``index`` of a scan, ``[rows,columns]`` uint16; the affine takes (column, row, slice) to RAS mm."""
    lps = LPS @ affine_xyz
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / spacing
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = PositronEmissionTomographyImageStorage if modality == "PT" else CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(index)])
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    dataset.Modality, dataset.SeriesInstanceUID = modality, SERIES_UID
    dataset.ImagePositionPatient = [f"{v:.8g}" for v in (lps @ [0, 0, index, 1])[:3]]
    dataset.ImageOrientationPatient = [f"{v:.8g}" for v in axes[:, :2].T.ravel()]
    dataset.PixelSpacing, dataset.SliceThickness = [f"{spacing[1]:.8g}", f"{spacing[0]:.8g}"], f"{spacing[2]:.8g}"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    dataset.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())
    return dataset


def identified(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """With patient, study, frame of reference, to which other DICOM files refer."""
    for number, s in enumerate(slices, 1):
        s.StudyInstanceUID, s.FrameOfReferenceUID = "1.2.3", "1.2.4"
        s.PatientName, s.PatientID, s.PatientBirthDate, s.PatientSex = "Doe^Jane", "7", "19700101", "F"
        s.StudyDate, s.StudyTime, s.StudyID, s.AccessionNumber = "20200101", "120000", "9", "8"
        s.ReferringPhysicianName, s.SeriesNumber, s.InstanceNumber = "", 3, number
    return slices


def save_slices(folder: Path, slices: list[pydicom.Dataset]) -> Path:
    """One file each; names run against the order in space, as nothing may hang on them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(slices):
        dataset.save_as(folder / f"slice_{len(slices) - number:03d}.dcm", enforce_file_format=True)
    return folder


def save_series(folder: Path, array_zyx: np.ndarray, affine_xyz: np.ndarray, **values) -> Path:
    """``[Z,Y,X]`` of whole numbers as a CT series; ``values`` as for ``dicom_slice``."""
    return save_slices(
        folder, [dicom_slice(plane, affine_xyz, index, **values) for index, plane in enumerate(array_zyx)]
    )
