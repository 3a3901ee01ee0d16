"""The first convolution: one per modality count, chosen per sample."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from uniseg.device_copy import merge_rows, take_rows
from uniseg.models.blocks import NormAct, triple


class Stem(nn.Module):
    """``[B,M,Z,Y,X]`` with zero-padded modalities -> ``[B,C,Z,Y,X]``; norm and activation are shared by all modality
    counts, none where ``bare``.

    Examples:
        >>> import torch
        >>> stem = Stem([1, 4], channels=8, kernel=(1, 3, 3), bare=False)
        >>> stem(torch.zeros(1, 4, 4, 8, 8), [stem.convs["4"]]).shape
        torch.Size([1, 8, 4, 8, 8])
    """

    def __init__(self, modality_counts: Iterable[int], channels: int, kernel: Sequence[int], *, bare: bool) -> None:
        super().__init__()
        self.channels, self.kernel = channels, triple(kernel)
        self.convs = nn.ModuleDict({str(count): self.make_conv(count) for count in sorted(set(modality_counts))})
        self.adn = nn.Identity() if bare else NormAct(channels)

    def make_conv(self, num_modalities: int) -> nn.Conv3d:
        return nn.Conv3d(
            num_modalities, self.channels, self.kernel, padding=triple([k // 2 for k in self.kernel]), bias=False
        )

    def forward(self, image: Tensor, convs: Sequence[nn.Conv3d]) -> Tensor:
        """``convs``: B convolutions; sample b is read from ``image[b, :convs[b].in_channels]``.

        Raises:
            ValueError: the image has fewer channels than the task of a sample has modalities.
        """
        num_modalities = max(conv.in_channels for conv in convs)
        if image.shape[1] < num_modalities:
            raise ValueError(
                f"image has {image.shape[1]} channels; the task has {num_modalities} modalities; "
                f"give one channel per modality"
            )
        if image.is_cuda and convs[0].weight.stride(1) == 1:  # one modality is both layouts, of which cuDNN has to know
            image = image.to(memory_format=torch.channels_last_3d)
        kinds = list(dict.fromkeys(convs))
        if len(kinds) == 1:
            return self.adn(kinds[0](image[:, : kinds[0].in_channels]))
        rows = [[b for b, other in enumerate(convs) if other is conv] for conv in kinds]
        parts = [conv(take_rows(image[:, : conv.in_channels], index)) for conv, index in zip(kinds, rows, strict=True)]
        return self.adn(merge_rows(parts, rows))
