"""A cross-validation: what it is told, what it was begun with, what its folds say together."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from uniseg.datasets.dataset import Dataset
from uniseg.errors import InputError
from uniseg.evaluation.choose_postprocessing import choose_postprocessing
from uniseg.evaluation.predictions import FILE_VALUES, TASK_VALUES
from uniseg.files import content_hash, read_record, require_text, write_json
from uniseg.inference.postprocessing import Choice, read_choices, write_postprocessing
from uniseg.renamed import renamed_settings
from uniseg.run_folder import CrossvalFolder
from uniseg.settings import COUNT, NOT_NEGATIVE, STEPS, bounded, check_fields, sequence, word
from uniseg.weights.ensemble import load_ensemble, postprocessing_of, save_ensemble
from uniseg.weights.hashing import checkpoint_hash

KIND = "uniseg cross-validation"
VAL = "val"
LONGEST = 80  # characters of a value in a message


@dataclass(frozen=True)
class CrossvalSettings:
    """What ``uniseg.crossval`` is told beside what every training is told.

    Attributes:
        folds: those that this call works on, without what is made of all of them; None: all, with that.
        parallel: folds side by side, each in a process of its own.
        nnunet_folds: another tool's on the same cases: nnU-Net's results folder of the dataset, a folder that was
            scored, a list of either, or such by task.
        predictions_use: whose values the label maps of ``nnunet_folds`` hold, as of ``uniseg.evaluate``.
        margin: what may be lost against the others and still count as not inferior, in Dice.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> CrossvalSettings(folds=(2,)).parallel
        1
    """

    folds: tuple[int, ...] | None = field(default=None, metadata=bounded(sequence(STEPS, distinct=True)))
    parallel: int = field(default=1, metadata=bounded(COUNT))
    nnunet_folds: Any = field(default=None, metadata={"text": True})
    predictions_use: str | None = field(default=None, metadata=bounded(word(TASK_VALUES, FILE_VALUES)))
    margin: float = field(default=0.02, metadata=bounded(NOT_NEGATIVE))

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class CrossvalRecord:
    """What the folder of a cross-validation was begun with.

    Attributes:
        settings: by dotted key, all that would make its folds differ.
        version: of uniseg, since another one has other keys.

    Examples:
        >>> CrossvalRecord("demo", 5, {"seed": 0}, "1").difference(CrossvalRecord("demo", 5, {"seed": 1}, "1"))
        ('seed', '0', '1')
    """

    name: str
    num_folds: int
    settings: Mapping[str, Any]
    version: str

    def difference(self, begun: "CrossvalRecord") -> tuple[str, str, str] | None:
        """The first setting that is not as it was: its key, its value, its value then."""
        keys = self.settings.keys() & begun.settings.keys()
        if self.version == begun.version:
            keys = self.settings.keys() | begun.settings.keys()
        for key in sorted(keys):
            value, former = self.settings.get(key), begun.settings.get(key)
            if value != former:
                return key, _shorten(value), _shorten(former)
        return None

    def write(self, path: Path) -> None:
        write_json(path, {"kind": KIND, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """
        Raises:
            InputError: no file of ``write``.
        """
        return read_record(path, cls._of, "crossval.json of uniseg.crossval", "give another name=")

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        if values["kind"] != KIND:
            raise ValueError(f"kind {values['kind']!r:.60}")
        return cls(
            require_text(values["name"]),
            int(values["num_folds"]),
            renamed_settings(values["settings"]),
            str(values["version"]),
        )


def begin(folder: CrossvalFolder, record: CrossvalRecord) -> None:
    """Write down what a cross-validation is begun with, or hold it against what was written down.

    Raises:
        InputError: it was begun with other settings, or something else is in the folder.
    """
    if not folder.record.exists():
        record.write(folder.record)
        return
    changed = record.difference(CrossvalRecord.read(folder.record))
    if changed is not None:
        key, value, former = changed
        fix = "continue it as it was begun, or give another name="
        raise InputError(folder.path, f"{key} {value}", f"{former}, with which it was begun", fix)


def fold_weights(folder: CrossvalFolder, number: int) -> str | None:
    """Hash of the checkpoint of a fold that is trained to its end; None of another."""
    trained, checkpoint = folder.trained(number), folder.fold(number).checkpoint
    if not (trained.exists() and checkpoint.exists()):
        return None
    weights = read_record(
        trained, lambda values: str(values["checkpoint"]), "trained.json of uniseg.crossval", "remove it"
    )
    return weights if checkpoint_hash(checkpoint) == weights else None


def choose_out_of_fold(folder: CrossvalFolder, datasets: Sequence[Dataset], weights: Mapping[int, str]) -> list[Choice]:
    """The postprocessing that the out-of-fold predictions of all folds together want; chosen once, then read.

    Args:
        weights: fold -> hash of its checkpoint.
    """
    path, joined = folder.pooled.postprocessing, "+".join(weights.values())
    choices = read_choices(path, joined)
    if choices is None:
        choices = choose_postprocessing(datasets, {number: folder.fold(number).evaluation(VAL) for number in weights})
        write_postprocessing(choices, joined, path)
    return choices


def write_ensemble(folder: CrossvalFolder, weights: Mapping[int, str]) -> None:
    """All folds as one, with the postprocessing that was chosen on them together; left where it is there.

    Args:
        weights: fold -> hash of its checkpoint.
    """
    chosen = folder.pooled.postprocessing
    if folder.ensemble.exists():
        brought = postprocessing_of(folder.ensemble)
        if brought is not None and brought.exists() and content_hash(brought) == content_hash(chosen):
            return  # it names the weights too
        shutil.rmtree(folder.ensemble)
    models = load_ensemble([folder.fold(number).checkpoint for number in weights])
    save_ensemble(models, folder.ensemble, [f"fold_{number}" for number in weights], chosen.read_bytes())


def _shorten(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
