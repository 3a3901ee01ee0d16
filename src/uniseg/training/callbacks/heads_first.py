"""Trains the head alone for the first steps."""

from lightning import Callback, LightningModule, Trainer
from torch import nn

from uniseg.sampling.batch import Batch


class HeadsFirst(Callback):
    """Lets only the head train until ``num_steps`` steps are done; a resumed run does the same.

    Examples:
        >>> HeadsFirst(100).num_steps
        100
    """

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self._others: list[nn.Parameter] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimiser is made by then, with all parameters that train in the end."""
        head = {id(p) for p in pl_module.model.head.parameters()}
        self._others = [p for p in pl_module.model.parameters() if p.requires_grad and id(p) not in head]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        for p in self._others:
            p.requires_grad_(trainer.global_step >= self.num_steps)
