"""What others read of our files: dcmqi, by which 3D Slicer reads DICOM segmentations, and Slicer's own reader."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from samples import save_nifti
from scan_files import LPS
from segmented_series import (
    AFFINES,
    BALL,
    BASE,
    NESTED,
    SHAPE,
    TABLE,
    in_ball,
    in_place,
    make_series,
    make_tilted_series,
    stored_label,
)
from uniseg.images.files import read_label, read_volume
from uniseg.images.segmentation_files import write_segments
from uniseg.images.segments import SegmentTable, make_segments
from uniseg.terminology import ClassCodes

needs_dcmqi = pytest.mark.skipif(
    find_spec("dcmqi") is None or find_spec("highdicom") is None,
    reason="dcmqi, which has wheels for Linux on x86-64 alone, or highdicom is not installed",
)
IN_SERIES = {"one slice": [2], "with a gap": [0, 4], "every slice": range(6)}


def read_by_dcmqi(path):
    """Segment label -> voxel centres in RAS mm, and what else its JSON says of the segment."""
    folder = path.with_suffix(".read")
    folder.mkdir()
    program = Path(sys.executable).with_name("segimage2itkimage")
    words = [program, "--inputDICOM", path, "--outputDirectory", folder, "--mergeSegments", "-t", "nrrd"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    places, facts = {}, {}
    for number, group in enumerate(json.loads((folder / "meta.json").read_text())["segmentAttributes"], 1):
        image = SimpleITK.ReadImage(str(folder / f"{number}.nrrd"))
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        values = SimpleITK.GetArrayFromImage(image)
        for segment in group:
            name = segment["SegmentLabel"]
            places[name], facts[name] = in_place(values == segment["labelID"], LPS @ affine), segment
    return places, facts


def written(folder, affine, stored, path, table=TABLE, kind="binary"):
    """``stored`` of a series as a file; label maps are in the canonical order of the axes."""
    reference = save_nifti(folder.with_name("label.nii.gz"), stored, affine)
    write_segments(read_label(reference, [folder]), folder, path, table, kind)
    return path


@needs_dcmqi
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("way", AFFINES)
def test_dcmqi_finds_every_voxel_in_its_place(tmp_path, way, kind):
    affine, stored = AFFINES[way], stored_label()
    path = written(make_series(tmp_path / "ct", affine), affine, stored, tmp_path / "out.seg.dcm", kind=kind)
    places, facts = read_by_dcmqi(path)
    assert places == {s.name: in_place(stored == s.values[0], affine) for s in TABLE.segments}
    kidney = facts["right_kidney"]
    assert kidney["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == "64033007"
    assert kidney["SegmentedPropertyTypeModifierCodeSequence"]["CodeMeaning"] == "Right"
    np.testing.assert_allclose(kidney["recommendedDisplayRGBValue"], TABLE.segments[0].colour, atol=2)


@needs_dcmqi
@pytest.mark.parametrize("which", IN_SERIES)
def test_dcmqi_places_slices_between_which_nothing_is(tmp_path, which):
    stored = np.zeros(SHAPE, np.uint8)
    stored[list(IN_SERIES[which]), 3:6, 4:9] = 2
    path = written(make_series(tmp_path / "ct", BASE), BASE, stored, tmp_path / "out.seg.dcm")
    places, _ = read_by_dcmqi(path)
    assert places["tumour"] == in_place(stored == 2, BASE)


@needs_dcmqi
def test_dcmqi_tells_classes_that_overlap_apart(tmp_path):
    stored = stored_label()
    path = written(make_series(tmp_path / "ct", BASE), BASE, stored, tmp_path / "out.seg.dcm", NESTED)
    places, _ = read_by_dcmqi(path)
    assert places == {"whole": in_place(stored > 0, BASE), "core": in_place(stored == 2, BASE)}


@needs_dcmqi
def test_dcmqi_puts_a_tilted_series_where_it_was(tmp_path):
    """It stacks frames along their normal, whatever they say: slices that drift would come out as a sheared ball."""
    folder, _, _ = make_tilted_series(tmp_path / "ct")
    write_segments((read_volume([folder]).array[0] > 500).astype(np.uint8), folder, tmp_path / "out.seg.dcm", BALL)
    places, _ = read_by_dcmqi(tmp_path / "out.seg.dcm")
    expected = in_place(in_ball((9, 40, 24), BASE), BASE)
    assert 2 * len(places["ball"] & expected) / (len(places["ball"]) + len(expected)) > 0.97


def test_slicers_own_reader_takes_a_segmentation(tmp_path):
    slicerio = pytest.importorskip("slicerio", reason="slicerio is not installed")
    affine, stored = AFFINES["oblique"], stored_label()
    path = written(make_series(tmp_path / "ct", affine), affine, stored, tmp_path / "out.seg.nrrd")
    read = slicerio.read_segmentation(str(path))
    assert read["containedRepresentationNames"] == [read["masterRepresentation"]] == ["Binary labelmap"]
    ras = LPS @ read["ijkToLPS"]
    for segment, ours in zip(read["segments"], TABLE.segments, strict=True):
        mask = read["voxels"] == segment["labelValue"]
        assert in_place(mask.transpose(), ras) == in_place(stored == ours.values[0], affine)
        assert (segment["name"], segment["layer"]) == (ours.name, 0)
        ends = np.argwhere(mask)
        assert segment["extent"] == np.stack([ends.min(0), ends.max(0)], axis=1).ravel().tolist()
        assert segment["terminology"]["category"] == ["SCT", *ours.codes.category.split(" ", 1)]
    assert read["segments"][0]["terminology"]["typeModifier"] == ["SCT", "24028007", "Right"]
    assert len({segment["id"] for segment in read["segments"]}) == 2


# https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
OF_A_SEGMENT = (
    "ID",
    "Name",
    "NameAutoGenerated",
    "Color",
    "ColorAutoGenerated",
    "Extent",
    "Tags",
    "Layer",
    "LabelValue",
)
OF_ALL = {
    "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
    "Segmentation_SourceRepresentation": "Binary labelmap",
    "Segmentation_ReferenceImageExtentOffset": "0 0 0",
}


def test_a_segmentation_has_every_key_of_slicers_format(tmp_path):
    """A code's meaning may hold what separates the parts of an entry, a colour is from 0 to 1, a class without voxels
    has an extent that is empty."""
    codes = ClassCodes("64033007 Kidney ~ left^upper|pole", region="818983003 Abdomen")
    table = SegmentTable("t", make_segments(("kidney", "nowhere"), ((1,), (2,)), (codes, None)))
    stored = np.where(stored_label() == 1, 1, 0).astype(np.uint8)
    path = written(make_series(tmp_path / "ct", BASE), BASE, stored, tmp_path / "out.seg.nrrd", table)
    image = SimpleITK.ReadImage(str(path))
    assert {key: image.GetMetaData(key) for key in OF_ALL} == OF_ALL
    segments = [{key: image.GetMetaData(f"Segment{n}_{key}") for key in OF_A_SEGMENT} for n in range(2)]
    assert not any(key.startswith("Segment2_") for key in image.GetMetaDataKeys())
    assert [segment["Extent"] for segment in segments] == ["2 10 2 12 1 4", "0 -1 0 -1 0 -1"]
    assert all(0 <= float(part) <= 1 for segment in segments for part in segment["Color"].split())
    for segment in segments:
        (entry,) = [each for each in segment["Tags"].split("|") if each]
        key, _, terms = entry.partition(":")
        context, *what, anatomic_context, region, modifier = terms.split("~")
        assert (key, len(what), bool(context), bool(anatomic_context)) == ("TerminologyEntry", 3, True, True)
        assert {len(term.split("^")) for term in (*what, region, modifier)} == {3}
    assert segments[0]["Tags"].split("~")[5] == "SCT^818983003^Abdomen"
