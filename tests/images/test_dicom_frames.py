"""Enhanced multi-frame CT, MR, PET: the same volume as their slices, labels back on their frames."""

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage, EnhancedPETImageStorage
from scipy.spatial.transform import Rotation

from samples import save_nifti
from scan_files import LPS, dicom_slice, identified
from uniseg.errors import InputError
from uniseg.images.files import read_label, read_volume
from uniseg.images.segmentation_files import write_segments
from uniseg.images.segments import SegmentTable, make_segments

TURN = np.eye(4)
TURN[:3, :3] = Rotation.from_rotvec([20, -15, 35], degrees=True).as_matrix()
AFFINE = TURN @ np.array([[-1.5, 0, 0, 40], [0, -2.0, 0, 30], [0, 0, 3.0, -20], [0, 0, 0, 1]])
ARRAY = np.random.default_rng(0).integers(0, 3000, (5, 6, 7))
ORDER = (3, 0, 4, 2, 1)  # of the slices in the file
CLASSES = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage, "PT": EnhancedPETImageStorage}


def item(**values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def make_file(path, modality="CT", units=None, edit=None):
    """Frames out of order; the slice of number k is rescaled by 0.5 (k + 1) and -10 k."""
    whole = identified([dicom_slice(ARRAY[0], AFFINE, 0, modality=modality)])[0]
    spacing, orientation = whole.PixelSpacing, whole.ImageOrientationPatient
    for name in ("PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept"):
        delattr(whole, name)
    del whole.ImageOrientationPatient, whole.ImagePositionPatient
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = CLASSES[modality]
    measures = item(PixelSpacing=spacing, SliceThickness="3")
    shared = item(PixelMeasuresSequence=[measures])
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=orientation)]
    frames = []
    for k in ORDER:
        frame = item(
            PlanePositionSequence=[item(ImagePositionPatient=[f"{v:.8g}" for v in (LPS @ AFFINE @ [0, 0, k, 1])[:3]])]
        )
        content = item(
            StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1], TemporalPositionIndex=1
        )
        frame.FrameContentSequence = [content]
        slope, intercept = 0.5 * (k + 1), -10.0 * k
        if units is None:
            frame.PixelValueTransformationSequence = [
                item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")
            ]
        else:
            code = item(CodeValue=units, CodingSchemeDesignator="UCUM", CodeMeaning=units)
            mapping = item(RealWorldValueSlope=slope, RealWorldValueIntercept=intercept)
            mapping.MeasurementUnitsCodeSequence = [code]
            frame.RealWorldValueMappingSequence = [mapping]
        frames.append(frame)
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = [shared], frames
    whole.NumberOfFrames, whole.PixelData = len(ORDER), ARRAY[list(ORDER)].astype("<u2").tobytes()
    if edit is not None:
        edit(whole)
    path.parent.mkdir(exist_ok=True)
    whole.save_as(path, enforce_file_format=True)
    return path


def rescaled(factor=1.0):
    return np.array([plane * 0.5 * (k + 1) - 10 * k for k, plane in enumerate(ARRAY)]) * factor


def in_canonical(tmp_path, stored, folder):
    """Slices of the file's affine, whatever way it lies."""
    return read_volume([save_nifti(tmp_path / "same.nii.gz", stored.astype(np.float32), AFFINE)]).array[0]


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_frames_in_any_order_are_slices_with_their_own_rescaling(tmp_path, modality):
    path = make_file(tmp_path / "scan" / "a.dcm", modality)
    for given in (path, path.parent):
        volume = read_volume([given])
        np.testing.assert_allclose(volume.array[0], in_canonical(tmp_path, rescaled(), path), rtol=1e-5)
        assert volume.stated == (modality,)
    like = read_volume([tmp_path / "same.nii.gz"])
    np.testing.assert_allclose(volume.affine, like.affine, atol=1e-4)


