"""What is averaged over windows for a task: its scores, or the features that they are a matrix of."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.models.heads.base import Readout, label_scores
from uniseg.models.uniseg import Encoded, UniSegModel
from uniseg.task import Task


@dataclass(frozen=True)
class Carrier:
    """Of one task.

    Averaging and linear interpolation commute with a matrix, so the narrower of features and scores is held; memory
    does not grow with classes.

    Attributes:
        position: of the task in the model.
        readouts: of every network of the ensemble, from features to the scores of label values; None where the head has
            no such matrix.
        holds_features: whether features are held.
        channels: of what is held.
    """

    task: Task
    position: int
    readouts: tuple[Readout | None, ...]
    holds_features: bool
    channels: int

    def of_window(self, member: int, model: UniSegModel, encoded: Encoded) -> Tensor:
        """``[N,channels,Z,Y,X]`` float32, of network number ``member``."""
        readout = self.readouts[member]
        if readout is None:
            logits = model.decode(encoded, torch.full((len(encoded.bottleneck),), self.position))[0]
            return label_scores(logits, self.task)
        features = model.finest(encoded, self.position).float()
        return features if self.holds_features else _times(readout, features)

    def scores(self, held: Tensor) -> Tensor:
        """``[channels,...]`` -> the scores of label values ``[V,...]``."""
        return _times(self.readouts[0], held[None])[0] if self.holds_features else held


def make_carrier(models: Sequence[UniSegModel], position: int, *, features_allowed: bool) -> Carrier:
    """
    Args:
        models: an ensemble; of more than one network scores are held, since their features mean different things.
        features_allowed: False where some windows may be left out, whose scores are known but whose features are not.

    Raises:
        InputError: the matrix of a head holds NaN or infinity.
    """
    task = models[0].tasks[position]
    logits = [model.readout(position) for model in models]
    readouts = tuple(None if own is None else own.of_labels(task) for own in logits)
    if not all(own is None or bool(torch.isfinite(own.weight.sum() + own.bias.sum())) for own in readouts):
        found, fix = "NaN or infinity in the weights of the head", "take an earlier checkpoint"
        raise InputError(f"task '{task.name}'", found, "finite weights", fix)
    first = readouts[0]
    if first is not None and len(models) == 1 and features_allowed and first.weight.shape[1] < task.num_labels:
        return Carrier(task, position, readouts, True, first.weight.shape[1])
    return Carrier(task, position, readouts, False, task.num_labels)


def _times(readout: Readout, features: Tensor) -> Tensor:
    """``[N,C,...]`` -> ``[N,V,...]``."""
    product = torch.einsum("vc,nc...->nv...", readout.weight.float(), features)
    return product + readout.bias.float().view(1, -1, *(1,) * (features.ndim - 2))
