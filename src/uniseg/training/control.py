"""Settings of a fine-tuning as a whole, and whether new weights are trained beside it."""

from dataclasses import dataclass, field

from uniseg.settings import COUNT, Bound, bounded, check_fields, word

LIKE_BASE, OWN, AUTO = "like_base", "own", "auto"
FEW_PATIENTS = 10  # fewer of them: a control by default
SWITCH = Bound("true, false", lambda value: value is True or value is False)


@dataclass(frozen=True)
class FinetuneSettings:
    """What ``uniseg.finetune`` is told beside what every training is told.

    Attributes:
        base: the trained network: a checkpoint, an exported folder, a file of another project; None: that of ``init``.
        num_patients: for training, drawn by the seed; None: as ``data.num_patients``.
        plan: spacing and normalisation ``like_base`` where the modality is the same, or the tasks' ``own``.
        network: encoder, decoder, conditioning and head ``like_base`` where its file describes them, or the
            configuration's ``own``.
        repeats: trainings of each of the two, with the seeds from the run's on; judged by their means.
        control: whether new weights are trained beside it; ``auto``: for fewer than ten training patients.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> FinetuneSettings(base="outputs/demo/checkpoints/last.ckpt").wants_control(num_patients=2)
        True
    """

    base: str | None = None
    num_patients: int | None = field(default=None, metadata=bounded(COUNT))
    plan: str = field(default=LIKE_BASE, metadata=bounded(word(LIKE_BASE, OWN)))
    network: str = field(default=LIKE_BASE, metadata=bounded(word(LIKE_BASE, OWN)))
    repeats: int = field(default=1, metadata=bounded(COUNT))
    control: bool | str = field(default=AUTO, metadata=bounded(word(AUTO) | SWITCH))

    def __post_init__(self) -> None:
        check_fields(self)

    def wants_control(self, num_patients: int) -> bool:
        """For so many training patients of all tasks together."""
        return num_patients < FEW_PATIENTS if self.control == AUTO else bool(self.control)