def injected(whole):
    drug = item(
        RadionuclideTotalDose=2e8, RadionuclideHalfLife=3600.0, RadiopharmaceuticalStartDateTime="20200101110000"
    )
    whole.RadiopharmaceuticalInformationSequence = [drug]
    whole.PatientWeight, whole.DecayCorrected, whole.DecayCorrectionDateTime = 80, "YES", "20200101120000"


@pytest.mark.parametrize(("units", "factor"), [("g/ml{SUVbw}", 1.0), ("Bq/ml", 80_000 / 1e8)])
def test_pet_frames_become_suv(tmp_path, units, factor):
    """One half-life after the injection, half of the dose is left."""
    path = make_file(tmp_path / "scan" / "a.dcm", "PT", units, injected)
    expected = in_canonical(tmp_path, rescaled(factor), path)
    np.testing.assert_allclose(read_volume([path]).array[0], expected, rtol=1e-5, atol=1e-6)


def second_stack(whole):
    whole.PerFrameFunctionalGroupsSequence[2].FrameContentSequence[0].StackID = "2"


def second_time(whole):
    whole.PerFrameFunctionalGroupsSequence[2].FrameContentSequence[0].TemporalPositionIndex = 2


def doubled(whole):
    first, second = whole.PerFrameFunctionalGroupsSequence[:2]
    second.PlanePositionSequence = first.PlanePositionSequence


def nowhere(whole):
    del whole.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence


def lacking(whole):
    del whole.PerFrameFunctionalGroupsSequence[4]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (second_stack, r"a\.dcm: found frames of 2 stacks; expected one volume in a file"),
        (second_time, r"a\.dcm: found frames of 2 time points"),
        (doubled, r"a\.dcm, frame \d: found the position of frame \d; expected one slice in each place"),
        (nowhere, r"a\.dcm: found no ImagePositionPatient"),
        (lacking, r"a\.dcm: found 4 groups for 5 frames"),
    ],
)
def test_what_is_no_single_volume_is_refused(tmp_path, edit, message):
    path = make_file(tmp_path / "scan" / "a.dcm", edit=edit)
    with pytest.raises(InputError, match=message):
        read_volume([path])


def test_pet_without_units_is_refused(tmp_path):
    path = make_file(tmp_path / "scan" / "a.dcm", "PT", edit=injected)
    with pytest.raises(InputError, match=r"PET in units none; expected g/ml\{SUVbw\} or Bq/ml"):
        read_volume([path])


@pytest.mark.parametrize("ending", [".seg.dcm", ".rtstruct.dcm"])
def test_labels_refer_to_the_frames_that_they_lie_on(tmp_path, ending):
    path, stored = make_file(tmp_path / "scan" / "a.dcm"), np.zeros(ARRAY.shape, np.uint8)
    stored[1, 2:5, 3:6], stored[3, 1, 1] = 1, 1
    label = read_label(save_nifti(tmp_path / "label.nii.gz", stored, AFFINE), [path])
    table, output = SegmentTable("t", make_segments(("part",), ((1,),))), tmp_path / f"out{ending}"
    if ending == ".seg.dcm":
        pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    write_segments(label, path, output, table)
    data = pydicom.dcmread(output)
    if ending == ".seg.dcm":
        found = {}
        for plane, frame in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
            position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
            source = frame.DerivationImageSequence[0].SourceImageSequence[0]
            found[int(source.ReferencedFrameNumber)] = (position, plane)
        assert set(found) == {ORDER.index(1) + 1, ORDER.index(3) + 1}
        for k in (1, 3):
            position, plane = found[ORDER.index(k) + 1]
            np.testing.assert_allclose(position, (LPS @ AFFINE @ [0, 0, k, 1])[:3], atol=1e-3)
            np.testing.assert_array_equal(plane, stored[k])
    else:
        contours = data.ROIContourSequence[0].ContourSequence
        assert [c.ContourImageSequence[0].ReferencedFrameNumber for c in contours] == [
            ORDER.index(k) + 1 for k in sorted((1, 3))
        ]
