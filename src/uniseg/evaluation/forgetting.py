"""How far a training changed the answers of the tasks that the network knew before, on the disk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from uniseg.files import read_record, write_json


@dataclass(frozen=True)
class TaskChange:
    """Of one task, over all windows.

    Attributes:
        largest: absolute difference of two logits.
        identical: every logit has the same bits.
        num_voxels, num_changed_voxels: how many there are, how many got another label.

    Examples:
        >>> TaskChange(largest=0.5, identical=False, num_voxels=8, num_changed_voxels=2).changed_fraction
        0.25
    """

    largest: float
    identical: bool
    num_voxels: int
    num_changed_voxels: int

    @property
    def changed_fraction(self) -> float:
        return self.num_changed_voxels / self.num_voxels


@dataclass(frozen=True)
class ForgettingReport:
    """The change of every task that the network knew before, by its name.

    Examples:
        >>> ForgettingReport({"liver": TaskChange(0.1, False, 200, 3)}).tasks["liver"].changed_fraction
        0.015
    """

    tasks: Mapping[str, TaskChange]

    def write(self, path: Path) -> None:
        write_json(path, {name: asdict(change) for name, change in self.tasks.items()})

    @classmethod
    def read(cls, path: Path) -> Self:
        """What ``write`` wrote, or what an older version did.

        Raises:
            InputError: neither.
        """
        return read_record(path, cls._of, "old_tasks.json of uniseg.train", "restore the file, or remove it")

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        return cls({name: _change(change) for name, change in values.items()})


def _change(values: Mapping[str, Any]) -> TaskChange:
    """``voxels`` and ``moved`` are the names of older files."""
    total = values["num_voxels"] if "num_voxels" in values else values["voxels"]
    changed = values["num_changed_voxels"] if "num_changed_voxels" in values else values["moved"]
    if not int(total) > 0:
        raise ValueError(f"{total!r} voxels")
    return TaskChange(float(values["largest"]), bool(values["identical"]), int(total), int(changed))
