"""Instance norm with leaky ReLU by Triton kernels: both memory layouts, and little to keep for the backward pass.

Kept are the input and per sample and channel two numbers. Eager code calls the kernels through an autograd function,
compiled code through an operator that ``torch.compile`` does not look into: no graph break, whatever the versions of
torch and Triton.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
TILE = 4096  # elements
WARPS = 8
CHANNELS = 64  # of a tile, at most
PROGRAMS = 512  # that sum at a time, a power of 2: four on each of an H100's processors, which all run at once
FINISH = {"BC": 16, "num_warps": WARPS}


def fused_norm_act(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
    """``x [B,C,Z,Y,X]`` of a type of ``DTYPES``, ``weight`` and ``bias`` ``[C]`` or per sample ``[B,C]``; ``slope`` of
    the leaky ReLU, 1: none. The result has the layout and the type of ``x``.
    """
    run = _norm_act if torch.compiler.is_compiling() else _NormAct.apply
    return run(x, weight, bias, eps, slope)[0]


@dataclass(frozen=True)
class _Tiling:
    """How kernels go through a tensor; the names are theirs."""

    B: int
    C: int
    S: int
    BC: int
    BS: int
    strides: tuple[int, int]

    @classmethod
    def of(cls, x: Tensor) -> "_Tiling":
        B, C = x.shape[:2]
        S = x.shape[2:].numel()
        last = C > 1 and x.is_contiguous(memory_format=torch.channels_last_3d)
        BC = min(CHANNELS, _power_of_2(C)) if last else 1
        return cls(B, C, S, BC, min(TILE // BC, _power_of_2(S)), (C, 1) if last else (1, S))

    @property
    def blocks(self) -> int:
        """Of channels."""
        return -(-self.C // self.BC)

    @property
    def tiles(self) -> int:
        """Of a sample and a block of channels."""
        return -(-self.S // self.BS)

    def chunks(self) -> tuple[int, int]:
        """Tiles per chunk, chunks per sample and block."""
        steps = -(-self.tiles // max(1, PROGRAMS // (self.B * self.blocks)))
        return steps, -(-self.tiles // steps)


def _power_of_2(number: int) -> int:
    """The smallest that is not below ``number``."""
    return 1 << (number - 1).bit_length()


def _dense(x: Tensor) -> Tensor:
    return x if x.is_contiguous(memory_format=torch.channels_last_3d) else x.contiguous()


def _stride(weight: Tensor) -> int:
    """From one sample's weights to the next one's."""
    return weight.shape[1] if weight.dim() == 2 else 0


def _forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> tuple[Tensor, Tensor]:
    """The result; mean and 1 / sd ``[B,2,C]``."""
    from uniseg.models import fused_norm_kernels as kernels

    x, weight, bias = _dense(x), weight.contiguous(), bias.contiguous()
    tiling = _Tiling.of(x)
    B, C, S = tiling.B, tiling.C, tiling.S
    steps, chunks = tiling.chunks()
    tile = {"BS": tiling.BS, "BC": tiling.BC, "num_warps": WARPS}
    partial = torch.empty(B, 2, chunks, C, device=x.device, dtype=torch.float32)
    stats = torch.empty(B, 2, C, device=x.device, dtype=torch.float32)
    y = torch.empty_like(x)
    with torch.cuda.device_of(x):
        kernels.chunk_moments[(chunks, tiling.blocks, B)](
            x, partial, S, C, *tiling.strides, chunks, steps=steps, **tile
        )
        kernels.finish_moments[(-(-C // FINISH["BC"]), B)](
            partial, stats, S, C, steps * tiling.BS, chunks, eps=eps, CHUNKS=PROGRAMS, **FINISH
        )
        kernels.apply_norm[(tiling.tiles, tiling.blocks, B)](
            x, y, stats, weight, bias, S, C, *tiling.strides, _stride(weight), slope=slope, **tile
        )
    return y, stats


def _gradients(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, stats: Tensor, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the input, the weight and the bias."""
    from uniseg.models import fused_norm_kernels as kernels

    x, weight, bias = _dense(x), weight.contiguous(), bias.contiguous()
    dy = dy if dy.stride() == x.stride() else torch.empty_like(x, dtype=dy.dtype).copy_(dy)
    tiling = _Tiling.of(x)
    B, C, S = tiling.B, tiling.C, tiling.S
    steps, chunks = tiling.chunks()
    tile = {"slope": slope, "BS": tiling.BS, "BC": tiling.BC, "num_warps": WARPS}
    inputs, sizes = (stats, weight, bias), (S, C, *tiling.strides, _stride(weight))
    partial = torch.empty(B, 2, chunks, C, device=x.device, dtype=torch.float32)
    means = torch.empty_like(stats)
    dx, dweight, dbias = (torch.empty_like(tensor) for tensor in (x, weight, bias))
    with torch.cuda.device_of(x):
        kernels.chunk_gradients[(chunks, tiling.blocks, B)](
            x, dy, *inputs, partial, *sizes, chunks, steps=steps, **tile
        )
        kernels.finish_gradients[(-(-C // FINISH["BC"]),)](
            partial, means, dweight, dbias, S, C, chunks, B=B, per_sample=weight.dim() == 2,
            CHUNKS=PROGRAMS, **FINISH,
        )  # fmt: skip
        kernels.apply_gradient[(tiling.tiles, tiling.blocks, B)](x, dy, dx, *inputs, means, *sizes, **tile)
    return dx, dweight, dbias


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, _, ctx.slope = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, weight, bias, output[1])


def _backward(gradients: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> Callable[..., tuple[Tensor | None, ...]]:
    return lambda ctx, dy, _: (*gradients(dy, *ctx.saved_tensors, ctx.slope), None, None)


class _NormAct(torch.autograd.Function):
    forward = staticmethod(_forward)
    setup_context = staticmethod(_keep)
    backward = staticmethod(_backward(_gradients))


_norm_act = torch.library.custom_op("uniseg::norm_act", _forward, mutates_args=())
_norm_act_backward = torch.library.custom_op("uniseg::norm_act_backward", _gradients, mutates_args=())
_norm_act.register_autograd(_backward(_norm_act_backward), setup_context=_keep)


@_norm_act.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(_dense(x)), x.new_empty(x.shape[0], 2, x.shape[1], dtype=torch.float32)


@_norm_act_backward.register_fake
def _(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, stats: Tensor, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(_dense(x)), torch.empty_like(weight.contiguous()), torch.empty_like(bias.contiguous())
