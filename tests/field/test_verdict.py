"""The fuzz finds what it looks for."""

import gzip
import signal
from dataclasses import replace

import pytest

from field.forked import Done
from field.results import snapshot
from field.trial import Trial
from field.verdict import judge

GOOD = Done(0, "", "predict 100%\n", 1.0, hangs=False, outlived=False)
REFUSED = replace(GOOD, code=2, stderr="error: scan.nii.gz: found nothing; expected a scan; restore it\n")
TRIAL = Trial("a trial", (("predict",),))
TRACEBACK = 'Traceback (most recent call last):\n  File "/x/uniseg/task.py", line 7, in make\nKeyError: 3\n'


def faults(root, *ends, trial=TRIAL, write=lambda scratch: None):
    scratch = root / "scratch"
    (scratch / "out").mkdir(parents=True)
    (scratch / "scan.nii.gz").write_bytes(gzip.compress(b"", mtime=0))
    before = snapshot(root)
    write(scratch)
    return judge(trial, ends, root, scratch, before, snapshot(root))


@pytest.mark.parametrize("done", [GOOD, REFUSED])
def test_a_good_end(tmp_path, done):
    assert faults(tmp_path, done) == {}


@pytest.mark.parametrize(
    ("done", "kinds"),
    [
        (replace(GOOD, code=1, stderr=TRACEBACK), {"code", "traceback"}),
        (replace(REFUSED, stderr=REFUSED.stderr * 2), {"line"}),
        (replace(GOOD, code=2), {"line"}),
        (replace(GOOD, stderr=REFUSED.stderr), {"line"}),
        (replace(GOOD, code=-9, hangs=True), {"hang"}),
        (replace(GOOD, outlived=True), {"outlived"}),
        (replace(GOOD, stderr="x.py:3: RuntimeWarning: invalid value\n"), {"noise"}),
    ],
)
def test_a_bad_end(tmp_path, done, kinds):
    assert faults(tmp_path, done).keys() == kinds


@pytest.mark.parametrize(
    ("path", "content", "kinds"),
    [
        ("out/a.json", b"{}", set()),
        ("out/a.json", b"{", {"half-written"}),
        ("out/a.nii.gz", b"", {"half-written"}),
        ("out/.part77_a.json", b"", {"leftover"}),
        ("escape", b"", {"outside"}),
        ("../escape", b"", {"outside"}),
        ("scan.nii.gz", gzip.compress(b"another", mtime=0), {"input", "half-written"}),
    ],
)
def test_a_bad_file(tmp_path, path, content, kinds):
    assert faults(tmp_path, GOOD, write=lambda scratch: (scratch / path).write_bytes(content)).keys() == kinds


def test_the_cause_is_reported_with_its_place(tmp_path):
    assert faults(tmp_path, replace(GOOD, code=1, stderr=TRACEBACK))["traceback"] == "KeyError: # @ task.py:7 make"


def test_what_must_be_refused(tmp_path):
    trial = replace(TRIAL, must_refuse=True)
    assert faults(tmp_path / "a", GOOD, trial=trial).keys() == {"accepted"}
    assert faults(tmp_path / "b", REFUSED, trial=trial) == {}


def test_a_command_that_was_stopped_and_started_again(tmp_path):
    trial = replace(TRIAL, signal=(signal.SIGINT, 0.5), same="out", expected={"scores.csv": "0"})
    stopped = replace(GOOD, code=130)
    assert faults(tmp_path / "a", stopped, GOOD, trial=trial).keys() == {"differs"}
    assert faults(tmp_path / "b", stopped, REFUSED, trial=trial).keys() == {"again"}
    assert faults(tmp_path / "c", replace(GOOD, code=1), GOOD, trial=trial).keys() == {"code"}
