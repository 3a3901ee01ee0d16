"""What is wrong with how a trial ended."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from field.forked import Done
from field.results import FOLDER, Snapshot, changed, digest, fault
from field.trial import Trial

CODES = {0, 2}
STOPPED = {  # codes of a command that a signal met; 0 where it was done already
    signal.SIGKILL: {-9},
    signal.SIGTERM: {143, -15},
    signal.SIGINT: {130},
    signal.SIGUSR1: {138, -10},
}
LEFTOVERS = re.compile(r"(^|/)(\.part[^/]*|\.old[^/]*|[^/]*\.tmp|[^/]*\.part)$")
OWN_PLACES = ("home/tmp/", "home/libraries", "home/.cache", "home/.config", "home/.nv", "home/.triton")
# The table of missing datasets; how the command is used, where Hydra's own flags are not.
OTHER_REFUSALS = re.compile(r"^\d+ datasets? (is|are) missing:|^usage: ", re.MULTILINE)
# sockets over which PyTorch hands tensors; a reader whose run fails is ended with its own there
OF_READERS = "home/tmp/pymp-"
NOISE = ("RuntimeWarning", "Exception ignored", "ResourceWarning", "Segmentation fault", "DeprecationWarning")
EXIT_HOOK = re.compile(r"^Exception ignored in.*?^KeyboardInterrupt:?\s*$", re.MULTILINE | re.DOTALL)
FRAME = re.compile(r'File "[^"]*/uniseg/([^"]+)", line (\d+), in (\S+)')


@dataclass(frozen=True)
class Verdict:
    """Of one trial; it is good where ``faults`` is empty.

    Attributes:
        code: of the last command.
        faults: kind -> what.
        kind_of_fault: a line that faults of the same cause share.
        error: the line of the last command.
        said: on standard error, the last 3,000 characters.
    """

    kind: str
    number: int
    seed: int
    what: str
    command: str
    code: int
    seconds: float
    faults: dict[str, str]
    kind_of_fault: str
    error: str
    said: str


def judge(
    trial: Trial, ends: Sequence[Done], root: Path, scratch: Path, before: Snapshot, after: Snapshot
) -> dict[str, str]:
    """Kind of fault -> what. Snapshots are of ``root``, whose folder ``scratch`` the trial works in."""
    faults: dict[str, str] = {}
    for position, done in enumerate(ends):
        is_signalled = trial.signal is not None and position == 0
        faults |= _faults_of_end(
            done, STOPPED[trial.signal[0]] | {0} if is_signalled else CODES, is_signalled=is_signalled
        )
        if trial.signal is not None and position == 1 and done.code != 0:
            faults["again"] = f"exit code {done.code} of the same command after a signal"
    faults |= _faults_of_files(trial, root, scratch, before, after)
    if trial.must_refuse and ends[-1].code == 0:
        faults["accepted"] = trial.what
    if trial.same is not None and ends[-1].code == 0 and not faults:
        found = digest(scratch / trial.same)
        differing = sorted(name for name in {*found, *trial.expected} if found.get(name) != trial.expected.get(name))
        if differing:
            faults["differs"] = f"from an undisturbed run: {', '.join(differing[:4])}"
    return faults


def _faults_of_end(done: Done, codes: set[int], *, is_signalled: bool) -> dict[str, str]:
    faults = {}
    if is_signalled:  # while the interpreter itself winds up, Python tells of what a signal ends there
        done = replace(done, stderr=EXIT_HOOK.sub("", done.stderr))
    if done.hangs:
        faults["hang"] = f"over {done.seconds:.0f} s"
    elif done.code not in codes:
        faults["code"] = f"exit code {done.code}"
    if "Traceback" in done.stderr or "Traceback" in done.stdout:
        faults["traceback"] = signature(done.stderr)
    if done.outlived:
        faults["outlived"] = "a process of the command outlives it"
    is_explained = len(done.errors) == 1 or OTHER_REFUSALS.search(done.stderr)
    if done.code == 2 and not (is_explained and len(done.errors) <= 1):
        faults["line"] = f"{len(done.errors)} error lines with exit code 2: {_last(done.stderr)}"
    if done.code == 0 and done.errors:
        faults["line"] = f"an error line with exit code 0: {done.errors[0]}"
    noise = next((line for line in done.stderr.splitlines() if any(word in line for word in NOISE)), None)
    if noise is not None:
        faults["noise"] = noise.strip()[:200]
    return faults


def _faults_of_files(trial: Trial, root: Path, scratch: Path, before: Snapshot, after: Snapshot) -> dict[str, str]:
    faults = {}
    own = f"{scratch.relative_to(root)}/"
    written = tuple(f"{own}{name}" for name in trial.outputs)
    added, differing = changed(before, after)
    files = [path for path in differing if before[path] != FOLDER or path not in after]
    outside = [path for path in (*added, *files) if not path.startswith((own, *OWN_PLACES))]
    if not trial.adds_anywhere:
        outside += [path for path in added if path.startswith(own) and not path.startswith(written)]
    inside = [path for path in files if path.startswith(own) and not path.startswith(written)]
    if outside:
        faults["outside"] = f"written: {', '.join(outside[:4])}"
    if inside:
        faults["input"] = f"changed or removed: {', '.join(inside[:4])}"
    if trial.signal is None:
        temporary = [path for path in added if path.startswith("home/tmp/") and not path.startswith(OF_READERS)]
        left = temporary + [path for path in added if LEFTOVERS.search(path)]
        if left:
            faults["leftover"] = ", ".join(left[:4])
    new = [root / path for path in (*added, *files) if path.startswith(own) and after.get(path, FOLDER) != FOLDER]
    broken = [
        text
        for path in new
        if not LEFTOVERS.search(str(path)) and not _is_in_part(path, scratch) and (text := fault(path))
    ]
    if broken:
        faults["half-written"] = "; ".join(broken[:3])
    return faults


def _is_in_part(path: Path, scratch: Path) -> bool:
    return any(part.startswith((".part", ".old")) for part in path.relative_to(scratch).parts)


def signature(stderr: str) -> str:
    """Where in the library an exception was raised, with its type; what changes from trial to trial is left out."""
    frames = FRAME.findall(stderr)
    place = f"{frames[-1][0]}:{frames[-1][1]} {frames[-1][2]}" if frames else "no frame of the library"
    return f"{_exception(stderr)[:110]} @ {place}"


def _exception(stderr: str) -> str:
    """The line that ends the last traceback."""
    _, _, rest = stderr.rpartition("Traceback (most recent call last)")
    line = next((line for line in rest.splitlines()[1:] if line and not line[0].isspace()), "")
    return re.sub(r"/\S+|0x[0-9a-f]+|\d+", "#", line)


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:160] if lines else "nothing"
