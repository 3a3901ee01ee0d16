"""Learning rates over the steps of a run."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def poly(optimizer: Optimizer, num_steps: int, *, exponent: float, warmup_steps: int, hold_steps: int) -> LambdaLR:
    """``(1 - progress) ** exponent`` after a linear warm-up.

    Progress goes up once every ``hold_steps`` steps: 1 changes the rate at every step; the number of steps per epoch
    gives nnU-Net's rate, constant inside an epoch.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return max(0.0, 1 - step // hold_steps * hold_steps / num_steps) ** exponent

    return LambdaLR(optimizer, factor)
