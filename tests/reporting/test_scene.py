"""What a page holds of a case, as a program for NIfTI reads it."""

import base64
import gzip

import nibabel as nib
import numpy as np
import pytest

from uniseg.images.segments import Segment
from uniseg.images.volume import Volume
from uniseg.reporting.scene import Layer, Scene, pack

SHAPE, SPACING = (6, 8, 10), (3.0, 1.0, 1.0)
# (z, y, x) -> RAS mm: Z to superior, Y to posterior, X to left, as every scan is read.
AFFINE = np.array([[0, 0, -1.0, 50], [0, -1.0, 0, 40], [3.0, 0, 0, -20], [0, 0, 0, 1]])
RED, BLUE = (255, 0, 0), (0, 0, 255)


def make_scene(image, prediction, reference=None, segments=None):
    segments = (Segment("liver", (1,), RED), Segment("tumour", (7,), BLUE)) if segments is None else segments
    volume = Volume(np.asarray(image, np.float32)[None], SPACING, AFFINE)
    return Scene("case", volume, ("CT",), (Layer("liver", segments, prediction, reference),))


def unpack(blob):
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(blob)))


def label_with(**boxes):
    label = np.zeros(SHAPE, np.int16)
    for value, box in boxes.items():
        label[box] = int(value[1:])
    return label


def test_voxels_and_places_are_the_files():
    image = np.random.default_rng(0).integers(-1000, 1500, SHAPE)
    label = label_with(v1=np.s_[1:3, 2:5, 3:9], v7=np.s_[4, 6, 1])
    packed = pack(make_scene(image, label), most_mb=1)
    scan, labels = map(unpack, packed.blobs)
    np.testing.assert_array_equal(np.asarray(scan.dataobj).T, image)
    np.testing.assert_array_equal(scan.affine, AFFINE[:, [2, 1, 0, 3]])
    assert scan.header.get_zooms() == (1, 1, 3)
    assert labels.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(labels.dataobj).T, np.where(label == 7, 2, label))
    liver, tumour = packed.description["tasks"][0]["classes"]
    assert (liver["name"], liver["colour"], tumour["value"]) == ("liver", [255, 0, 0], 2)
    assert tumour["mm"] == [49, 34, -8], "its only voxel"
    assert tumour["detail"] == "0.003 ml"
    x, y, z, _ = np.linalg.solve(labels.affine, [*liver["mm"], 1])
    assert labels.dataobj[round(x), round(y), round(z)] == 1
    assert packed.description["note"] == ""


def test_fractions_are_kept_to_a_thousandth_of_the_window():
    image = np.random.default_rng(0).uniform(2.0, 3.0, SHAPE)
    packed = pack(make_scene(image, label_with()), most_mb=1)
    assert np.abs(np.asarray(unpack(packed.blobs[0]).dataobj).T - image).max() < 0.001
    low, high = packed.description["scans"][0]["window"]
    assert 2.0 <= low < high <= 3.0


def test_what_is_too_large_gets_coarser_where_it_is_finest():
    image = np.random.default_rng(0).integers(-1000, 1500, SHAPE).astype(float)
    label = label_with(v1=np.s_[:, 3, 3], v7=np.s_[0, 0, 0])
    whole = pack(make_scene(image, label), most_mb=1)
    packed = pack(make_scene(image, label), most_mb=whole.num_bytes / 1e6 - 1e-4)
    scan, labels = map(unpack, packed.blobs)
    assert packed.num_bytes < whole.num_bytes
    assert scan.shape == (5, 4, 6)
    expected = image.reshape(6, 4, 2, 5, 2).mean((2, 4))
    assert np.abs(np.asarray(scan.dataobj).T - expected).max() <= 0.5
    corner = scan.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(corner, AFFINE @ [0, 0.5, 0.5, 1])
    np.testing.assert_allclose(np.linalg.norm(scan.affine[:3, :3], axis=0), [2, 2, 3])
    shown = np.asarray(labels.dataobj).T
    assert (shown[:, 1, 1] == 1).all(), "a column of voxels is not lost"
    assert shown[0, 0, 0] == 2
    assert "3 x 2 x 2 mm instead of 3 x 1 x 1 mm" in packed.description["note"]
    assert packed.description["tasks"][0]["classes"][1]["detail"] == "0.003 ml", "volumes are those of the files"


def test_overlapping_classes_and_two_maps():
    segments = (Segment("whole", (1, 2), RED), Segment("core", (2,), BLUE))
    prediction, reference = label_with(v1=np.s_[1, 1, 1:4]), label_with(v2=np.s_[1, 1, 1:3])
    (task,) = pack(make_scene(np.zeros(SHAPE), prediction, reference, segments), most_mb=1).description["tasks"]
    assert [(row["value"], row["name"]) for row in task["classes"]] == [(1, "whole"), (2, "whole+core")]
    assert [row["detail"] for row in task["classes"]] == ["0 ml, predicted 0.009 ml", "0.006 ml, predicted 0 ml"]
    assert (task["prediction"], task["reference"]) == (1, 2)


def test_a_scene_is_narrowed_in_place():
    image = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    scene = make_scene(image, label_with(v1=np.s_[2, 3, 4])).cropped([(1, 3), (2, 6), (3, 9)])
    packed = pack(scene, most_mb=1)
    scan = unpack(packed.blobs[0])
    assert scan.shape == (7, 5, 3)
    np.testing.assert_allclose(scan.affine @ [0, 0, 0, 1], AFFINE @ [1, 2, 3, 1])
    assert packed.description["tasks"][0]["classes"][0]["mm"] == pytest.approx((AFFINE @ [2, 3, 4, 1])[:3].tolist())


def test_more_classes_than_a_byte_counts():
    label = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    segments = tuple(Segment(f"c{value}", (value,), RED) for value in range(1, label.max() + 1))
    packed = pack(make_scene(label, label, segments=segments), most_mb=1)
    labels = unpack(packed.blobs[1])
    assert labels.get_data_dtype() == np.uint16
    np.testing.assert_array_equal(np.asarray(labels.dataobj).T, label)
