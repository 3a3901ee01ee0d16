"""Sliding windows: encode a window once, decode it for every task."""

from collections.abc import Sequence

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from uniseg.models.uniseg import UniSegModel


def predict_logits(
    model: UniSegModel, image: Tensor, tasks: Sequence[int], *, overlap: float, window_batch: int, mirror_axes: Sequence[int]
) -> list[Tensor]:
    """``image [M,z,y,x]`` -> per task its own classes' logits ``[K,z,y,x]`` float32.

    Windows have the training patch's size and Gaussian weights (sigma an eighth of it, nnU-Net's). ``mirror_axes``:
    logits are averaged over all combinations of flips of these axes.
    """
    flips = [[axis + 2 for axis in range(3) if axis in mirror_axes and mask >> axis & 1] for mask in range(8)]
    flips = [list(f) for f in dict.fromkeys(tuple(f) for f in flips)]

    def window_logits(window: Tensor) -> tuple[Tensor, ...]:
        total: list[Tensor] = []
        for flip in flips:
            encoded = model.encode(window.flip(flip), torch.full((len(window),), tasks[0]))
            own = [model.decode(encoded, torch.full((len(window),), task))[0].flip(flip) for task in tasks]
            total = [a + b for a, b in zip(total, own, strict=True)] if total else own
        return tuple(t / len(flips) for t in total)

    result = sliding_window_inference(
        image[None], model.patch_size, window_batch, window_logits, overlap=overlap, mode="gaussian", sigma_scale=0.125, progress=False
    )
    return [logits[0] for logits in (result if isinstance(result, (tuple, list)) else (result,))]
