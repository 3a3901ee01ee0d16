"""Learning rates of fine-tuning over the steps: warm-up, or nnssl's sawtooth in which new parts learn first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from uniseg.models.uniseg import UniSegModel

TRUNK = "trunk"  # key of an optimiser's group whose weights wait for the second tooth
ENCODER_SIDE = ("stem.", "encoder.")


@dataclass(frozen=True)
class Sawtooth:
    """Two teeth (nnssl's fine-tuning of convolutional networks): first decoder, head and what else is new learn alone,
    then all of it.

    Attributes:
        ramp, alone, whole: steps at which the first tooth's ramp ends, the second tooth begins, its ramp ends.
        num_steps: of the run.
        exponent: of the fall after a ramp, counted from the end of the ramp to the end of the run.

    Examples:
        >>> teeth = Sawtooth.of([0.025, 0.05, 0.1], num_steps=1000, exponent=0.9)
        >>> [round(teeth.new_rate(step), 3) for step in (0, 25, 49, 50, 100)], teeth.trunk_rate(49)
        ([0.038, 1.0, 0.978, 0.02, 1.0], 0.0)
    """

    ramp: int
    alone: int
    whole: int
    num_steps: int
    exponent: float

    @classmethod
    def of(cls, fractions: Sequence[float], num_steps: int, exponent: float) -> "Sawtooth":
        """
        Args:
            fractions: of the steps, ascending: ends of the first ramp, the first tooth, the second ramp.
        """
        ramp, alone, whole = (round(fraction * num_steps) for fraction in fractions)
        return cls(ramp, alone, whole, num_steps, exponent)

    def new_rate(self, step: int) -> float:
        """Factor on the learning rate of what is new."""
        start, end = (0, self.ramp) if step < self.alone else (self.alone, self.whole)
        return ramp_then_poly(step - start, end - start, self.num_steps - start, self.exponent)

    def trunk_rate(self, step: int) -> float:
        """Factor on the learning rate of what came from the base."""
        return 0.0 if step < self.alone else self.new_rate(step)

    def schedule(self, optimizer: Optimizer) -> LambdaLR:
        """Of an optimiser with groups of ``split_groups``."""
        return LambdaLR(
            optimizer, [self.trunk_rate if group.get(TRUNK) else self.new_rate for group in optimizer.param_groups]
        )


def warm_up(optimizer: Optimizer, num_steps: int, *, fraction: float, exponent: float) -> LambdaLR:
    """All weights ramp over a fraction of the steps, then fall; for transformers, which a sawtooth does not help."""
    ramp = round(fraction * num_steps)
    return LambdaLR(optimizer, lambda step: ramp_then_poly(step, ramp, num_steps, exponent))


def ramp_then_poly(step: int, ramp: int, num_steps: int, exponent: float) -> float:
    """Linear to 1, then ``(1 - progress) ** exponent`` with the progress from the end of the ramp."""
    if step < ramp:
        return (step + 1) / (ramp + 1)
    return max(0.0, 1 - (step - ramp) / max(1, num_steps - ramp)) ** exponent


def trunk_names(model: UniSegModel, fresh: frozenset[str]) -> set[str]:
    """Parameters of first convolutions and encoder that came from the base as they are.

    Args:
        fresh: names of the others: new ones, adapted ones.
    """
    return {name for name, _ in model.named_parameters() if name.startswith(ENCODER_SIDE) and name not in fresh}


def split_groups(
    groups: Sequence[Mapping[str, Any]], model: UniSegModel, fresh: frozenset[str]
) -> list[dict[str, Any]]:
    """Every group of an optimiser in two where it holds parameters of the trunk and others; loggers know them by
    ``name``.
    """
    named = dict(model.named_parameters())
    trunk = {id(named[name]) for name in trunk_names(model, fresh)}
    halves = []
    for number, group in enumerate(groups):
        for is_trunk in (False, True):
            parameters = [p for p in group["params"] if (id(p) in trunk) is is_trunk]
            if parameters:
                name = f"{TRUNK if is_trunk else 'new'}{number if len(groups) > 1 else ''}"
                halves.append({**group, "params": parameters, TRUNK: is_trunk, "name": name})
    return halves
