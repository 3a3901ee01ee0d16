"""Files appear whole or not at all; bad ones are refused in one line; names lead nowhere else."""

import errno
import hashlib
import os

import pytest

from uniseg.errors import InputError
from uniseg.files import content_hash, read_json, require_file_name, write_atomically, write_json, write_text
from uniseg.task import Task


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "scores.csv"
    write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError), write_atomically(path) as part:
        part.write_text(f"half {1 / 0}")
    assert read_json(path, "x", "y") == {"a": 1}
    assert os.listdir(tmp_path) == ["scores.csv"]


def test_errors_of_the_disk_name_the_file_that_was_meant(tmp_path):
    with pytest.raises(OSError, match=r"scores\.csv") as caught, write_atomically(tmp_path / "scores.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "scores.csv"))
    assert os.listdir(tmp_path) == []


def test_text_is_utf8_and_its_hash_that_of_its_bytes(tmp_path):
    write_text(tmp_path / "deep" / "a.md", "Größe\n")
    assert (tmp_path / "deep" / "a.md").read_bytes() == b"Gr\xc3\xb6\xc3\x9fe\n"
    assert content_hash(tmp_path / "deep" / "a.md") == hashlib.sha256(b"Gr\xc3\xb6\xc3\x9fe\n").hexdigest()
    assert os.listdir(tmp_path / "deep") == ["a.md"]


def test_nan_becomes_null(tmp_path):
    write_json(tmp_path / "a.json", {"dice": [float("nan"), 0.5]})
    assert (tmp_path / "a.json").read_text().split() == ["{", '"dice":', "[", "null,", "0.5", "]", "}"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[1]", b"3"],
    ids=["empty", "cut", "binary", "deep", "list", "number"],
)
def test_what_is_no_json_object_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: found .*; expected the scores; evaluate first") as caught:
        read_json(tmp_path / "a.json", "the scores", "evaluate first")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["liver", "Müller_1", "a b", "1.2.840.113", "a=1", "x" * 100])
def test_names_of_files(name):
    assert require_file_name("here", "task", name) == name


LEADING_ELSEWHERE = [
    "",
    ".",
    "..",
    ".hidden",
    "../scans",
    "/abs",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    " a",
    "x" * 101,
    "ä" * 51,
    "merged",
    "task.json",
    7,
    None,
]


@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
def test_names_that_lead_elsewhere(name):
    with pytest.raises(InputError, match="rename"):
        require_file_name("here", "case", name)


def test_a_task_is_named_as_its_folder_is():
    with pytest.raises(InputError, match=r"\.\./scans"):
        Task("../scans", ("CT",), ("background", "a"), (1, 1, 1), ())


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match=r"cache/liver/task\.json") as caught:
        write_json(tmp_path / "cache" / "liver" / "task.json", {})
    assert caught.value.filename == str(tmp_path / "cache/liver/task.json")
