"""Which labels of a teacher are accepted: the keys of ``uniseg complete``."""

from dataclasses import dataclass, field

from uniseg.settings import COUNT, NOT_NEGATIVE, bounded, check_fields, number

FRACTION = number(least=0, most=1)


@dataclass(frozen=True)
class CompletionSettings:
    """What a pseudo-label must have, and what it weighs.

    Attributes:
        least_confidence: mean softmax of the labelled voxels of each class.
        volume_slack: how far a class's volume may lie outside those of the labelled training cases: 0.25 is from
            min / 1.25 to max * 1.25.
        most_components: of a class, those below a hundredth of its volume not counted; None: as many as a labelled
            case has.
        most_overlap: fraction of a class that may lie on other structures which the dataset labels itself; those voxels
            are ignored in training.
        loss_weight: of pseudo-labelled cases beside 1 of the others.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> CompletionSettings(loss_weight=1).least_confidence
        0.85
    """

    least_confidence: float = field(default=0.85, metadata=bounded(FRACTION))
    volume_slack: float = field(default=0.25, metadata=bounded(NOT_NEGATIVE))
    most_components: int | None = field(default=None, metadata=bounded(COUNT))
    most_overlap: float = field(default=0.1, metadata=bounded(FRACTION))
    loss_weight: float = field(default=0.5, metadata=bounded(NOT_NEGATIVE))

    def __post_init__(self) -> None:
        check_fields(self)
