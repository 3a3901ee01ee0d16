"""What a service knows of uploads and jobs, as its journal keeps it: one JSON file each, written whole."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from uniseg.files import read_record, write_json

QUEUED, RUNNING, DONE, FAILED, LOST = "queued", "running", "done", "failed", "lost"
UNFINISHED = (QUEUED, RUNNING)
MOST_ATTEMPTS = 2  # of a job during which the service was killed: what kills it once more is not tried again
AUTO = "auto"
Record = TypeVar("Record", "Upload", "Job")


@dataclass(frozen=True)
class Upload:
    """A scan, or one channel of it, that a client sent.

    Attributes:
        name: what the client calls it; shown in messages, never a part of a path.
        scan: file or folder of the scan within the upload's own folder, named by us.
        num_bytes: on the disk.
        used: when it was last asked for, in seconds since 1970.

    Examples:
        >>> Upload("4f", "ct.nii.gz", "scan.nii.gz", 2048, 1.7e9).name
        'ct.nii.gz'
    """

    id: str
    name: str
    scan: str
    num_bytes: int
    used: float


@dataclass(frozen=True)
class Result:
    """A label map that a job wrote.

    Attributes:
        path: within the job's own folder.
        ending: of the format, ``.nii.gz`` for instance.
        values: the label values of each class.
        volumes_ml: of each class.

    Examples:
        >>> Result("liver", "out/liver/scan.nii.gz", ".nii.gz", 700, {"liver": [1]}, {"liver": 1503.2}).task
        'liver'
    """

    task: str
    path: str
    ending: str
    num_bytes: int
    values: Mapping[str, list[int]]
    volumes_ml: Mapping[str, float]


@dataclass(frozen=True)
class Job:
    """What is to be computed, and what became of it.

    Attributes:
        images: ids of uploads: one, or one per name in ``modality``.
        modality: what the channels are, in order; empty: guessed from header and values.
        tasks: names, or ``("auto",)``.
        series: number or UID of the one in a zip of several DICOM series.
        format: of the label maps.
        state: queued, running, done, failed, or lost: the service was killed, and it cannot be done again.
        attempts: how often it was begun.
        error: why it failed or was lost, in one line.
        notes: what the scan was taken for, what is doubtful about it.

    Examples:
        >>> Job("7c", images=("4f",), tasks=("liver",), created=1.7e9).is_finished
        False
    """

    id: str
    images: tuple[str, ...]
    tasks: tuple[str, ...]
    created: float
    modality: tuple[str, ...] = ()
    series: str | None = None
    format: str = "nifti"
    state: str = QUEUED
    attempts: int = 0
    finished: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()
    results: tuple[Result, ...] = field(default=())

    @property
    def is_finished(self) -> bool:
        return self.state not in UNFINISHED

    @property
    def num_bytes(self) -> int:
        return sum(result.num_bytes for result in self.results)


def write_record(folder: Path, record: "Upload | Job") -> None:
    """Into the record's own folder."""
    write_json(folder / f"{type(record).__name__.lower()}.json", asdict(record))


def read_folder(folder: Path, kind: type[Record]) -> Record:
    """The record of a folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    hints, path = get_type_hints(kind), folder / f"{kind.__name__.lower()}.json"

    def make(content: dict[str, Any]) -> Record:
        values = {each.name: content[each.name] for each in fields(kind)}
        texts = {name: tuple(value) for name, value in values.items() if hints[name] == tuple[str, ...]}
        results = {"results": tuple(Result(**each) for each in values["results"])} if "results" in values else {}
        return kind(**(values | texts | results))

    return read_record(path, make, f"the record of {kind.__name__.lower()}s that uniseg serve wrote", "remove it")
