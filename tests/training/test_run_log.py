"""The log file of a run holds what the terminal said."""

import logging
import warnings

import pytest
from lightning.pytorch.utilities import rank_zero_info

from uniseg.training.run_log import run_log


def lines(path):
    """Without the time of day."""
    return [line.split(" ", 2)[2] for line in path.read_text().splitlines()]


def test_what_comes_before_the_folder_is_free_is_kept(tmp_path):
    path = tmp_path / "run" / "train.log"
    with run_log() as log:
        rank_zero_info("first")
        assert not path.exists()
        log.open(path)
        log.write("second")
        assert lines(path) == ["first", "second"]
        with pytest.warns(UserWarning, match="third"):
            warnings.warn("third", stacklevel=1)
        logging.getLogger("uniseg.something").warning("fourth")
    rank_zero_info("after it")
    assert lines(path) == ["first", "second", "fourth"]


def test_warnings_are_shown_and_logged(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: shown.append(message))
    with run_log() as log:
        log.open(tmp_path / "train.log")
        warnings.showwarning("careful", UserWarning, "file.py", 1)
    assert shown == ["careful"]
    assert lines(tmp_path / "train.log") == ["UserWarning: careful"]


def test_a_resumed_run_appends_and_an_error_is_the_last_line(tmp_path):
    def fail(number):
        with run_log() as log:
            log.open(tmp_path / "train.log")
            rank_zero_info(f"run {number}")
            raise ValueError("no")

    for number in range(2):
        with pytest.raises(ValueError, match="no"):
            fail(number)
    assert lines(tmp_path / "train.log") == ["run 0", "ended by ValueError: no", "run 1", "ended by ValueError: no"]


def test_a_refused_run_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no"), run_log():
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []
