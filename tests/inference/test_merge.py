"""Label maps of several tasks as one, by hand."""

import numpy as np

from samples import make_task
from uniseg.inference.merge import merge, merged_values, write_tables
from uniseg.inference.restore import CompressedSegmentation

LIVER = make_task()
NESTED = make_task("brain", ("T1",), ("background", "whole", "core"), regions=((1, 2, 4), (2,)))


def segmentation(label, confidence):
    return CompressedSegmentation(
        np.array(label, np.uint8).reshape(1, 1, -1), np.array(confidence, np.uint8).reshape(1, 1, -1)
    )


def test_values_are_unique_and_named():
    values = merged_values([LIVER, NESTED])
    assert [(v.value, v.task, v.task_value, v.name) for v in values] == [
        (1, "liver", 1, "liver_liver"), (2, "liver", 2, "liver_tumour"),
        (3, "brain", 1, "brain_whole"), (4, "brain", 2, "brain_whole+core"), (5, "brain", 3, "brain_3"),
        (6, "brain", 4, "brain_whole"),
    ]  # fmt: skip
    assert len({v.colour for v in values}) == 6


def test_the_more_probable_label_holds():
    """Voxels: nobody; the first alone; the second though background was surer; first surer; second surer; a tie."""
    parts = {
        "liver": segmentation([0, 1, 0, 2, 1, 1], [255, 130, 250, 200, 140, 150]),
        "brain": segmentation([0, 0, 4, 1, 2, 1], [255, 255, 90, 199, 141, 150]),
    }
    assert merge(parts, merged_values([LIVER, NESTED])).ravel().tolist() == [0, 1, 6, 2, 4, 1]


def test_names_end_no_cell(tmp_path):
    odd = make_task("organs", classes=("background", 'left "upper" lobe', "a b"))
    write_tables(merged_values([odd]), tmp_path)
    assert [line.split()[:2] for line in (tmp_path / "labels.ctbl").read_text().splitlines()[2:]] == [
        ["1", "organs_left_'upper'_lobe"],
        ["2", "organs_a_b"],
    ]
    assert [line.count('"') for line in (tmp_path / "labels_itksnap.txt").read_text().splitlines()[1:]] == [2, 2, 2]


def test_tables_for_viewers(tmp_path):
    write_tables(merged_values([LIVER]), tmp_path)
    slicer = (tmp_path / "labels.ctbl").read_text().splitlines()
    assert slicer[1] == "0 background 0 0 0 0"
    assert slicer[2].startswith("1 liver_liver ")
    assert len(slicer[2].split()) == 6
    snap = (tmp_path / "labels_itksnap.txt").read_text().splitlines()
    assert snap[-1].endswith('1 1 1 "liver_tumour"')
    assert len(snap[-1].split()) == 8
