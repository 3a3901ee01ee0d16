"""Two views of a patch: its own affine map and appearance each, the maps undone after the network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.device_copy import to_device
from uniseg.models.heads.base import label_scores
from uniseg.models.uniseg import UniSegModel
from uniseg.sampling.augment.gin import GinDraw, change_appearance, draw_networks

INSIDE = 0.99  # of a voxel that was neither moved in from outside nor lost
# Patches that the network computes together, as many as in the published training; torch convolves a small one by
# itself five times as slowly on a processor.
AT_ONCE = 2
SMOOTH = 1.0  # voxels: a class that neither view finds agrees


@dataclass(frozen=True)
class Patch:
    """A patch ``[M,Z,Y,X]`` of a prepared scan, with the task that looks at it.

    Examples:
        >>> Patch(torch.zeros(1, 8, 8, 8), task_index=0).image.shape
        torch.Size([1, 8, 8, 8])
    """

    image: Tensor
    task_index: int


@dataclass(frozen=True)
class View:
    """One view, as plain numbers.

    Attributes:
        matrix: 3x4 over (x, y, z) from -1 to 1 over the patch: patch of the view -> patch.
        networks: of GIN, one per modality; empty: the appearance stays.

    Examples:
        >>> draw_view(np.random.default_rng(0), 1, sd=0, gin=False).matrix.tolist()
        [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """

    matrix: np.ndarray
    networks: tuple[GinDraw, ...] = ()

    def apply(self, image: Tensor) -> Tensor:
        """``[M,Z,Y,X]`` -> what the view shows of it."""
        looks = change_appearance(image, self.networks) if self.networks else image
        return _warp(looks[None], self.matrix)[0]

    def undo(self, values: Tensor) -> Tensor:
        """``[1,V,Z,Y,X]`` of the view -> in the patch."""
        return _warp(values, self.inverse)

    def inside(self, like: Tensor) -> Tensor:
        """``[1,1,Z,Y,X]`` bool: voxels of the patch that the view shows, seen from the patch again."""
        ones = like.new_ones(1, 1, *like.shape[-3:])
        return _warp(_warp(ones, self.matrix, "zeros"), self.inverse, "zeros") > INSIDE

    @property
    def inverse(self) -> np.ndarray:
        return np.linalg.inv(np.vstack([self.matrix, [0, 0, 0, 1]]))[:3]


def draw_view(rng: np.random.Generator, num_modalities: int, *, sd: float, gin: bool) -> View:
    matrix = np.eye(3, 4) + sd * rng.standard_normal((3, 4))
    return View(matrix, draw_networks(rng, num_modalities) if gin else ())


def draw_views(rng: np.random.Generator, num_modalities: int, *, sd: float, gin: bool) -> tuple[View, View]:
    first, second = (draw_view(rng, num_modalities, sd=sd, gin=gin) for _ in range(2))
    return first, second


def probabilities(model: UniSegModel, patches: Sequence[Patch]) -> list[Tensor]:
    """Those of label values, ``[1,V,Z,Y,X]`` of every patch; what the network computes together is a batch."""
    widest = max(len(patch.image) for patch in patches)
    images = torch.stack([F.pad(patch.image, (0, 0) * 3 + (0, widest - len(patch.image))) for patch in patches])
    logits = model(images, torch.tensor([patch.task_index for patch in patches]))[0]
    tasks = [model.tasks[patch.task_index] for patch in patches]
    return [label_scores(each, task).softmax(1) for each, task in zip(logits.split(1), tasks, strict=True)]


def consistency(model: UniSegModel, patches: Sequence[Patch], views: Sequence[Sequence[View]]) -> Tensor:
    """Mean soft Dice of the foreground between two views of every patch, ``[n]``; the gradient flows through the first
    alone.
    """
    ours = _seen(model, patches, [pair[0] for pair in views])
    with torch.no_grad():
        theirs = _seen(model, patches, [pair[1] for pair in views])
        inside = [
            first.inside(patch.image) & second.inside(patch.image)
            for patch, (first, second) in zip(patches, views, strict=True)
        ]
    return torch.stack([soft_dice(*each) for each in zip(ours, theirs, inside, strict=True)])


def _seen(model: UniSegModel, patches: Sequence[Patch], views: Sequence[View]) -> list[Tensor]:
    """Probabilities of the patches, each looked at by its view, in the patches again."""
    shown = [replace(patch, image=view.apply(patch.image)) for patch, view in zip(patches, views, strict=True)]
    return [view.undo(values) for view, values in zip(views, probabilities(model, shown), strict=True)]


def entropy(model: UniSegModel, patches: Sequence[Patch]) -> Tensor:
    """Mean over the voxels of every patch, ``[n]`` (TENT, Wang et al., ICLR 2021)."""
    found = probabilities(model, patches)
    return torch.stack([-(values * values.clamp_min(1e-8).log()).sum(1).mean() for values in found])


def soft_dice(ours: Tensor, theirs: Tensor, inside: Tensor) -> Tensor:
    """``[1,V,Z,Y,X]`` twice, ``[1,1,Z,Y,X]`` -> mean over the foreground's label values, 1 where both are the same."""
    ours, theirs = (values[:, 1:].float() * inside for values in (ours, theirs))
    both = (ours * theirs).sum((0, 2, 3, 4))
    either = (ours**2 + theirs**2).sum((0, 2, 3, 4))
    return ((2 * both + SMOOTH) / (either + SMOOTH)).mean()


def _warp(values: Tensor, matrix: np.ndarray, outside: str = "border") -> Tensor:
    theta = to_device(matrix.astype(np.float32), values.device)[None]
    grid = F.affine_grid(theta, [1, 1, *values.shape[2:]], align_corners=False)
    return F.grid_sample(values.float(), grid, mode="bilinear", padding_mode=outside, align_corners=False)
