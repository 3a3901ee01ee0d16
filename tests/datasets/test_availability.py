"""The table of missing datasets."""

from pathlib import Path

from uniseg.datasets.availability import MissingDataset, availability_message, missing_datasets
from uniseg.datasets.source import Source


def test_missing_are_absent_or_empty_folders_in_order(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "dataset.json").touch()
    (tmp_path / "empty").mkdir()
    sources = {
        "liver": Source(layout="nnunet", root=tmp_path / "here", homepage="http://a", licence="CC0"),
        "spleen": Source(layout="nnunet", root=tmp_path / "empty", homepage="http://b", licence="CC BY 4.0"),
        "lung": Source(layout="nnunet", root=Path("/nowhere/lung")),
    }
    assert missing_datasets(sources) == [
        MissingDataset("spleen", str(tmp_path / "empty"), "http://b", "CC BY 4.0"),
        MissingDataset("lung", "/nowhere/lung", "not stated", "see homepage"),
    ]


def test_message_is_an_aligned_table_that_ends_with_the_demo():
    rows = [
        MissingDataset("spleen", "/data/Task09_Spleen", "http://medicaldecathlon.com", "CC BY-SA 4.0"),
        MissingDataset("lung", "/x", "http://y", "see homepage"),
    ]
    lines = availability_message(rows).splitlines()
    assert lines[0] == "2 datasets are missing:"
    assert lines[2] == "task    looked in            where to get it              licence"
    assert lines[4] == "spleen  /data/Task09_Spleen  http://medicaldecathlon.com  CC BY-SA 4.0"
    assert lines[5] == "lung    /x                   http://y                     see homepage"
    assert lines[-1] == "experiment=demo needs none of them."


def test_message_for_one():
    assert availability_message([MissingDataset("lung", "/x", "http://y", "z")]).startswith("1 dataset is missing:")
