"""Numbers of four digits are channels where a task wants them, cases elsewhere."""

from pathlib import Path

import pytest

from uniseg.datasets.channels import group_channels


def grouped(names, num_channels):
    found = group_channels({name: Path(f"{name}.nii.gz") for name in names}, num_channels)
    return {case: [path.name.removesuffix(".nii.gz") for path in paths] for case, paths in found.items()}


def alone(*names):
    return {name: [name] for name in names}


PANCREAS = ("pancreas_0000", "pancreas_0001", "pancreas_0002")
AMOS = ("amos_0001", "amos_0004", "amos_0005")


@pytest.mark.parametrize("num_channels", [[1], [2], [4], [1, 2, 4]])
def test_case_numbers_are_no_channels(num_channels):
    assert grouped(PANCREAS, num_channels) == alone(*PANCREAS)
    assert grouped(AMOS, num_channels) == alone(*AMOS)


def test_gaps_are_no_channels_whatever_is_wanted():
    assert grouped(AMOS, [3]) == grouped(AMOS, None) == alone(*AMOS)


def test_as_many_as_wanted_are_one_case_in_order():
    names = ("b_0001", "b_0000", "c_0000", "c_0001", "d")
    assert (
        grouped(names, [2])
        == grouped(names, [1, 2])
        == grouped(names, None)
        == {"b": ["b_0000", "b_0001"], "c": ["c_0000", "c_0001"], "d": ["d"]}
    )
    assert grouped(names, [1]) == alone(*sorted(names))
    assert grouped(PANCREAS, [3]) == {"pancreas": list(PANCREAS)}


def test_a_single_channel_may_have_its_number():
    assert grouped(["a_0000", "b"], [1]) == {"a": ["a_0000"], "b": ["b"]}
    assert grouped(["a_0000", "b"], [2]) == alone("a_0000", "b")
    assert grouped(["a_0000", "b"], None) == alone("a_0000", "b")
    assert grouped(["a_0000", "b_0000"], None) == {"a": ["a_0000"], "b": ["b_0000"]}


def test_only_the_last_number_counts():
    assert grouped(["scan_0000_0000", "scan_0001_0000"], [1]) == {
        "scan_0000": ["scan_0000_0000"],
        "scan_0001": ["scan_0001_0000"],
    }


def test_no_two_images_end_in_one_case():
    assert grouped(["a", "a_0000", "a_0001"], [2]) == alone("a", "a_0000", "a_0001")
    assert grouped(["_0000", "a_00000", "a_\u0660\u0660\u0660\u0660"], [1]) == alone(
        "_0000", "a_00000", "a_\u0660\u0660\u0660\u0660"
    )


def test_folders_of_slices_are_cases(tmp_path):
    folders = {name: tmp_path / name for name in ("visit_0000", "visit_0001")}
    for folder in folders.values():
        folder.mkdir()
    assert group_channels(folders, [2]) == {name: [folder] for name, folder in folders.items()}
