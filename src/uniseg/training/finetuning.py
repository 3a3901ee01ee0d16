"""What fine-tuning changes of a trained network, and how fast."""

from dataclasses import dataclass, field
from typing import ClassVar

from uniseg.errors import InputError
from uniseg.settings import CHANNELS, STEPS, bounded, check_fields, number, word

ALL, ADDED = "all", "added"


@dataclass(frozen=True)
class FineTuning:
    """What becomes of the weights of ``init.checkpoint``.

    Attributes:
        extend: its network stays and gets the run's new tasks; otherwise its weights go into the network of the
            configuration.
        adapter_channels: width of the adapters after the decoder's stages, where ``extend`` is true.
        trained: ``all``, or with ``extend`` ``added``: only what is added trains.
        freeze_encoder: first convolutions and encoder keep their weights.
        heads_first_steps: steps in which only the head trains.
        layer_decay: factor on the learning rate from each stage to the one before it, counted from the head; 1: none.

    Raises:
        InputError: a value out of bounds, or an addition to train without one.

    Examples:
        >>> FineTuning(extend=True, trained="added").layer_decay
        1.0
    """

    group: ClassVar[str] = "finetune"

    extend: bool = False
    adapter_channels: int = field(default=4, metadata=bounded(CHANNELS))
    trained: str = field(default=ALL, metadata=bounded(word(ALL, ADDED)))
    freeze_encoder: bool = False
    heads_first_steps: int = field(default=0, metadata=bounded(STEPS))
    layer_decay: float = field(default=1.0, metadata=bounded(number(above=0, most=1)))

    def __post_init__(self) -> None:
        check_fields(self)
        if self.trained == ADDED and not self.extend:
            raise InputError(
                f"{self.group}.trained",
                f"'{self.trained}'",
                f"{ALL}, or {ADDED} with {self.group}.extend=true",
                f"choose {self.group}=full or prompt_only",
            )
