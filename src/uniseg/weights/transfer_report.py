"""What a run began with, on the disk: which numbers train, which came from another network, and how."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from uniseg.files import read_record, require_text, write_json
from uniseg.weights.norm_restoring import RestoredNorms


@dataclass(frozen=True)
class TransferReport:
    """What became of every tensor.

    Attributes:
        loaded: names that were taken as they are.
        adapted: name -> the rule that made it fit.
        missing: names of the target that keep their new weights -> why.
        skipped: names of the source that were not used -> why.
        coverage: fraction of the target's numbers that came from the source.

    Examples:
        >>> report = TransferReport("base.ckpt", "uniseg", "CC BY 4.0", ("stem",), {}, {}, {}, coverage=1.0)
        >>> report.lines()[1]
        'loaded: 1 tensors'
    """

    source: str
    kind: str
    licence: str
    loaded: tuple[str, ...]
    adapted: Mapping[str, str]
    missing: Mapping[str, str]
    skipped: Mapping[str, str]
    coverage: float

    def lines(self) -> list[str]:
        """For a person: counts, then what is not simply loaded, one reason per line."""
        parts = [
            f"{self.coverage:.1%} of the numbers from {self.source} ({self.kind}); licence of its data: {self.licence}",
            f"loaded: {len(self.loaded)} tensors",
        ]
        for title, named in (("adapted", self.adapted), ("new", self.missing), ("not used", self.skipped)):
            reasons: dict[str, list[str]] = {}
            for name, reason in named.items():
                reasons.setdefault(reason, []).append(name)
            parts += [f"{title}: {len(names)} tensors, {reason} ({_shown(names)})" for reason, names in reasons.items()]
        return parts

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """
        Raises:
            KeyError, TypeError, ValueError: an entry is missing, or of another type.
        """
        texts = {key: require_text(values[key]) for key in ("source", "kind", "licence")}
        named = {
            key: {require_text(name): require_text(reason) for name, reason in values[key].items()}
            for key in ("adapted", "missing", "skipped")
        }
        return cls(
            **texts, loaded=tuple(map(require_text, values["loaded"])), **named, coverage=float(values["coverage"])
        )


@dataclass(frozen=True)
class WeightsReport:
    """The weights of a run before its first step.

    Attributes:
        trained, total: numbers that train, numbers in all.
        transfer: None where nothing came from another network.
        restored: None where no norm was restored.

    Examples:
        >>> WeightsReport(trained=8, total=10, transfer=None).transfer is None
        True
    """

    trained: int
    total: int
    transfer: TransferReport | None
    restored: RestoredNorms | None = None

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """
        Raises:
            InputError: no file of ``write``.
        """
        return read_record(path, cls._of, "weights.json of uniseg.train", "restore the file, or remove it")

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        transfer, restored = values["transfer"], values.get("restored")
        counts = {key: int(values[key]) for key in ("trained", "total")}
        return cls(
            **counts,
            transfer=None if transfer is None else TransferReport.from_dict(transfer),
            restored=None if restored is None else RestoredNorms.from_dict(restored),
        )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f", {len(names) - 3} more" if len(names) > 3 else "")
