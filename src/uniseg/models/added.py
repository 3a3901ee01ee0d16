"""What a task brings that is added to a trained network."""

from collections.abc import Sequence

from torch import Tensor, nn

from uniseg.device_copy import merge_rows
from uniseg.models.blocks import NEGATIVE_SLOPE, init_weights
from uniseg.models.heads.base import mask_padding_classes
from uniseg.task import Task


class Adapter(nn.Module):
    """A narrow residual branch after a decoder stage; 0 at first, so that the decoder starts as for the old tasks.

    Examples:
        >>> import torch
        >>> Adapter(4, width=2)(torch.zeros(1, 4, 2, 2, 2)).shape
        torch.Size([1, 4, 2, 2, 2])
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down = nn.Conv3d(channels, width, 3, padding=1)
        self.act = nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)
        self.up = nn.Conv3d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.act(self.down(x)))


class AddedTask(nn.Module):
    """The weights of one added task; the old tasks never use them.

    Args:
        task: what was added.
        stem: its first convolution, or None where the network has one for its number of modalities.
        state: its part of the conditioning (``Conditioning.make_task_state``).
        channels: of the decoder's stages, finest first.
        decoder_prompt_channels: of the conditioning.
        adapter_channels: width of the adapters; 0: none, as a pretext task has it, which is to teach the trunk.

    Examples:
        >>> import torch
        >>> from uniseg.task import Normalization, Task
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> added = AddedTask(
        ...     liver, stem=None, state=nn.Identity(), channels=[4, 8], decoder_prompt_channels=0, adapter_channels=2
        ... )
        >>> added.logits([torch.zeros(1, 4, 4, 4, 4), torch.zeros(1, 8, 2, 2, 2)])[0].shape
        torch.Size([1, 2, 4, 4, 4])
    """

    def __init__(
        self,
        task: Task,
        *,
        stem: nn.Conv3d | None,
        state: nn.Module,
        channels: Sequence[int],
        decoder_prompt_channels: int,
        adapter_channels: int,
    ) -> None:
        super().__init__()
        self.num_classes = task.num_classes
        self.stem = stem
        self.own = state  # files know it by this name
        self.adapters = nn.ModuleList(Adapter(c, adapter_channels) for c in channels if adapter_channels)
        self.head = nn.ModuleList(
            nn.Conv3d(c + decoder_prompt_channels, task.num_classes, 1, bias=task.is_pretext) for c in channels
        )
        init_weights(self)
        for adapter in self.adapters:
            nn.init.zeros_(adapter.up.weight)

    def logits(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Finest first, ``[B,K,...]`` float32."""
        return [
            mask_padding_classes(conv(x), [self.num_classes] * len(x))
            for conv, x in zip(self.head, pyramid, strict=True)
        ]


def merge_logits(parts: Sequence[Tensor], rows: Sequence[Sequence[int]]) -> Tensor:
    """Logits ``[b_i,K_i,Z,Y,X]`` of the samples ``rows[i]`` -> ``[B,K,Z,Y,X]`` in the order of the batch; classes of
    padding are -inf.
    """
    widest = max(part.shape[1] for part in parts)
    padded = [
        nn.functional.pad(part, (0, 0, 0, 0, 0, 0, 0, widest - part.shape[1]), value=float("-inf")) for part in parts
    ]
    return merge_rows(padded, rows)
