"""Segmentations in Slicer's and DICOM's formats, read by other libraries: every voxel where it was."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from matplotlib.path import Path as Polygon

from samples import save_nifti
from scan_files import dicom_slice, save_slices
from segmented_series import (
    AFFINES,
    BALL,
    BASE,
    NESTED,
    SHAPE,
    TABLE,
    TURN,
    in_ball,
    in_place,
    make_series,
    make_tilted_series,
    stored_label,
)
from uniseg.errors import InputError
from uniseg.images.contours import find_contours
from uniseg.images.files import read_label, read_volume, write_label_map
from uniseg.images.segmentation_files import write_segments


@pytest.fixture(params=AFFINES)
def scan(request, tmp_path):
    """A series with its label map in the canonical order of the axes."""
    affine = AFFINES[request.param]
    folder = make_series(tmp_path / "ct", affine)
    reference = save_nifti(tmp_path / "label.nii.gz", stored_label(), affine)
    return folder, affine, read_label(reference, [folder])


def test_slicer_reads_names_colours_and_voxels(scan, tmp_path):
    folder, affine, label = scan
    path = tmp_path / "out.seg.nrrd"
    write_segments(label, folder, path, TABLE)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), stored_label())
    for index in ((0, 0, 0), (12, 16, 5)):
        expected = np.diag([-1, -1, 1, 1]) @ affine @ [*index, 1]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), expected[:3], atol=1e-4)
    assert image.GetMetaData("Segment0_Name") == "right_kidney"
    assert image.GetMetaData("Segment1_LabelValue") == "2"
    assert image.GetMetaData("Segment0_Extent") == "2 10 2 12 1 4"
    colour = [round(255 * float(part)) for part in image.GetMetaData("Segment1_Color").split()]
    assert tuple(colour) == TABLE.segments[1].colour
    assert "SCT^64033007^Kidney~SCT^24028007^Right" in image.GetMetaData("Segment0_Tags")
    np.testing.assert_array_equal(read_label(path, [folder]), label)


def test_classes_that_overlap_are_one_segment_a_combination_for_slicer(tmp_path):
    folder = make_series(tmp_path / "ct", BASE)
    label = np.zeros(SHAPE, np.uint8)
    label[2:4, 3:9, 3:9], label[3, 4:6, 4:6] = 1, 2
    write_segments(label, folder, tmp_path / "out.seg.nrrd", NESTED)
    image = SimpleITK.ReadImage(str(tmp_path / "out.seg.nrrd"))
    assert [image.GetMetaData(f"Segment{k}_Name") for k in range(2)] == ["whole", "whole+core"]


def masks_in_place(path):
    """Segment label -> voxel centres, by the file's own geometry, each frame alone."""
    data = pydicom.dcmread(path)
    pixels = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    shared = data.SharedFunctionalGroupsSequence[0]
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    axes = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    names = {s.SegmentNumber: s.SegmentLabel for s in data.SegmentSequence if s.SegmentNumber > 0}
    found = {name: set() for name in names.values()}
    for pixel, frame in zip(pixels, data.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 3] = axes[0] * spacing[1], axes[1] * spacing[0], position
        affine[:2] *= -1
        for number, name in names.items():
            if data.SegmentationType == "BINARY":
                identification = frame.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
                own = identification[0].ReferencedSegmentNumber == number
                mask = pixel == 1 if own else np.zeros_like(pixel)
            else:
                mask = pixel == number
            found[name] |= in_place(mask[None], affine)
    return data, found


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_a_dicom_segmentation_holds_every_voxel_in_its_place(scan, tmp_path, kind):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    folder, affine, label = scan
    path = tmp_path / "out.seg.dcm"
    write_segments(label, folder, path, TABLE, kind)
    data, found = masks_in_place(path)
    assert data.SegmentationType == kind.upper()
    assert found == {s.name: in_place(stored_label() == s.values[0], affine) for s in TABLE.segments}
    kidney, tumour = (s for s in data.SegmentSequence if s.SegmentNumber > 0)  # 0: the background of a labelmap
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    modifiers = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert modifiers[0].CodeMeaning == "Right"
    assert tumour.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert kidney.SegmentAlgorithmName == data.ManufacturerModelName == "uniseg"
    assert kidney.SegmentAlgorithmType == "AUTOMATIC"
    assert (data.DeviceSerialNumber, data.SoftwareVersions, data.PatientID) == ("abc123", "0.1", "7")
    sources = {pydicom.dcmread(each).SOPInstanceUID for each in folder.iterdir()}
    referred = {each.ReferencedSOPInstanceUID for each in data.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == sources
    assert data.FrameOfReferenceUID == "1.2.4"


def test_highdicom_reads_what_it_wrote(tmp_path):
    seg = pytest.importorskip("highdicom.seg", reason="the extra dicom is not installed")
    folder = make_series(tmp_path / "ct", TURN @ BASE)
    label = read_label(save_nifti(tmp_path / "label.nii.gz", stored_label(), TURN @ BASE), [folder])
    write_segments(label, folder, tmp_path / "out.seg.dcm", TABLE)
    ordered = sorted((pydicom.dcmread(each) for each in folder.iterdir()), key=lambda s: s.InstanceNumber)
    pixels = seg.segread(tmp_path / "out.seg.dcm").get_pixels_by_source_instance(
        [s.SOPInstanceUID for s in ordered], combine_segments=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(pixels, stored_label())


def test_overlapping_classes_are_bits_and_no_labelmap(tmp_path):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    folder = make_series(tmp_path / "ct", BASE)
    stored = stored_label()
    label = read_label(save_nifti(tmp_path / "label.nii.gz", stored, BASE), [folder])
    write_segments(label, folder, tmp_path / "out.seg.dcm", NESTED)
    _, found = masks_in_place(tmp_path / "out.seg.dcm")
    assert found == {"whole": in_place(stored > 0, BASE), "core": in_place(stored == 2, BASE)}
    with pytest.raises(InputError, match=r"classes of 'brain' that overlap; .*leave segmentation_type=labelmap out"):
        write_segments(label, folder, tmp_path / "out.seg.dcm", NESTED, "labelmap")


def test_an_empty_label_map_is_a_dicom_segmentation_too(tmp_path):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    folder = make_series(tmp_path / "ct", BASE)
    write_segments(np.zeros(SHAPE, np.uint8), folder, tmp_path / "out.seg.dcm", TABLE)
    _, found = masks_in_place(tmp_path / "out.seg.dcm")
    assert found == {"right_kidney": set(), "tumour": set()}


def filled(polygons, shape, rule):
    """A mask from polygons of (column, row): each filled alone, then combined by ``rule``."""
    rows, columns = np.indices(shape)
    centres = np.column_stack([columns.ravel(), rows.ravel()])
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        mask = rule(mask, Polygon(np.vstack([polygon, polygon[:1]])).contains_points(centres).reshape(shape))
    return mask


@pytest.mark.parametrize("rule", [np.logical_or, np.logical_xor])
def test_contours_give_the_mask_back_whoever_fills_them(rule):
    rng = np.random.default_rng(0)
    masks = [rng.random((12, 15)) < share for share in (0.2, 0.5, 0.8, 0.95)] + [np.ones((3, 4), bool)]
    rings = np.zeros((13, 13), bool)
    for k in range(0, 6, 2):
        rings[k : 13 - k, k : 13 - k] = True
        rings[k + 1 : 12 - k, k + 1 : 12 - k] = False
    for mask in (*masks, rings):
        np.testing.assert_array_equal(filled(find_contours(mask), mask.shape, rule), mask)
    assert find_contours(np.zeros((3, 3), bool)) == []
    assert [len(polygon) for polygon in find_contours(np.ones((30, 40), bool))] == [8], "straight lines have two ends"


def test_a_structure_set_holds_every_voxel_in_its_place(scan, tmp_path):
    folder, affine, label = scan
    path = tmp_path / "out.rtstruct.dcm"
    write_segments(label, folder, path, TABLE)
    data = pydicom.dcmread(path)
    names = {roi.ROINumber: roi.ROIName for roi in data.StructureSetROISequence}
    assert {roi.ReferencedFrameOfReferenceUID for roi in data.StructureSetROISequence} == {"1.2.4"}
    assert data.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == "1.2.4"
    sources = {s.SOPInstanceUID: s for s in map(pydicom.dcmread, folder.iterdir())}
    to_index = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ affine)
    for structure in data.ROIContourSequence:
        mask = np.zeros(SHAPE, bool)
        for contour in structure.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            points = np.reshape(contour.ContourData, (-1, 3)).astype(float) @ to_index[:3, :3].T + to_index[:3, 3]
            assert contour.NumberOfContourPoints == len(points)
            k = round(points[0, 2])
            np.testing.assert_allclose(points[:, 2], k, atol=1e-3, err_msg="on one slice")
            mask[k] |= filled([points[:, :2]], SHAPE[1:], np.logical_or)
            source = sources[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            place = (np.diag([-1, -1, 1, 1]) @ affine @ [0, 0, k, 1])[:3]
            np.testing.assert_allclose(np.array(source.ImagePositionPatient, float), place, atol=1e-3)
        value = {s.name: s.values[0] for s in TABLE.segments}[names[structure.ReferencedROINumber]]
        np.testing.assert_array_equal(mask, stored_label() == value)
        assert tuple(structure.ROIDisplayColor) == TABLE.segments[value - 1].colour


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_a_dicom_segmentation_is_read_again(scan, tmp_path, kind):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    folder, _, label = scan
    label[0] = label[2:4] = 0  # slices that the file leaves out
    write_segments(label, folder, tmp_path / "out.seg.dcm", TABLE, kind)
    np.testing.assert_array_equal(read_label(tmp_path / "out.seg.dcm", [folder]), label)


def test_a_dicom_segmentation_that_overlaps_is_no_label_map(tmp_path):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    folder = make_series(tmp_path / "ct", BASE)
    write_segments(np.full(SHAPE, 2, np.uint8), folder, tmp_path / "out.seg.dcm", NESTED)
    with pytest.raises(InputError, match=r"out\.seg\.dcm: .*do not overlap; give the label map as NIfTI"):
        read_label(tmp_path / "out.seg.dcm", [folder])


@pytest.mark.parametrize("ending", [".seg.dcm", ".rtstruct.dcm"])
def test_dicom_files_need_a_dicom_series_with_an_identity(tmp_path, ending):
    scan = save_nifti(tmp_path / "scan.nii.gz", np.zeros(SHAPE, np.int16), BASE)
    with pytest.raises(InputError, match=r"scan\.nii\.gz: found no DICOM series for .*format=nifti or nrrd"):
        write_segments(np.zeros(SHAPE, np.uint8), scan, tmp_path / f"out{ending}", TABLE)
    bare = save_slices(tmp_path / "bare", [dicom_slice(plane, BASE, k) for k, plane in enumerate(np.ones(SHAPE))])
    if ending == ".seg.dcm":
        pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    with pytest.raises(InputError, match=r"found no StudyInstanceUID"):
        write_segments(np.zeros(SHAPE, np.uint8), bare, tmp_path / f"out{ending}", TABLE)
    assert not list(Path(tmp_path).glob("*out*"))


def test_what_was_written_among_the_slices_is_no_slice(tmp_path):
    folder = make_series(tmp_path / "ct", BASE)
    before = read_volume([folder]).array
    label = read_label(save_nifti(tmp_path / "label.nii.gz", stored_label(), BASE), [folder])
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    for name, kind in (("a.seg.dcm", "binary"), ("b.seg.dcm", "labelmap"), ("a.rtstruct.dcm", "binary")):
        write_segments(label, folder, folder / name, TABLE, kind)
    np.testing.assert_array_equal(read_volume([folder]).array, before)


def test_contours_of_a_tilted_series_lie_on_its_slices(tmp_path):
    """A bright ball, found by a threshold on the right-angled grid, is where it was on the slanted slices."""
    folder, ball, slanted = make_tilted_series(tmp_path / "ct")
    label = (read_volume([folder]).array[0] > 500).astype(np.uint8)
    write_segments(label, folder, tmp_path / "out.rtstruct.dcm", BALL)
    to_index, mask = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ slanted), np.zeros(ball.shape, bool)
    for contour in pydicom.dcmread(tmp_path / "out.rtstruct.dcm").ROIContourSequence[0].ContourSequence:
        index = np.reshape(contour.ContourData, (-1, 3)).astype(float) @ to_index[:3, :3].T + to_index[:3, 3]
        mask[round(index[0, 2])] |= filled([index[:, :2]], ball.shape[1:], np.logical_or)
    assert dice(mask, ball) > 0.97
    assert dice(mask, np.roll(ball, 1, axis=1)) < 0.95


def test_frames_of_a_tilted_series_lie_on_its_right_angled_grid(tmp_path):
    """Where the label map was made; they say which slices they come from, and that they do not lie there."""
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    folder, _, _ = make_tilted_series(tmp_path / "ct")
    label = (read_volume([folder]).array[0] > 500).astype(np.uint8)
    write_segments(label, folder, tmp_path / "out.seg.dcm", BALL)
    data, found = masks_in_place(tmp_path / "out.seg.dcm")
    mask, affine = canonical(label, folder, tmp_path)
    assert found["ball"] == in_place(mask, affine)
    assert dice(mask, in_ball(mask.shape, affine)) > 0.97
    for frame in data.PerFrameFunctionalGroupsSequence:
        assert frame.DerivationImageSequence[0].SourceImageSequence[0].SpatialLocationsPreserved == "NO"


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def canonical(label, folder, tmp_path):
    """``[z,y,x]`` with the affine of (x, y, z), by way of a NIfTI."""
    write_label_map(label, folder, tmp_path / "same.nii.gz")
    image = nib.load(tmp_path / "same.nii.gz")
    return np.asarray(image.dataobj).transpose() > 0, image.affine
