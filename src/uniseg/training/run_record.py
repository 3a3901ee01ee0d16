"""What a run is recognised by when it is resumed, as its checkpoints hold it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from uniseg.datasets.split_file import with_current_splits
from uniseg.renamed import renamed_settings

KEY = "run"  # beside the network's description in a checkpoint
LONGEST = 80  # characters of a value in a message


@dataclass(frozen=True)
class RunRecord:
    """What a run is recognised by when it is resumed.

    Attributes:
        order: task names in the order of the data.
        splits: task name -> split -> case ids.
        optimizer: name of its class; empty where it is not known.
        settings: of the configuration, by dotted key.

    Examples:
        >>> RunRecord(("liver",), {}, "torch.optim.sgd.SGD", {"seed": 0}).to_dict()["order"]
        ['liver']
    """

    order: tuple[str, ...]
    splits: Mapping[str, Mapping[str, Sequence[str]]]
    optimizer: str
    settings: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers for the checkpoint."""
        splits = {name: {split: list(ids) for split, ids in cases.items()} for name, cases in self.splits.items()}
        return {
            "order": list(self.order),
            "splits": splits,
            "optimizer": self.optimizer,
            "settings": dict(self.settings),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """That of a checkpoint of this or an older version.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: an entry is missing, or of another type.
        """
        splits = {name: with_current_splits(cases) for name, cases in values["splits"].items()}
        return cls(tuple(values["order"]), splits, str(values["optimizer"]), renamed_settings(values["settings"]))

    def changed(self, settings: Mapping[str, Any]) -> list[str]:
        """``key before -> now`` for each setting that is not as it was."""
        keys = [key for key in {**self.settings, **settings} if self.settings.get(key) != settings.get(key)]
        return [f"{key} {shorten(self.settings.get(key))} -> {shorten(settings.get(key))}" for key in keys]


def class_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; tuples become lists."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def shorten(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
