"""Components taken away, by hand; which are, by dev cases."""

import json

import numpy as np
import pytest

from samples import make_task
from uniseg import InputError
from uniseg.inference.postprocess import Choice, Cleaning, choose, clean, read_cleanings, write_cleanings

LIVER = make_task()  # liver 1, tumour 2
NESTED = make_task("brain", ("T1",), ("background", "whole", "core"), regions=((1, 2), (2,)))
SPACING = (1.0, 1.0, 1.0)


def two_parts():
    """A liver of 27 and of 2 voxels, the smaller touching a corner of nothing; a tumour of 1 and of 3."""
    label = np.zeros((8, 8, 8), np.uint8)
    label[:3, :3, :3] = 1
    label[6, 6, 5:7] = 1
    label[1, 1, 1] = 2
    label[5, 1, 1:4] = 2
    return label


def test_components_go():
    label = two_parts()
    largest = clean(label, LIVER, {"liver": Cleaning(largest=True)}, SPACING)
    assert ((largest == 1).sum(), (largest == 2).sum()) == (26, 4)
    small = clean(label, LIVER, {"liver": Cleaning(least_ml=0.003), "tumour": Cleaning(least_ml=0.003)}, SPACING)
    assert ((small == 1).sum(), (small == 2).sum()) == (26, 3)
    assert (clean(label, LIVER, {"tumour": Cleaning(least_ml=0.003)}, (1, 1, 3)) == 2).sum() == 4, "1 voxel is 0.003 ml"
    assert clean(label, LIVER, {}, SPACING) is label
    np.testing.assert_array_equal(label, two_parts(), err_msg="what is given stays")


def test_a_region_goes_with_what_lies_inside():
    label = two_parts()
    cleaned = clean(label, NESTED, {"whole": Cleaning(largest=True)}, SPACING)
    assert ((cleaned == 1).sum(), (cleaned == 2).sum()) == (26, 1)


def test_dev_cases_decide():
    reference = np.zeros((8, 8, 8), np.int16)
    reference[:3, :3, :3] = 1
    reference[1, 1, 1] = 2
    reference[5, 1, 1:4] = 2
    reference[7, 7, 7] = -1
    choices = choose(LIVER, [lambda: (two_parts(), reference, (10.0, 1.0, 1.0))] * 2)
    assert choices[0] == Choice("liver", "liver", Cleaning(largest=True), pytest.approx(2 * 26 / (28 + 26)), 1.0, 2)
    assert choices[1] == Choice("liver", "tumour", Cleaning(), 1.0, 1.0, 2), "two tumours: nothing is taken from them"


def test_the_choice_is_kept(tmp_path):
    path = tmp_path / "postprocessing.json"
    write_cleanings([Choice("liver", "tumour", Cleaning(least_ml=0.1), 0.5, 0.6, 4)], "abc", path)
    assert read_cleanings(path) == {"liver": {"tumour": Cleaning(least_ml=0.1)}}
    assert json.loads(path.read_text())["checkpoint"] == "abc"
    path.write_text("[]")
    with pytest.raises(InputError, match="a file of something else"):
        read_cleanings(path)
