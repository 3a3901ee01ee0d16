"""Whether the parts of a network still do their work: what prompts see, which channels are dead, how weights grow."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from uniseg.evaluation.prompt_files import PromptFile, are_numbers
from uniseg.models.normed_convolutions import normed_convolutions

LOW_IMAGE_SHARE = 0.01  # below it task prompts answer every scan alike
CONSTANT = 1e-4  # variance over mean square: a channel that images change by less than 1 % of its size
ROUNDING = 1e-10  # variance over mean square that is none


def image_shares(prompts: Tensor) -> tuple[Tensor, Tensor]:
    """The fraction of the task prompts' variance that comes from the image: of all tasks ``[]``, of each ``[T]``.

    With ``p[t,b,v]`` the prompt of task t on image b at voxel v, and ``m[v]`` its mean over tasks and images, the
    variance over images is ``within[t] = mean over v of var over b of p[t,b,v]``, the variance over images and tasks
    ``total[t] = mean over b, v of (p[t,b,v] - m[v])^2``. A task's share is ``within[t] / total[t]``, that of all tasks
    ``sum within / sum total``; both lie between 0, the same prompt for all images, and 1, the same prompt for all
    tasks. 0 where nothing varies. With a single task it says only whether anything varies.

    Args:
        prompts: ``[T,B,z,y,x]``, of at least two images.
    """
    flat = prompts.flatten(2).float()
    within = flat.var(1, correction=0).mean(1)
    total = (flat - flat.mean((0, 1), keepdim=True)).square().mean((1, 2))
    none = ROUNDING * flat.square().mean()
    overall = torch.where(total.mean() > none, within.sum() / total.sum(), 0)
    return overall, torch.where(total > none, within / total, 0)


def dead_channels(bottleneck: Tensor) -> Tensor:
    """The fraction of channels of ``[B,C,z,y,x]`` that are constant over images: whose variance over images, mean over
    voxels, is at most ``CONSTANT`` of their mean square.
    """
    flat = bottleneck.flatten(2).float()
    changes = flat.var(0, correction=0).mean(1)
    return (changes <= CONSTANT * flat.square().mean((0, 2))).float().mean()


def weight_growth(network: nn.Module) -> dict[str, Tensor]:
    """Of every convolution ahead of an instance norm, by name: the norm of its weights over the one that they were
    drawn with. The function is the same at any size, but an optimiser's step turns large weights less.
    """
    return {each.name: each.norm() / each.drawn_norm for each in normed_convolutions(network)}


@dataclass(frozen=True)
class NetworkHealth(PromptFile):
    """What every validation of a run measured, over its first windows: a row per validation.

    Attributes:
        tasks: ``[T]``, those with a prompt.
        layers: ``[L]``, names of the convolutions ahead of an instance norm.
        epochs, steps: ``[E]``.
        image_share, task_image_share: ``[E]``, ``[E,T]``; see ``image_shares``; NaN where there are no prompts, or
            fewer than two windows.
        dead_channels: ``[E]``; NaN for fewer than two windows.
        growth: ``[E,L]``; see ``weight_growth``.

    Examples:
        >>> health = NetworkHealth.empty(["liver"], ["stem.convs.1"])
        >>> health.append(0, 250, image_share=0.4, task_image_share=[0.4], dead_channels=0, growth=[1.5]).growth.shape
        (1, 1)
    """

    layers: np.ndarray
    epochs: np.ndarray
    steps: np.ndarray
    image_share: np.ndarray
    task_image_share: np.ndarray
    dead_channels: np.ndarray
    growth: np.ndarray

    @property
    def fits(self) -> bool:
        num = self.epochs.size
        columns = (self.epochs, self.steps, self.image_share, self.dead_channels)
        return (
            all(column.shape == (num,) for column in columns)
            and self.task_image_share.shape == (num, len(self.tasks))
            and self.layers.ndim == 1
            and self.layers.dtype.kind == "U"
            and self.growth.shape == (num, len(self.layers))
            and are_numbers(*columns, self.task_image_share, self.growth)
        )

    @property
    def last_image_share(self) -> float:
        """NaN before the first validation."""
        return float(self.image_share[-1]) if len(self.image_share) else np.nan

    def is_of(self, tasks: list[str], layers: list[str]) -> bool:
        """Whether its rows are those of a network with these tasks and layers."""
        return self.tasks.tolist() == tasks and self.layers.tolist() == layers

    def before(self, step: int) -> "NetworkHealth":
        """Without what was seen at ``step`` or later, as a run needs that resumes from an earlier step."""
        kept = self.steps < step
        return replace(self, **{name: getattr(self, name)[kept] for name in ROWS})

    def append(self, epoch: int, step: int, **measured: float | list[float]) -> "NetworkHealth":
        """With one more row; ``measured`` by the names of the fields."""
        new = {"epochs": epoch, "steps": step, **measured}
        rows = {name: np.asarray(new[name], getattr(self, name).dtype)[None] for name in ROWS}
        return replace(self, **{name: np.concatenate([getattr(self, name), row]) for name, row in rows.items()})

    @classmethod
    def empty(cls, tasks: list[str], layers: list[str]) -> "NetworkHealth":
        """Of a run before its first validation."""
        counts, numbers = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return cls(
            np.array(tasks, str),
            np.array(layers, str),
            counts,
            counts,
            numbers,
            np.zeros((0, len(tasks)), np.float32),
            numbers,
            np.zeros((0, len(layers)), np.float32),
        )


ROWS = ("epochs", "steps", "image_share", "task_image_share", "dead_channels", "growth")
