"""Talks to a server of uniseg; knows nothing of Slicer, so that it is tested without.

Slicer's Python is 3.9 or newer.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLIENT = "uniseg_client.py"
HERE = Path(__file__).resolve()
PLACES = (HERE.with_name(CLIENT), HERE.parents[4] / "src/uniseg/service" / CLIENT)  # where CMake copied it; a checkout


def _load_client():
    path = next(path for path in PLACES if path.is_file())
    spec = importlib.util.spec_from_file_location("uniseg_client", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_client = _load_client()
Client, ServiceError = _client.Client, _client.ServiceError

NRRD = "nrrd"  # .seg.nrrd, which holds names, colours and codes
CANCELLED = "cancelled"


class CancelledError(Exception):
    """The user pressed Cancel."""


@dataclass(frozen=True)
class TaskRow:
    """A task as the panel lists it.

    Attributes:
        classes: names with their colours, 0 to 1.
    """

    name: str
    modalities: tuple[str, ...]
    optional: tuple[str, ...]
    classes: tuple[tuple[str, tuple[float, float, float]], ...]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> TaskRow:
        classes = tuple((each["name"], tuple(part / 255 for part in each["colour"])) for each in answer["classes"])
        return cls(answer["name"], tuple(answer["modalities"]), tuple(answer["optional"]), classes)

    @property
    def label(self) -> str:
        return f"{self.name} ({' + '.join(self.modalities)}: {', '.join(name for name, _ in self.classes)})"

    def missing(self, modalities: Sequence[str]) -> list[str]:
        """Modalities that have to be chosen still."""
        return [each for each in self.modalities if each not in modalities and each not in self.optional]


def fetch_tasks(server: str, token: str) -> list[TaskRow]:
    """All that the server can segment.

    Raises:
        ServiceError: one line on why not.
    """
    return [TaskRow.of(each) for each in Client(server, token).tasks()["tasks"]]


@dataclass
class State:
    """Where a run is.

    Attributes:
        path: of the segmentation, once it is there.
        error: one line, once it failed; ``cancelled`` after Cancel.
    """

    stage: str = "sending"
    fraction: float = 0.0
    path: Path | None = None
    error: str = ""

    @property
    def is_finished(self) -> bool:
        return self.path is not None or bool(self.error)


@dataclass
class Run:
    """Sends volumes, waits and fetches in a thread of its own, so that the panel stays alive; ask it for its ``state``.

    Attributes:
        volumes: modality -> file, as the task names its modalities.
        folder: for the segmentation; its owner removes it.
    """

    server: str
    token: str
    task: TaskRow
    volumes: Mapping[str, Path]
    folder: Path
    state: State = field(default_factory=State)

    def __post_init__(self) -> None:
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._work, name="uniseg", daemon=True)

    def start(self) -> Run:
        if missing := self.task.missing(list(self.volumes)):
            self.state = State(error=f"choose a volume for {', '.join(missing)}")
        else:
            self._thread.start()
        return self

    def cancel(self) -> None:
        """The server is told to drop the job."""
        self._cancelled.set()

    def join(self, timeout_s: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            client = Client(self.server, self.token)
            options = {"label_map_format": NRRD, "on_progress": self._note}
            (path,) = client.run(self.volumes, self.folder, [self.task.name], **options)
            self.state = State("done", 1.0, path)
        except CancelledError:
            self.state = State(error=CANCELLED)
        except (ServiceError, OSError, ValueError) as error:
            self.state = State(error=str(error))

    def _note(self, job: Mapping[str, Any]) -> None:
        if self._cancelled.is_set():
            raise CancelledError
        stage = f"waiting, {job['position']} before it" if job["position"] else job["stage"]
        self.state = State(stage, job["fraction"])
