"""The way back up: from the prompted bottleneck to the pyramid of features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.models.blocks import NEGATIVE_SLOPE, NormAct, conv_block, run_stage, triple
from uniseg.models.conditioning.base import StageCondition

KERNEL = (3, 3, 3)


class DecoderStage(nn.Module):
    """Upsample, join the skip, one or two convolutions.

    The first convolution reads [upsampled, skip]. It is kept in two halves: the skip half is linear and knows no
    task, so that prediction computes it once for all tasks.

    Examples:
        >>> stage = DecoderStage(8, 4, (2, 2, 2), kernel=(3, 3, 3), num_convs=2, upsample_bias=False)
        >>> stage(torch.zeros(1, 8, 2, 2, 2), stage.skip_half(torch.zeros(1, 4, 4, 4, 4))).shape
        torch.Size([1, 4, 4, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: Sequence[int],
        *,
        kernel: Sequence[int],
        num_convs: int,
        upsample_bias: bool,
    ) -> None:
        super().__init__()
        stride, kernel = triple(stride), triple(kernel)
        padding = triple([k // 2 for k in kernel])
        self.upsample = nn.ConvTranspose3d(in_channels, channels, stride, stride, bias=upsample_bias)
        self.up_half = nn.Conv3d(channels, channels, kernel, padding=padding, bias=False)
        self.skip_half = nn.Conv3d(channels, channels, kernel, padding=padding, bias=False)
        self.adn = NormAct(channels)
        self.conv = conv_block(channels, channels, kernel=kernel) if num_convs == 2 else nn.Identity()

    def init_halves(self) -> None:
        """Initialise both halves as the one convolution that they are."""
        channels, others, *kernel = self.up_half.weight.shape
        whole = self.up_half.weight.new_empty(channels, 2 * others, *kernel)
        nn.init.kaiming_normal_(whole, a=NEGATIVE_SLOPE)
        with torch.no_grad():
            for half, weight in zip((self.up_half, self.skip_half), whole.chunk(2, dim=1), strict=True):
                half.weight.copy_(weight)

    def forward(
        self, x: Tensor, skip_term: Tensor, joined: bool = False, condition: StageCondition | None = None
    ) -> Tensor:
        """``x [B,C',...]``, ``skip_term [B or 1,C,...]`` (output of ``skip_half``, or its input where ``joined``) ->
        ``[B,C,...]``.
        """
        up = self.upsample(x)
        total = self._joined(up, skip_term) if joined else self.up_half(up) + skip_term
        if condition is None:
            return self.conv(self.adn(total))
        if condition.prompt is not None and condition.prompt_weight is not None:
            prompt = F.interpolate(condition.prompt, total.shape[2:], mode="trilinear")
            total = total + F.conv3d(prompt, condition.prompt_weight[:, :, None, None, None])
        first, second = (*condition.modulations, None, None)[:2]
        x = modulated(self.adn, total, first)
        return self.conv(x) if second is None else modulated(self.conv.adn, self.conv.conv(x), second)

    def _joined(self, up: Tensor, skip: Tensor) -> Tensor:
        weight = torch.cat([self.up_half.weight, self.skip_half.weight], dim=1)
        whole = torch.cat([up, skip.to(up.dtype).expand(up.shape[0], -1, -1, -1, -1)], dim=1)
        return F.conv3d(whole, weight, padding=self.up_half.padding)


def modulated(norm_act: nn.Module, x: Tensor, modulation: tuple[Tensor, Tensor] | None) -> Tensor:
    """Norm and activation, between them times ``1 + scale`` plus ``shift``, both ``[B,C]``, where there are such."""
    if modulation is None:
        return norm_act(x)
    factor, shift = 1 + modulation[0], modulation[1]
    return norm_act(x, norm_act.N.weight * factor, norm_act.N.bias * factor + shift)


class Decoder(nn.Module):
    """Built from an encoder's numbers, never from the encoder.

    Args:
        channels: the encoder's, finest first.
        strides: the encoder's, finest first.
        bottleneck_channels: what conditioning hands over; the encoder's last or more.
        kernels: the encoder's, finest first, for nnU-Net's mirrored decoder; None: 3x3x3 in all stages, as published.
        num_convs: of every stage, 1 or 2; two as published, nnU-Net's residual presets have one.
        upsample_bias: whether the transposed convolutions have biases, as nnU-Net v2's.

    Attributes:
        norms_per_stage: one after each of its convolutions.
        recompute: whether training computes the activations of a stage again in the backward pass.
        joined: whether training computes the two halves of a stage's first convolution as one, of twice the input
            channels, which GPUs do at a higher rate; the skip terms are the skips then.

    Raises:
        ValueError: a number of convolutions other than 1 or 2.

    Examples:
        >>> decoder = Decoder(channels=[4, 8, 8], strides=[(1, 1, 1), (1, 2, 2), (2, 2, 2)], bottleneck_channels=9)
        >>> decoder.channels
        (4, 8)
    """

    recompute: bool = False
    joined: bool = False

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        bottleneck_channels: int,
        kernels: Sequence[Sequence[int]] | None = None,
        num_convs: int = 2,
        upsample_bias: bool = False,
    ) -> None:
        super().__init__()
        below = [*channels[1:-1], bottleneck_channels]
        self.channels = tuple(channels[:-1])
        self.norms_per_stage = num_convs
        if num_convs not in (1, 2):
            raise ValueError(f"{num_convs} convolutions per decoder stage: expected 1 or 2")
        kernels = kernels[:-1] if kernels is not None else [KERNEL] * len(below)
        self.stages = nn.ModuleList(
            DecoderStage(b, c, s, kernel=k, num_convs=num_convs, upsample_bias=upsample_bias)
            for b, c, s, k in zip(below, channels[:-1], strides[1:], kernels, strict=True)
        )

    def init_halves(self) -> None:
        for stage in self.stages:
            stage.init_halves()

    def skip_terms(self, skips: Sequence[Tensor]) -> list[Tensor]:
        """The task-free half of every stage's first convolution, finest first."""
        if self.joined and self.training:
            return list(skips)
        return [stage.skip_half(skip) for stage, skip in zip(self.stages, skips, strict=True)]

    def forward(
        self,
        bottleneck: Tensor,
        skip_terms: Sequence[Tensor],
        adapters: Sequence[nn.Module] | None = None,
        stages: Sequence[StageCondition] = (),
    ) -> list[Tensor]:
        """``[B, bottleneck_channels, z, y, x]`` and the skip terms -> pyramid, finest first; an adapter, where given,
        follows its stage; ``stages``, where given, tell each the task.
        """
        joined = self.joined and self.training
        pyramid: list[Tensor] = []
        x = bottleneck
        for i in reversed(range(len(self.stages))):
            condition = stages[i] if stages else None
            x = run_stage(self.stages[i], x, skip_terms[i], joined, condition, recompute=self.recompute)
            x = adapters[i](x) if adapters else x
            pyramid.insert(0, x)
        return pyramid
