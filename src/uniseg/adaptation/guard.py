"""Use it, or keep the base: from what can be seen without labels. Whatever is in doubt keeps the base."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from uniseg.adaptation.settings import AdaptSettings
from uniseg.preprocessing.task_statistics import ClassRange, ClassSize

USE, KEEP = "use it", "keep the base"


@dataclass(frozen=True)
class Evidence:
    """Of one answer for one task of one scan.

    Attributes:
        consistency: mean soft Dice between views that no adaptation saw, 0 to 1.
        agreement: mean Dice of the classes with the base's answer; 1 for the base itself.
        sizes: by class.

    Examples:
        >>> evidence = Evidence(0.8, 1.0, {"liver": ClassSize(1500, 1)})
        >>> round(evidence.distances({"liver": ClassRange((900, 1200), (1, 1), 1)})["liver"], 2)
        0.2
    """

    consistency: float
    agreement: float
    sizes: Mapping[str, ClassSize]

    def distances(self, ranges: Mapping[str, ClassRange]) -> dict[str, float]:
        """By class, how far it is outside the range of the training cases."""
        return {name: ranges[name].distance(size) for name, size in self.sizes.items() if name in ranges}

    def to_dict(self) -> dict[str, Any]:
        """Plain containers."""
        sizes = {name: asdict(size) for name, size in self.sizes.items()}
        return {
            "consistency": round(self.consistency, 4),
            "agreement": round(self.agreement, 4),
            "volume_ml": {name: round(size["volume_ml"], 3) for name, size in sizes.items()},
            "components": {name: size["components"] for name, size in sizes.items()},
        }


@dataclass(frozen=True)
class Verdict:
    """``use`` with the reason.

    Examples:
        >>> Verdict(False, "the views agree no better").word
        'keep the base'
    """

    use: bool
    reason: str

    @property
    def word(self) -> str:
        return USE if self.use else KEEP


def judge(
    base: Evidence, candidate: Evidence, ranges: Mapping[str, ClassRange] | None, settings: AdaptSettings
) -> Verdict:
    """
    Args:
        ranges: of the training cases; None or empty: the base does not know them, and is kept.
    """
    if not ranges:
        return Verdict(False, "the base does not know the ranges of its training cases")
    lost = [name for name, size in base.sizes.items() if size.volume_ml > 0 and not candidate.sizes[name].volume_ml]
    if lost:
        return Verdict(False, f"nothing is left of {', '.join(lost)}")
    before, after = base.distances(ranges), candidate.distances(ranges)
    moved = [name for name in after if after[name] - before[name] > settings.max_distance]
    if moved:
        return Verdict(False, f"{moved[0]} moves away from the training range, to {_size(candidate, moved[0])}")
    gain = candidate.consistency - base.consistency
    if gain < settings.min_gain:
        return Verdict(False, f"the views agree no better ({gain:+.3f})")
    repaired = max((before[name] - after[name] for name in after), default=0.0) > settings.max_distance
    if candidate.agreement < settings.min_agreement and not repaired:
        return Verdict(False, f"another answer (Dice {candidate.agreement:.2f}) than one that was plausible")
    return Verdict(True, f"views agree by {gain:+.3f} better, sizes {'nearer to' if repaired else 'within'} training's")


def judge_site(verdicts: Mapping[str, Verdict], settings: AdaptSettings) -> Verdict:
    """Of one task, from its verdict in every scan."""
    used = sum(each.use for each in verdicts.values())
    counts = f"{used} of {len(verdicts)} scans speak for it"
    return Verdict(bool(verdicts) and used >= settings.min_fraction * len(verdicts), counts)


def _size(evidence: Evidence, name: str) -> str:
    size = evidence.sizes[name]
    return f"{size.volume_ml:.3g} ml in {size.components}"
