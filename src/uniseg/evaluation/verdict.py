"""Whether fine-tuning helped: a run against new weights trained the same way, on whole val cases."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from uniseg.evaluation.records import Score
from uniseg.files import read_record, require_text, write_json
from uniseg.metrics.paired import Interval, by_patient, mean_interval, unseen_fraction
from uniseg.metrics.training_luck import luck_of_trainings, with_luck

HELPED, HARMED, UNDECIDED = "helped", "harmed", "undecided"
FEWEST_PATIENTS = 5  # val patients that an interval is made for


@dataclass(frozen=True)
class Verdict:
    """What the control run says of a fine-tuning.

    The difference is the mean over val patients of the Dice with the base minus that of new weights; the interval,
    95 %, covers which patients were drawn and the luck of the trainings (``luck_of_trainings``), not what no val
    patient shows (``unseen_fraction``).

    Attributes:
        outcome: helped, harmed where the interval excludes 0; else undecided.
        reason: why it is undecided, where more patients or trainings may decide; else empty.
        fine_tuned, control: Dice by val patient, mean over its classes and cases.
        interval: None for fewer than five patients.
        use: checkpoint to use.
        num_trainings: of each of the two, whose mean a patient's Dice is.
        caveat: what the verdict rests on unproved; empty where it is all known.

    Examples:
        >>> fine_tuned, control = ({str(k): dice + k / 100 for k in range(5)} for dice in (0.7, 0.5))
        >>> verdict = judge([fine_tuned], [control], ("run/last.ckpt", "run/control/last.ckpt"))
        >>> verdict.outcome, round(verdict.difference, 3), verdict.use
        ('helped', 0.2, 'run/last.ckpt')
    """

    outcome: str
    reason: str
    use: str
    fine_tuned: Mapping[str, float] = field(default_factory=dict)
    control: Mapping[str, float] = field(default_factory=dict)
    interval: Interval | None = None
    num_trainings: int = 1
    caveat: str = ""

    @property
    def num_patients(self) -> int:
        return len(self.control)

    @property
    def means(self) -> tuple[float, float]:
        """Of the fine-tuned network, of the control; NaN without patients."""
        return tuple(float(np.mean(list(dice.values()) or [np.nan])) for dice in (self.fine_tuned, self.control))  # type: ignore[return-value]

    @property
    def difference(self) -> float:
        fine_tuned, control = self.means
        return fine_tuned - control

    def line(self) -> str:
        """For a person: outcome, numbers, what to use."""
        if not self.num_patients:
            return f"{self.outcome}: {self.reason}; use {self.use}"
        fine_tuned, control = self.means
        numbers = f"val Dice {fine_tuned:.3f} fine-tuned, {control:.3f} from new weights, {self.difference:+.3f}"
        if self.interval is None:
            told = f"({self.reason})"
        else:
            unseen = f"which may not show what befalls up to {100 * unseen_fraction(self.num_patients):.0f} % of all"
            trainings = f"{self.num_trainings} training{'s' if self.num_trainings > 1 else ''} each"
            told = f"(95 % interval {self.interval.text}, {trainings}, {self.num_patients} patients, {unseen})"
            told += f" ({self.reason})" if self.reason else ""
        caveat = f" ({self.caveat})" if self.caveat else ""
        return f"{self.outcome}: {numbers} {told}; use {self.use}{caveat}"

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """
        Raises:
            InputError: no file of ``write``.
        """
        return read_record(path, cls._of, "verdict.json of uniseg.finetune", "fine-tune again")

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        texts = {key: require_text(values[key]) for key in ("outcome", "reason", "use")}
        dice = {
            key: {require_text(name): float(value) for name, value in values[key].items()}
            for key in ("fine_tuned", "control")
        }
        if texts["outcome"] not in (HELPED, HARMED, UNDECIDED) or dice["fine_tuned"].keys() != dice["control"].keys():
            raise ValueError("an unknown outcome, or other patients for the control")
        interval = values["interval"]
        limits = None if interval is None else Interval(float(interval["low"]), float(interval["high"]))
        trainings, caveat = int(values.get("num_trainings", 1)), require_text(values.get("caveat", ""))
        return cls(**texts, **dice, interval=limits, num_trainings=trainings, caveat=caveat)


def judge(
    fine_tuned: Sequence[Mapping[str, float]], control: Sequence[Mapping[str, float]], checkpoints: tuple[str, str]
) -> Verdict:
    """The verdict on the Dice of the same val patients.

    Args:
        fine_tuned, control: of each training, in pairs.
        checkpoints: of the fine-tuned network, of the control.
    """
    tuned, new = mean_dice(fine_tuned), mean_dice(control)
    patients = sorted(tuned.keys() & new.keys())
    tuned, new = ({patient: each[patient] for patient in patients} for each in (tuned, new))
    difference = np.array([tuned[patient] - new[patient] for patient in patients])
    outcome, reason, interval = UNDECIDED, "", None
    if len(patients) < FEWEST_PATIENTS:
        number = "1 val patient" if len(patients) == 1 else f"{len(patients)} val patients"
        reason = f"{number}, fewer than the {FEWEST_PATIENTS} that an interval needs"
    else:
        of_patients = mean_interval(difference)
        pairs = zip(fine_tuned, control, strict=True)
        luck = luck_of_trainings([float(np.mean([a[name] - b[name] for name in patients])) for a, b in pairs])
        interval = with_luck(of_patients, float(difference.mean()), luck)
        outcome = _outcome(interval)
        if outcome != _outcome(of_patients):
            reason = f"two trainings of one kind may differ by as much; repeats={2 * len(control) + 1} may decide"
    worse = bool(len(difference) and difference.mean() < 0)
    return Verdict(outcome, reason, checkpoints[worse], tuned, new, interval, len(control))


def _outcome(interval: Interval) -> str:
    return HELPED if interval.low > 0 else HARMED if interval.high < 0 else UNDECIDED


def dice_by_patient(scores: Sequence[Score]) -> dict[str, float]:
    """Mean over all classes and cases of a patient that have a Dice."""
    known = [score for score in scores if not np.isnan(score.dice)]
    patients, values = by_patient([score.patient_id for score in known], [score.dice for score in known])
    return dict(zip(patients, values.tolist(), strict=True))


def mean_dice(trainings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each patient that all trainings have, over them."""
    patients = set.intersection(*(set(dice) for dice in trainings))
    return {patient: float(np.mean([dice[patient] for dice in trainings])) for patient in sorted(patients)}
