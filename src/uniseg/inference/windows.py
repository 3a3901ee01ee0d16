"""Sliding windows: encode a window once, decode it for every task."""

from collections.abc import Sequence

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from uniseg.models.heads.base import label_scores
from uniseg.models.uniseg import Encoded, UniSegModel


def predict_scores(model: UniSegModel, image: Tensor, tasks: Sequence[int], *, overlap: float, window_batch: int, mirror_axes: Sequence[int]) -> list[Tensor]:
    """``image [M,z,y,x]`` -> per task the scores of its label values ``[V,z,y,x]`` float32 (see ``label_scores``).

    Windows have the training patch's size and Gaussian weights (sigma an eighth of it, nnU-Net's). ``mirror_axes``:
    scores are averaged over all combinations of flips of these axes.
    """
    flips = [[axis + 2 for axis in range(3) if axis in mirror_axes and mask >> axis & 1] for mask in range(8)]
    flips = [list(f) for f in dict.fromkeys(tuple(f) for f in flips)]

    def window_scores(window: Tensor) -> tuple[Tensor, ...]:
        total: list[Tensor] = []
        for flip in flips:
            encoded = model.encode(window.flip(flip), torch.full((len(window),), tasks[0]))
            own = [_scores(model, encoded, task).flip(flip) for task in tasks]
            total = [a + b for a, b in zip(total, own, strict=True)] if total else own
        return tuple(t / len(flips) for t in total)

    result = sliding_window_inference(
        image[None], model.patch_size, window_batch, window_scores, overlap=overlap, mode="gaussian", sigma_scale=0.125, progress=False
    )
    return [scores[0] for scores in (result if isinstance(result, (tuple, list)) else (result,))]


def _scores(model: UniSegModel, encoded: Encoded, task: int) -> Tensor:
    """``[N,V,Z,Y,X]`` of N windows."""
    logits = model.decode(encoded, torch.full((len(encoded.bottleneck),), task))[0]
    return label_scores(logits, model.tasks[task])
