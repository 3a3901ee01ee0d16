"""Scales the convolutions ahead of a norm back to the norm that they were drawn with; the network computes the same."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt
from statistics import median
from typing import Any, Self

import torch
from monai.networks.blocks import Convolution, MedNeXtBlock
from monai.networks.blocks.dynunet_block import UnetResBlock
from torch import Tensor, nn

from uniseg.models.blocks import NEGATIVE_SLOPE
from uniseg.models.decoder import DecoderStage
from uniseg.models.stem import Stem
from uniseg.models.uniseg import UniSegModel

GAIN = nn.init.calculate_gain("leaky_relu", NEGATIVE_SLOPE)
NORMS = (nn.InstanceNorm3d, nn.GroupNorm)
PROBE = 4  # bottleneck voxels along an axis of the noise on which the two networks are compared
Named = dict[str, nn.Module]


@dataclass(frozen=True)
class RestoredNorms:
    """What was scaled, and what that changed.

    Attributes:
        factors: name of a convolution -> factor on its weights.
        change: largest change of a logit on a window of noise: a norm's epsilon counts for more after the scaling, so
            that channels of tiny variance (1e-4 and less) do not come out quite as before.
        spread: standard deviation of these logits.

    Examples:
        >>> RestoredNorms({"stem.convs.1": 0.25, "encoder.stages.0.0.conv": 0.5}, change=1e-5, spread=0.9).lines()[0]
        'norms restored: 2 convolutions scaled by 0.25 to 0.5, median 0.375'
    """

    factors: Mapping[str, float] = field(default_factory=dict)
    change: float = 0.0
    spread: float = 0.0

    def lines(self) -> list[str]:
        """For a person."""
        values = list(self.factors.values()) or [1.0]
        scaled = f"{min(values):.3g} to {max(values):.3g}, median {median(values):.3g}"
        return [
            f"norms restored: {len(self.factors)} convolutions scaled by {scaled}",
            f"logits on noise: changed by {self.change:.2g}, spread {self.spread:.2g}",
        ]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """
        Raises:
            KeyError, TypeError, ValueError: an entry is missing, or of another type.
        """
        factors = {str(name): float(factor) for name, factor in values["factors"].items()}
        return cls(factors, float(values["change"]), float(values["spread"]))


def restore_norms(model: UniSegModel, kept: set[str] | frozenset[str] = frozenset()) -> RestoredNorms:
    """Scale, in place, every convolution whose output a norm divides out to the norm that He's initialisation gives.

    Such weights grow in training while the network stays the same, and a learning rate turns them the less, the larger
    they are. A stage's transposed convolution reaches its norm through ``up_half``, which takes over what it loses;
    then both halves get one factor, since the norm sees their sum.

    Args:
        model: without added tasks, which share a norm with FUSE.
        kept: names of parameters that are new; a group with one of them stays as it is.
    """
    before = _probe(model)
    factors: dict[str, float] = {}
    with torch.no_grad():
        for stage in _decoder_stages(model, kept):
            factors |= _shift_upsample(stage)
        for group in _groups(model):
            if not kept.intersection(f"{name}.weight" for name in group):
                factors |= {name: factors.get(name, 1.0) * factor for name, factor in _restore(group).items()}
    change = (_probe(model) - before).abs().max()
    return RestoredNorms(factors, float(change), float(before.std()))


def drawn_norm(weight: Tensor) -> float:
    """Expected Frobenius norm of ``weight`` as ``init_weights`` draws it: fan-in cancels, the first axis stays."""
    return GAIN * sqrt(len(weight))


def _groups(model: nn.Module) -> Iterator[Named]:
    """Convolutions by name that share a scale which the norm after them divides out."""
    for name, module in model.named_modules():
        if isinstance(module, DecoderStage):
            yield {f"{name}.{half}": getattr(module, half) for half in ("up_half", "skip_half")}
        elif isinstance(module, Stem):
            # A sample goes through one of them, so each has its own scale though the norm's parameters are shared.
            yield from ({f"{name}.convs.{key}": conv} for key, conv in module.convs.items() if _is_normed(module))
        elif isinstance(module, Convolution):
            yield from ({f"{name}.conv": conv} for conv in [module.conv] if _is_normed(module))
        elif isinstance(module, UnetResBlock):
            pairs = [(f"conv{k}", getattr(module, f"norm{k}", None)) for k in (1, 2, 3)]
            yield from ({f"{name}.{key}.conv": getattr(module, key).conv} for key, norm in pairs if _divides(norm))
        elif isinstance(module, MedNeXtBlock) and _divides(module.norm):
            yield {f"{name}.conv1": module.conv1}


def _is_normed(module: nn.Module) -> bool:
    """Whether the first thing after its convolution is a norm."""
    return _divides(next(iter(getattr(module, "adn", nn.Identity()).children()), None))


def _divides(norm: nn.Module | None) -> bool:
    return isinstance(norm, NORMS) and not getattr(norm, "track_running_stats", False)


def _decoder_stages(model: nn.Module, kept: set[str] | frozenset[str]) -> Iterator[Named]:
    for name, module in model.named_modules():
        if isinstance(module, DecoderStage):
            parts = {f"{name}.{key}": getattr(module, key) for key in ("upsample", "up_half")}
            if not kept.intersection(f"{part}.weight" for part in parts):
                yield parts


def _shift_upsample(parts: Named) -> dict[str, float]:
    """The transposed convolution to its norm; ``up_half``, which reads it linearly, the inverse."""
    (upsample, first), (up_half, second) = parts.items()
    norm = float(first.weight.norm())  # type: ignore[union-attr,operator]
    if not norm:
        return {}
    factor = drawn_norm(first.weight) / norm  # type: ignore[arg-type]
    _scale(first, factor)
    _scale(second, 1 / factor)
    return {upsample: factor, up_half: 1 / factor}


def _restore(group: Named) -> dict[str, float]:
    norm = sqrt(sum(float(conv.weight.square().sum()) for conv in group.values()))  # type: ignore[union-attr,operator]
    if not norm:
        return {}
    factor = drawn_norm(next(iter(group.values())).weight) / norm  # type: ignore[arg-type]
    for conv in group.values():
        _scale(conv, factor)
    return dict.fromkeys(group, factor)


def _scale(conv: nn.Module, factor: float) -> None:
    conv.weight.mul_(factor)  # type: ignore[union-attr,operator]
    if conv.bias is not None:
        conv.bias.mul_(factor)  # type: ignore[union-attr,operator]


@torch.no_grad()
def _probe(model: UniSegModel) -> Tensor:
    """The finest logits of the first task on noise, which leaves torch's own random numbers alone."""
    size = [min(p, PROBE * s) for p, s in zip(model.patch_size, model.stride, strict=True)]
    noise = torch.randn(1, model.tasks[0].num_modalities, *size, generator=torch.Generator().manual_seed(0))
    training = model.training
    logits = model.eval()(noise.to(model.device), torch.tensor([0]))[0]
    model.train(training)
    return logits.cpu()
