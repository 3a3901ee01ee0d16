"""What ends a command, as one line and an exit code; a bug of ours is none of these and keeps its traceback."""

import errno
import re
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from traceback import walk_tb

import torch
from hydra.errors import HydraException, InstantiationException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from uniseg.errors import INTERRUPTED, InputError, printable

BAD_INPUT = 2
READER_GONE = 141  # 128 + SIGPIPE
TERMINATED = 143  # 128 + SIGTERM

COMPOSERS = ("hydra", "omegaconf", "yaml", "antlr4")  # what reads the configuration
# what a constructor says of a value that it does not take
USER_VALUES = (TypeError, ValueError, ImportError, MisconfigurationException)
NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
    "std::bad_alloc",
    "STATUS_ALLOC_FAILED",
)
ADVICE = re.compile(r"To append to your config use \+.*")  # Hydra's, to somebody who mistyped
WORKER_KILLED = re.compile(r"DataLoader worker \(pid.*\) (is killed|exited)")
LOWER = {
    "prepare": "lower num_workers, or gpu_memory_gb where it plans",
    "train": "lower data.batch_size, data.patch_size or data.num_workers, or add speed.checkpoint_activations=true",
    "finetune": "lower data.batch_size, data.patch_size or data.num_workers, or add speed.checkpoint_activations=true",
    "crossval": "lower parallel, data.batch_size, data.patch_size or data.num_workers, or inference.max_memory_gb",
    "evaluate": "lower inference.window_batch or inference.max_memory_gb",
    "predict": "lower inference.window_batch or inference.max_memory_gb",
}
ROOM = ("room to write", "make room, then give the command again; what was complete is kept")
ACCESS = ("permission", "change the permissions or give another path")
# errno -> what was expected, what to do
MACHINE = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: ROOM,
    errno.EACCES: ACCESS,
    errno.EPERM: ACCESS,
    errno.EROFS: ("a disk that can be written to", "give another path"),
    errno.EISDIR: ("a file", "correct the path"),
    errno.ENOTDIR: ("a folder", "correct the path"),
    errno.EEXIST: ("a folder or nothing", "move it away or give another path"),
    errno.ENOENT: ("an existing path", "correct the path"),
    errno.ENAMETOOLONG: ("a shorter name", "shorten it"),
    errno.EMFILE: ("fewer open files", "raise the limit (ulimit -n) or lower num_workers"),
    errno.ENFILE: ("fewer open files", "close other programs or lower num_workers"),
}


@dataclass(frozen=True)
class End:
    """The line for stderr, the exit code.

    Examples:
        >>> end_of(KeyboardInterrupt(), "train").code
        130
    """

    line: str
    code: int


class Terminated(SystemExit):
    """SIGTERM came where no training saves its state.

    Examples:
        >>> Terminated().code
        143
    """

    def __init__(self) -> None:
        super().__init__(TERMINATED)


def end_of(error: BaseException, command: str, *, composing: bool = False) -> End | None:
    """How ``error`` ends ``command`` (prepare, train, ...); None for a bug, which keeps its traceback.

    Args:
        composing: the configuration is still being put together, where Hydra, OmegaConf or YAML raise errors of any
            type.
    """
    if isinstance(error, KeyboardInterrupt):
        return End("interrupted", INTERRUPTED)
    if isinstance(error, Terminated):
        return End("terminated by SIGTERM", TERMINATED)
    reason = _reason(list(_chain(error)), command) or (_composition_error(error) if composing else None)
    return None if reason is None else End(f"error: {reason}", BAD_INPUT)


def _reason(chain: list[BaseException], command: str) -> str | None:
    for each in chain:
        if isinstance(each, InputError):
            return str(each)
    for each in chain:
        if (line := _resource_error(each, command)) is not None:
            return str(line)
    for each in chain:
        if isinstance(each, MissingMandatoryValue) and each.full_key:
            return str(InputError(each.full_key, "no value", "one", f"give {each.full_key}=..."))
        if isinstance(each, InstantiationException):
            return _constructor_error(each)
        if isinstance(each, (HydraException, OmegaConfBaseException)):
            cause, text = str(each.__cause__ or ""), ADVICE.sub("", str(each))
            return _flat(text if cause in text else f"{text}: {cause}")
        if isinstance(each, (MisconfigurationException, FloatingPointError)):
            return _flat(_original(each))
    return _partial_call_error(chain[0]) if isinstance(chain[0], USER_VALUES) else None


def _resource_error(error: BaseException, command: str) -> InputError | None:
    """What the machine lacks."""
    text = _original(error)
    lower = LOWER.get(command, "close other programs")
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)
    ):
        return InputError(
            command, f"too little memory ({_flat(text)[:150] or type(error).__name__})", "room for this run", lower
        )
    is_killed = isinstance(error, RuntimeError) and WORKER_KILLED.search(text)
    if isinstance(error, BrokenProcessPool) or is_killed:
        return InputError(command, "a worker process that was killed", "memory for all of them", lower)
    if not isinstance(error, OSError) or isinstance(error, HydraException):
        return None
    if error.errno == errno.ENOMEM:
        return InputError(error.filename or command, error.strerror, "room for this run", lower)
    expected, fix = MACHINE.get(error.errno, ("a file, disk or network that works", "look at the path and the disk"))
    return InputError(error.filename or command, error.strerror or _flat(text) or type(error).__name__, expected, fix)


def _constructor_error(error: InstantiationException) -> str | None:
    """A constructor that does not take what the user gave; None where it failed otherwise."""
    cause = error.__cause__
    if cause is not None and not isinstance(cause, USER_VALUES):
        return None
    key = re.search(r"full_key: (\S+)", str(error))
    return _refused_settings(key[1] if key else "configuration", error if cause is None else cause)


def _partial_call_error(error: BaseException) -> str | None:
    """The same of a ``_partial_`` class, which Hydra's deferred call makes where its last arguments are known."""
    calls = [
        frame.f_locals["self"]
        for frame, _ in walk_tb(error.__traceback__)
        if isinstance(frame.f_locals.get("self"), partial)
    ]
    classes = [call for call in calls if isinstance(call.func, type)]
    return _refused_settings(getattr(classes[-1], "_hydra_full_key", "configuration"), error) if classes else None


def _refused_settings(key: str, cause: BaseException) -> str:
    return str(
        InputError(key, f"settings that it refuses ({_flat(str(cause))})", "settings that it takes", "correct them")
    )


def _composition_error(error: BaseException) -> str | None:
    frames = list(walk_tb(error.__traceback__))
    module = frames[-1][0].f_globals.get("__name__", "") if frames else ""
    return _flat(str(error)) if isinstance(error, Exception) and module.split(".")[0] in COMPOSERS else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _original(error: BaseException) -> str:
    """The message; of an error that a reader process sent with its traceback, the last line."""
    text = str(error).strip()
    return text.splitlines()[-1] if "Original Traceback" in text else text


def _flat(text: str) -> str:
    return printable(" ".join(text.split()))
