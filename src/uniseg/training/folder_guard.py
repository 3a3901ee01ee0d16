"""Guards the folder of a run: one training at a time, and none that overwrites another unless it is told to."""

import errno
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from uniseg.errors import InputError
from uniseg.files import PART
from uniseg.run_folder import RunFolder

try:
    import fcntl
except ImportError:  # Windows, where a folder is not guarded: its locks also keep others from reading who holds them
    fcntl = None  # type: ignore[assignment]

HELD = (errno.EACCES, errno.EAGAIN)


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other trainings out of ``run_dir``; the system frees it when this process ends, however it ends.

    Record locks (``lockf``) instead of ``flock``: reader processes do not inherit them, so that a killed run frees its
    folder at once.

    Raises:
        InputError: another process trains there; names it.
    """
    if fcntl is None or rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        yield
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    path = RunFolder(run_dir).lock
    with path.open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                holder, end = _holder(path)
                found, fix = f"a training at work there ({holder})", f"wait for it, {end}or give another name"
                raise InputError(run_dir, found, "one training in a folder", fix) from error
            rank_zero_info(f"{run_dir} is not guarded against a second training: {error.strerror}.")
        file.truncate(0)
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        json.dump({"host": socket.gethostname(), "process": os.getpid(), "since": since}, file)
        file.flush()
        yield


def _holder(path: Path) -> tuple[str, str]:
    """Who trains there, and how to end it where it runs; a training that is told to end saves first."""
    try:
        holder = json.loads(path.read_text())
        number, host = int(holder["process"]), str(holder["host"])
        where = "" if host == socket.gethostname() else f" on {host}"
        return f"process {number} on {host} since {holder['since']}", f"end it (kill {number}{where}: it saves first), "
    except (OSError, ValueError, KeyError, TypeError):
        return "process not known", ""  # it is just writing it


def require_unused(run_dir: Path, *, overwrite: bool, inputs: Iterable[str | Path | None]) -> bool:
    """Whether a run is in the folder, which may be lost.

    Args:
        overwrite: whether an earlier run may be lost.
        inputs: files that the new run starts from.

    Raises:
        InputError: a run is there, which may not be lost, or which ``inputs`` belong to.
    """
    finished = RunFolder(run_dir).finished_parts()
    if not finished:
        return False
    if not overwrite:
        fix = "resume it with ckpt_path=last, or give another name=, or overwrite=true"
        raise InputError(run_dir, str(finished[0].relative_to(run_dir)), "a folder without a run", fix)
    lost = [path for path in inputs if path is not None and Path(path).resolve().is_relative_to(run_dir.resolve())]
    if lost:
        found = f"{lost[0]}, which it would remove"
        raise InputError("overwrite", found, "a run that starts from files of other folders", "give another name=")
    return True


def clear(run_dir: Path) -> None:
    """Remove what an earlier run left, so that nothing of it is taken for a part of the new one; other files stay.

    Checkpoints go last: until then the folder counts as that of a run.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in RunFolder(run_dir).results():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    parts = (path for path in run_dir.glob(f"{PART}*") if path.is_file())
    for path in (*parts, *RunFolder(run_dir).checkpoints.glob("*.ckpt*")):
        path.unlink()
