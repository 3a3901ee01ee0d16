"""The settings of a source are looked at before any scan is."""

from pathlib import Path

import pytest

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.datasets.source import Source
from uniseg.errors import InputError


def source(**fields):
    return Source("nnunet", Path("/data/set"), **fields)


@pytest.mark.parametrize("pattern", ["P[0-9]+", "", "(?:a)", "(", "[", "(?P<x>", "a{99999999999}(b)", 7])
def test_a_patient_pattern_has_a_group(pattern):
    with pytest.raises(InputError, match=r"source\.patient_pattern: found .*group 1 is the patient"):
        source(patient_pattern=pattern)


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2", None])
def test_cases_per_patient_is_a_whole_number(number):
    with pytest.raises(InputError, match=r"source\.cases_per_patient: found .*; expected a whole number from 1"):
        source(cases_per_patient=number)


def test_cases_are_counted_by_number():
    counted = source(patient_pattern="_([0-9]+)$", cases_per_patient=2)
    assert [counted.patient_id(f"scan_{k:03d}") for k in range(1, 5)] == ["set/1", "set/1", "set/2", "set/2"]
    with pytest.raises(
        InputError, match="found 'scan_a' of case 'scan_a' with cases_per_patient 2; expected a case number"
    ):
        source(cases_per_patient=2).patient_id("scan_a")


def test_a_group_that_takes_no_part_is_no_patient():
    with pytest.raises(InputError, match="found case 'b1'; expected a name that fits patient_pattern"):
        source(patient_pattern="(a)?[0-9]").patient_id("b1")


@pytest.mark.parametrize("absent", ["case_1", [1], [None]])
def test_absent_is_a_list_of_names(absent):
    with pytest.raises(InputError, match=r"source\.absent: found .*; expected a list of case ids"):
        source(absent=absent)


@pytest.mark.parametrize(
    "case_id", ["../x", "/abs", "..", "a/b", "a\\b", "a\0", "a\nb", "x" * 101, ".a", "merged", "", None, 7]
)
def test_a_case_id_can_name_a_file(case_id):
    with pytest.raises(InputError, match=r"labels: found case .*"):
        LayoutCase(case_id, (Path("i"),), Path("labels"))


@pytest.mark.parametrize("patient", ["", "a\nb", "\x1b[31m", 7])
def test_a_patient_is_printable_text(patient):
    with pytest.raises(InputError, match=r"row 2: found patient .*; expected printable text"):
        LayoutCase("a", (Path("i"),), Path("l"), patient=patient, where="row 2")
    assert LayoutCase("a", (Path("i"),), Path("l"), patient="clinic/Müller, H.").patient == "clinic/Müller, H."
