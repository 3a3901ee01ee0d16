"""What a training is made of: its data, what its Trainer has, its name with its settings, an earlier run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger

from uniseg.datasets.source import Source
from uniseg.sampling.datamodule import UniSegDataModule


@dataclass(frozen=True)
class RunData:
    """The tasks that a run trains on.

    Attributes:
        make: data of tasks, by their names in the order of the run.
        sources: licence, homepage and citation of each task's data, where they are known.

    Examples:
        >>> RunData(("liver",), make=lambda names: UniSegDataModule(names, "outputs/cache")).task_names
        ('liver',)
    """

    task_names: Sequence[str]
    make: Callable[[Sequence[str]], UniSegDataModule]
    sources: Mapping[str, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainerParts:
    """A Trainer that is made when the folder belongs to the run.

    Attributes:
        make: called with ``callbacks``, ``logger``, ``plugins``, ``default_root_dir``.
        callbacks: those that a user may drop; what correctness needs is added.

    Examples:
        >>> TrainerParts(Trainer).make_loggers()
        []
    """

    make: Callable[..., Trainer]
    callbacks: Sequence[Callback] = ()
    make_loggers: Callable[[], list[Logger]] = list


@dataclass(frozen=True)
class RunDescription:
    """How a run is called and set.

    Attributes:
        name, title: for loggers: of the group that the run belongs to, of the run.
        seed: of first weights, patches and augmentation.
        settings: resolved configuration, in plain containers.

    Examples:
        >>> RunDescription(seed=3).name
        'run'
    """

    name: str = "run"
    title: str = "run"
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EarlierRun:
    """What becomes of a run that the folder has already.

    Attributes:
        resume_from: ``last``, the path of a checkpoint, or None.
        overwrite: whether it may be lost.

    Examples:
        >>> EarlierRun(resume_from="last").overwrite
        False
    """

    resume_from: str | None = None
    overwrite: bool = False
