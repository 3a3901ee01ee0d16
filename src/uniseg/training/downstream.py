"""Training that begins with a trained network."""

from lightning import Callback, LightningModule, Trainer
from torch import nn

from uniseg.models.uniseg import UniSegModel
from uniseg.sampling.batch import Batch
from uniseg.training.segmentation import SegmentationModule


class DownstreamModule(SegmentationModule):
    """Fine-tuning: as upstream, with learning rates that may fall with the distance from the head.

    Args:
        layer_decay: factor from each stage to the one before it; 1: one learning rate.
        others: of ``SegmentationModule``.
    """

    def __init__(self, model: UniSegModel, *, layer_decay: float, **others: object) -> None:
        super().__init__(model, **others)
        self.layer_decay = layer_decay

    def trained_parameters(self) -> list:
        if self.layer_decay == 1:
            return super().trained_parameters()
        highest = self.make_optimizer.keywords["lr"]
        groups = []
        for distance, parts in enumerate(stages_from_head(self.model)):
            parameters = [p for part in parts for p in part.parameters() if p.requires_grad]
            if parameters:
                groups.append({"params": parameters, "lr": highest * self.layer_decay**distance})
        return groups


def stages_from_head(model: UniSegModel) -> list[list[nn.Module]]:
    """The parts of the network by their distance from the head, which is the first with what was added; every part
    once.
    """
    return [
        [model.head, model.added],
        *([stage] for stage in model.decoder.stages),
        [model.conditioning],
        *([stage] for stage in reversed(model.encoder.stages)),
        [model.stem],
    ]


class HeadsFirst(Callback):
    """Lets only the head train until ``num_steps`` steps are done; a run that goes on does the same."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self._others: list[nn.Parameter] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimiser is made by then, with all that trains in the end."""
        head = {id(p) for p in pl_module.model.head.parameters()}
        self._others = [p for p in pl_module.model.parameters() if p.requires_grad and id(p) not in head]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        for p in self._others:
            p.requires_grad_(trainer.global_step >= self.num_steps)
