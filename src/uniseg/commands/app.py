"""What every entry point does around its work: compose, check, run, tell what ended it in one line."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import hydra
from omegaconf import DictConfig

from uniseg.commands import local_conf, schema
from uniseg.commands.arguments import readable_arguments
from uniseg.commands.failures import READER_GONE, Terminated, end_of
from uniseg.environment import CONF_DIR


def entry_point(root: str) -> Callable[[Callable[[DictConfig], object]], Callable[[], None]]:
    """Decorates ``f(config)`` as a command on ``conf/<root>.yaml``: checks its settings, says in one line what ended
    it.

    Exit codes: 2 for bad input, a bad configuration or a machine that lacks something, 130 after Ctrl-C, 143 after
    SIGTERM, 141 where nobody reads standard output any more. A bug keeps its traceback, exit code 1.
    """

    def decorate(work: Callable[[DictConfig], object]) -> Callable[[], None]:
        @wraps(work)
        def command() -> None:
            is_composed = False

            @wraps(work)
            def checked(config: DictConfig) -> object:
                nonlocal is_composed
                is_composed = True
                with _ending(root):  # here, since Hydra adds a line of its own to what passes through it
                    schema.check_settings(config, root)
                    result = work(config)
                    sys.stdout.flush()
                    return result

            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing its own traceback
            schema.register()
            local_conf.register()
            with _terminable(), _ending(root, composing=lambda: not is_composed):
                sys.argv[1:] = readable_arguments(sys.argv[1:], schema.text_keys(root))
                hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=root)(checked)()

        return command

    return decorate


@contextmanager
def _ending(command: str, composing: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Exits with one line on stderr where what is inside ends by anything but a bug."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and not _stdout_is_read():
            sys.exit(READER_GONE)
        end = end_of(error, command, composing=composing())
        if end is None:
            raise
        sys.stderr.write(f"{end.line}\n")
        sys.exit(end.code)


def _stdout_is_read() -> bool:
    """Whether standard output still has a reader; where not, what is left for it goes nowhere."""
    if hasattr(select, "poll"):  # not on Windows
        state = select.poll()
        state.register(sys.stdout, 0)
        if not any(event & select.POLLERR for _, event in state.poll(0)):
            return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
    return False


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that nothing is left half-written; a second one ends it at once."""

    def terminate(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
