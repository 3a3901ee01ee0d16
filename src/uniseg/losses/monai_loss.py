"""Any loss of MONAI, computed for each sample over its own classes."""

from collections.abc import Callable, Sequence
from inspect import signature

import torch
from torch import Tensor, nn

from uniseg.device_copy import to_device
from uniseg.task import IGNORE, Task


class MonaiLoss(nn.Module):
    """A MONAI loss that sees of each sample the classes of its task alone, in float32.

    Classes that exclude each other enter through a softmax, with the background where the loss is to count it. Regions
    enter one by one through a sigmoid and are averaged. Voxels labelled -1 are left out; where there are some, the
    others form a line, which losses that measure distances cannot take.

    Args:
        loss: makes the MONAI loss, of logits and a target of the same shape; it gets ``softmax`` or ``sigmoid`` (or
            ``use_softmax``), or else probabilities, and ``include_background`` where it has it.
        include_background: whether the background of exclusive classes counts as a class.

    Examples:
        >>> from monai.losses import DiceLoss
        >>> from uniseg.task import Normalization
        >>> task = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> MonaiLoss(DiceLoss)(torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 4, 4, 4), [task]).shape
        torch.Size([1])
    """

    def __init__(self, loss: Callable[..., nn.Module], *, include_background: bool = False) -> None:
        super().__init__()
        exclusive, regions = _activations(loss)
        background = "include_background" in signature(loss).parameters
        self.exclusive = loss(**exclusive, **({"include_background": include_background} if background else {}))
        self.regions = loss(**regions, **({"include_background": True} if background else {}))
        self.takes_logits = bool(exclusive)

    def forward(self, logits: Tensor, label: Tensor, tasks: Sequence[Task]) -> Tensor:
        """``logits [B,K,Z,Y,X]``, ``label [B,Z,Y,X]`` label values, B tasks -> one loss per sample ``[B]``."""
        samples = zip(logits.float(), label.long(), tasks, strict=True)
        return torch.stack([self._sample(*sample) for sample in samples])

    def _sample(self, logits: Tensor, label: Tensor, task: Task) -> Tensor:
        logits = logits[1 if task.regions else 0 : task.num_classes]
        valid = label != IGNORE
        if not valid.all():
            logits, label = logits[:, valid], label[valid]
        if not label.numel():
            return logits.sum()  # 0, with a gradient
        target = _one_hot(label, task).to(logits.dtype)
        if not self.takes_logits:
            logits = logits.sigmoid() if task.regions else logits.softmax(0)
        if task.regions:
            return self.regions(logits[:, None], target[:, None])
        return self.exclusive(logits[None], target[None])


def _activations(loss: Callable[..., nn.Module]) -> tuple[dict[str, bool], dict[str, bool]]:
    """The keywords with which a loss takes logits, of exclusive classes and of regions; none where it takes
    probabilities.
    """
    parameters = signature(loss).parameters
    if "use_softmax" in parameters:
        return {"use_softmax": True}, {"use_softmax": False}
    return ({"softmax": True}, {"sigmoid": True}) if "softmax" in parameters else ({}, {})


def _one_hot(label: Tensor, task: Task) -> Tensor:
    """Label values ``[...]`` -> ``[classes,...]``, of regions without the background."""
    if task.regions:
        return to_device(task.membership, label.device).T[:, label]
    return nn.functional.one_hot(label, task.num_classes).movedim(-1, 0)
