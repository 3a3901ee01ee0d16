"""The first convolution: one per modality count, chosen per sample."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from uniseg.models.blocks import norm_act


class Stem(nn.Module):
    """``[B,M,Z,Y,X]`` with zero-padded modalities -> ``[B,C,Z,Y,X]``; the norm is shared by all modality counts."""

    def __init__(self, modality_counts: Iterable[int], channels: int, kernel: Sequence[int]) -> None:
        super().__init__()
        padding = tuple(k // 2 for k in kernel)
        self.convs = nn.ModuleDict(
            {str(count): nn.Conv3d(count, channels, tuple(kernel), padding=padding, bias=False) for count in sorted(set(modality_counts))}
        )
        self.adn = norm_act(channels)

    def forward(self, image: Tensor, num_modalities: Sequence[int]) -> Tensor:
        """``num_modalities``: B numbers; sample b is read from ``image[b, :num_modalities[b]]``.

        Raises:
            ValueError: the image has fewer channels than a sample's task wants.
        """
        if image.shape[1] < max(num_modalities):
            raise ValueError(f"image has {image.shape[1]} channels; the task wants {max(num_modalities)}; give one channel per modality")
        counts = sorted(set(num_modalities))
        if len(counts) == 1:
            return self.adn(self.convs[str(counts[0])](image[:, : counts[0]]))
        rows = [[b for b, n in enumerate(num_modalities) if n == count] for count in counts]
        parts = [self.convs[str(count)](image[index, :count]) for count, index in zip(counts, rows, strict=True)]
        order = torch.tensor([b for index in rows for b in index]).argsort().to(image.device)
        return self.adn(torch.cat(parts)[order])
