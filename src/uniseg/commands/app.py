"""Runs a command in this process: compose, check, work, say in one line what ended it."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from uniseg.commands import completion, help_text
from uniseg.environment import CONF_DIR, uniseg_version
from uniseg.errors import InputError

COMMANDS = {
    "prepare": "scans -> cache; folders of nnU-Net -> task files; headers -> a plan",
    "train": "cache -> checkpoint",
    "finetune": "a trained network, a few patients -> checkpoint, with a verdict against new weights",
    "crossval": "cache -> a network per fold, their out-of-fold scores, an ensemble, a report",
    "evaluate": "a run's test cases, or any tool's label maps -> scores",
    "predict": "scans -> label maps in their own grid",
    "adapt": "scans of another site, without labels -> label maps or a site file, where a guard lets them through",
    "report": "a run, several against each other, a few-shot sweep -> page or table",
    "compare": "several cross-validations -> the best by their pooled scores, and whether it can be told from the next",
    "view": "scans with label maps -> one HTML page to look at them",
    "export": "checkpoint -> folder, task file or delta to share",
    "tasks": "tasks that were added to a base, beside it: list, add, remove",
    "serve": "a network over HTTP: scans in, label maps out; for 3D Slicer too",
    "info": "what a network can segment, its licence, data, scores, memory",
    "import": "nnUNet_results -> folders of ours, an ensemble per configuration",
    "complete": "trained networks label what datasets do not -> task files with pseudo-labels",
}
# Where the word is one of Python's own.
MODULES = {"import": "import_results"}
TOOLS = {
    "doctor": "versions, device, memory, folders, and what would go wrong",
    "completion": 'eval "$(uniseg completion bash)" (or zsh) completes with the tab key',
}


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
        code: 0; 2 for bad input, a bad configuration or a machine that lacks something; 130 after Ctrl-C, 143 after
            SIGTERM; 141 where nobody reads standard output any more.
        value: what the command returned; None in a sweep.
        line: what stderr says of an end that is not 0.

    Examples:
        >>> Result(2, line="error: scan.nii.gz: found no such file; expected a scan; correct input=").code
        2
    """

    code: int
    value: Any = None
    line: str = ""


class CommandEnd(SystemExit):
    """Carries exit code and line out of a command, through Hydra.

    Examples:
        >>> CommandEnd(130, "interrupted").code
        130
    """

    def __init__(self, code: int, line: str = "") -> None:
        super().__init__(code)
        self.line = line


def run(argv: Sequence[str]) -> Result:
    """Run a command as a shell would, in this process, whose state it leaves as it was.

    Args:
        argv: the command, then its arguments: ``["train", "experiment=demo"]``.

    Examples:
        >>> run(["predict", "input"]).code
        2

    Raises:
        Exception: a bug, with its traceback; every other end is in the result.
    """
    try:
        if _answer(argv):
            return Result(0)
        from uniseg.commands.process_state import process_state_kept

        with process_state_kept():
            return Result(0, _run(argv[0], argv[1:]))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return Result(code, line=getattr(end, "line", ""))


def run_and_exit(command: str | None = None) -> NoReturn:
    """Exit as ``run`` ends, with the arguments of the shell.

    Args:
        command: None: the first argument names it.
    """
    sys.exit(run([*([] if command is None else [command]), *sys.argv[1:]]).code)


def _answer(argv: Sequence[str]) -> bool:
    """Whether this was a question that is answered without Hydra, torch and the work of a command."""
    command, *arguments = argv or ["--help"]
    with _ending(command):
        if command in ("--version", "-V"):
            answer = uniseg_version()
        elif command in help_text.FLAGS:
            answer = help_text.overview(COMMANDS | TOOLS)
        elif command == "completion" and arguments[:1] == [completion.WORDS]:
            answer = "\n".join(completion.complete([*COMMANDS, *TOOLS], *arguments[1:]))
        elif command == "completion":
            answer = completion.script(*arguments[:1])
        elif command == "doctor":
            from uniseg.commands.doctor import findings

            answer = "\n".join(map(str, findings()))
        elif command not in COMMANDS:
            raise help_text.unknown_command(command, [*COMMANDS, *TOOLS])
        elif any(argument in help_text.FLAGS for argument in arguments):
            answer = help_text.command_help(command, COMMANDS[command], arguments)
        else:
            return False
        sys.stdout.write(f"{answer}\n")
        return True


def _run(command: str, arguments: Sequence[str]) -> Any:
    """What the command returns.

    Raises:
        SystemExit: any other end than that of a bug.
    """
    is_composed, value = False, None
    module = f"uniseg.{MODULES.get(command, command)}"

    def checked(config: Any) -> Any:
        nonlocal is_composed, value
        is_composed = True
        with _ending(command):  # here, since Hydra adds a line of its own to what passes through it
            from uniseg.commands import schema

            schema.check_settings(config, command)
            value = import_module(module).main(config)
            sys.stdout.flush()
            return value

    # Hydra names the job, and its log file, after the module
    checked.__module__ = module
    with _terminable(), _ending(command, composing=lambda: not is_composed):
        _compose_and_call(checked, command, arguments)
    return value


def _compose_and_call(work: Callable[[Any], Any], command: str, arguments: Sequence[str]) -> None:
    from hydra import version
    from hydra._internal.utils import _run_hydra, get_args_parser
    from hydra.errors import HydraException

    from uniseg.commands import local_conf, schema
    from uniseg.commands.arguments import readable_arguments
    from uniseg.commands.suggestions import misspelt

    version.setbase("1.3")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing its own traceback
    schema.register()
    local_conf.register()
    parser = get_args_parser()
    parser.prog = f"python -m {work.__module__}"
    readable = readable_arguments(arguments, schema.text_keys(command))
    args, unknown = parser.parse_known_args(readable)
    if unknown:
        raise InputError(
            f"argument '{unknown[0]}'", "no such flag", "key=value, or a flag of Hydra", "see --hydra-help"
        )
    try:
        _run_hydra(args, parser, work, config_path=str(CONF_DIR), config_name=command)
    except HydraException as error:
        if (found := misspelt(command, readable)) is not None:
            raise found from error
        raise


@contextmanager
def _ending(command: str, composing: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Exits with one line on stderr where what is inside ends by anything but a bug."""
    try:
        yield
    except CommandEnd:
        raise
    except BaseException as error:
        from uniseg.commands.failures import READER_GONE, end_of

        if isinstance(error, BrokenPipeError) and not _stdout_is_read():
            raise CommandEnd(READER_GONE) from error
        end = end_of(error, command, composing=composing())
        if end is None:
            raise
        sys.stderr.write(f"{end.line}\n")
        raise CommandEnd(end.code, end.line) from error


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
        from uniseg.commands.failures import Terminated

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
    yield
