"""The statistics of experiments/phantom_table."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

SPEC = spec_from_file_location("paired", Path(__file__).parents[1] / "experiments" / "phantom_table" / "paired.py")
paired = module_from_spec(SPEC)
SPEC.loader.exec_module(paired)


def test_rows_of_a_patient_are_averaged_whatever_their_order():
    names, means = paired.by_patient(["b", "a", "b", "b"], [0.3, 1.0, 0.6, 0.0])
    assert names == ("a", "b")
    assert means == pytest.approx([1.0, 0.3])


def test_seeds_are_not_counted_as_patients():
    other = np.zeros((3, 8))
    own = np.array([[1.0], [1.0], [4.0]]) * np.arange(1, 9)  # each patient is better, by another amount
    found = paired.compare(own, other)
    assert found.num_patients == 8
    assert found.difference == pytest.approx(9.0)
    assert found.p == pytest.approx(2 / 2**8)  # exact, of eight equal signs


def test_opposite_seeds_of_a_patient_cancel():
    own, other = np.tile([[1.0], [-1.0]], 7), np.zeros((2, 7))
    assert paired.compare(own, other) == paired.Comparison(0.0, 7, 1.0)


def test_fewer_than_six_patients_give_a_difference_alone():
    assert paired.compare(np.full((3, 5), 0.5), np.zeros((3, 5))) == paired.Comparison(0.5, 5, None)
    assert paired.compare(np.arange(6.0)[None] + 1, np.zeros((1, 6))).p == pytest.approx(2 / 2**6)


def test_holm_by_hand():
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested_and_stays_a_probability():
    assert paired.holm([None, 0.9, 0.02, None, 0.8]) == [None, 1.0, pytest.approx(0.06), None, 1.0]
