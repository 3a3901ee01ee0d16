"""What is averaged over windows for a task: its scores, or the features that they are a matrix of."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uniseg.models.heads.base import Readout, label_scores
from uniseg.models.uniseg import Encoded, UniSegModel
from uniseg.task import Task


@dataclass(frozen=True)
class Carrier:
    """Of one task. Averaging and linear interpolation commute with a matrix, so the narrower of features and scores is held; memory does not grow with classes.

    Attributes:
        position: of the task in the model.
        readout: from features to the scores of label values; None where the head has no such matrix.
        holds_features: whether features are held.
        channels: of what is held.
    """

    task: Task
    position: int
    readout: Readout | None
    holds_features: bool
    channels: int

    def of_window(self, model: UniSegModel, encoded: Encoded) -> Tensor:
        """``[N,channels,Z,Y,X]`` float32."""
        if self.readout is None:
            logits = model.decode(encoded, torch.full((len(encoded.bottleneck),), self.position))[0]
            return label_scores(logits, self.task)
        features = model.finest(encoded, self.position).float()
        return features if self.holds_features else _times(self.readout, features)

    def scores(self, held: Tensor) -> Tensor:
        """``[channels,...]`` -> the scores of label values ``[V,...]``."""
        return _times(self.readout, held[None])[0] if self.holds_features else held


def make_carrier(model: UniSegModel, position: int, *, features_allowed: bool) -> Carrier:
    """
    Args:
        features_allowed: False where some windows may be left out, whose scores are known but whose features are not.
    """
    task = model.tasks[position]
    logits = model.readout(position)
    readout = None if logits is None else logits.of_labels(task)
    if readout is not None and features_allowed and readout.weight.shape[1] < task.num_labels:
        return Carrier(task, position, readout, True, readout.weight.shape[1])
    return Carrier(task, position, readout, False, task.num_labels)


def _times(readout: Readout, features: Tensor) -> Tensor:
    """``[N,C,...]`` -> ``[N,V,...]``."""
    product = torch.einsum("vc,nc...->nv...", readout.weight.float(), features)
    return product + readout.bias.float().view(1, -1, *(1,) * (features.ndim - 2))
