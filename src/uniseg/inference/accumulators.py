"""What is averaged over windows for a task: its scores, or the features that its scores are linear in."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.models.encoded import Encoded
from uniseg.models.heads.base import Readout, label_scores
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task


@dataclass(frozen=True)
class WindowAccumulator:
    """Of one task: what a window gives for the average, and how the average becomes scores.

    Averaging and linear interpolation commute with a matrix, so the narrower of features and scores is averaged; memory
    does not grow with classes.

    Attributes:
        task_index: of the task in the model.
        readouts: of every network of the ensemble, from features to the scores of label values; None where the head has
            no such matrix.
        averages_features: whether features are averaged, not scores.
        channels: of what is averaged.

    Examples:
        >>> from uniseg import Normalization, Task, UniSegModel
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> model = UniSegModel.from_preset("uniseg_tiny", [liver], patch_size=(16, 32, 32)).eval()
        >>> accumulator = make_accumulator([model], 0, features_allowed=True)
        >>> accumulator.scores(torch.zeros(accumulator.channels, 4, 4, 4)).shape[0]
        2
    """

    task: Task
    task_index: int
    readouts: tuple[Readout | None, ...]
    averages_features: bool
    channels: int

    def window_values(self, member: int, model: UniSegModel, encoded: Encoded) -> Tensor:
        """``[N,channels,Z,Y,X]`` of windows, by network number ``member``; float32, or float16 where the network
        multiplies in float16.
        """
        if self.readouts[member] is None:
            logits = model.decode(encoded, torch.full((len(encoded.bottleneck),), self.task_index))[0]
            return label_scores(logits, self.task)
        return self.feature_values(member, model.finest(encoded, self.task_index))

    def feature_values(self, member: int, features: Tensor) -> Tensor:
        """The same from what the readout reads, ``[N,C,Z,Y,X]``."""
        features = features if features.dtype is torch.float16 else features.float()
        return features if self.averages_features else _apply_readout(self.readouts[member], features)

    def scores(self, average: Tensor) -> Tensor:
        """``[channels,...]`` -> the scores of label values ``[V,...]``."""
        return _apply_readout(self.readouts[0], average[None])[0] if self.averages_features else average


def decode_together(
    accumulators: Sequence[WindowAccumulator], member: int, model: UniSegModel, window: Encoded
) -> list[Tensor]:
    """``window_values`` of one window for several tasks that the network was made for, decoded as one batch; the terms
    that they share are not copied.
    """
    tasks = torch.tensor([accumulator.task_index for accumulator in accumulators])
    if any(accumulator.readouts[member] is None for accumulator in accumulators):
        logits = model.decode(window, tasks)[0]
        return [label_scores(logits[k : k + 1], each.task) for k, each in enumerate(accumulators)]
    features = model.finest_of_tasks(window, tasks)
    return [each.feature_values(member, features[k : k + 1]) for k, each in enumerate(accumulators)]


def make_accumulator(models: Sequence[UniSegModel], task_index: int, *, features_allowed: bool) -> WindowAccumulator:
    """
    Args:
        models: an ensemble; of more than one network scores are averaged, since their features mean different things.
        features_allowed: False where some windows may be left out, whose scores are known but whose features are not.

    Raises:
        InputError: the matrix of a head holds NaN or infinity.
    """
    task = models[0].tasks[task_index]
    readouts = tuple(
        None if readout is None else readout.of_labels(task)
        for readout in (model.readout(task_index) for model in models)
    )
    for readout in readouts:
        if readout is not None and not bool(torch.isfinite(readout.weight.sum() + readout.bias.sum())):
            found, fix = "NaN or infinity in the weights of the head", "take an earlier checkpoint"
            raise InputError(f"task '{task.name}'", found, "finite weights", fix)
    first = readouts[0]
    if first is not None and len(models) == 1 and features_allowed and first.weight.shape[1] < task.num_labels:
        return WindowAccumulator(task, task_index, readouts, True, first.weight.shape[1])
    return WindowAccumulator(task, task_index, readouts, False, task.num_labels)


def _apply_readout(readout: Readout, features: Tensor) -> Tensor:
    """``[N,C,...]`` -> ``[N,V,...]`` in the type of the features."""
    weight, bias = readout.weight.to(features.dtype), readout.bias.to(features.dtype)
    with torch.autocast(features.device.type, enabled=False):
        product = torch.einsum("vc,nc...->nv...", weight, features)
    return product + bias.view(1, -1, *(1,) * (features.ndim - 2))
