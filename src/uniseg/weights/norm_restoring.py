"""Scales the convolutions ahead of a norm back to the norm that they were drawn with; the network computes the same."""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from math import hypot, sqrt
from statistics import median
from typing import Any, Self

import torch
from torch import Tensor, nn

from uniseg.models.decoder import DecoderStage
from uniseg.models.normed_convolutions import GAIN, NormedConvolution, normed_convolutions
from uniseg.models.uniseg import UniSegModel

EPSILON = 1e-5  # of torch's norms
PROBE = 4  # bottleneck voxels along an axis of the noise on which the two networks are compared


@dataclass(frozen=True)
class RestoredNorms:
    """What was scaled, and what that changed.

    Attributes:
        factors: name of a convolution -> factor on its weights.
        change: largest change of a logit on a window of noise, which rounding alone makes.
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


def restore_norms(model: UniSegModel, kept: Collection[str] = ()) -> RestoredNorms:
    """Scale, in place, every convolution whose output a norm divides out to the norm that He's initialisation gives.

    Such weights grow in training while the network stays the same, and a learning rate turns them the less, the larger
    they are. A norm's epsilon is scaled with the variance to which it is added (``UniSegModel.set_norm_eps``). All that
    shares a norm gets one factor: both halves of a decoder's convolution with what reads a prompt beside them, all
    convolutions of the stem. A stage's transposed convolution reaches its norm through ``up_half``, which takes over
    what it loses.

    Args:
        model: without added tasks, which share a norm with FUSE.
        kept: names of parameters that are new; a convolution with one of them stays as it is.
    """
    before = _probe(model)
    named = dict(model.named_parameters())
    new = {id(named[name]) for name in kept if name in named}
    factors: dict[str, float] = {}
    epsilons: dict[str, float] = {}
    names = {module: name for name, module in model.named_modules()}
    beside = {
        stage.adn.N: weights
        for stage, weights in zip(model.decoder.stages, model.conditioning.prompt_weights(), strict=False)
    }
    with torch.no_grad():
        for name, stage in model.named_modules():
            if isinstance(stage, DecoderStage) and not new & {id(stage.upsample.weight), id(stage.up_half.weight)}:
                factors |= {f"{name}.upsample": factor for factor in _shift_upsample(stage)}
        for layer, convolutions in _by_norm(model, new).items():
            norm = hypot(*(float(each.norm()) for each in convolutions))
            if not norm:
                continue
            factor = hypot(*(each.drawn_norm for each in convolutions)) / norm
            factors |= {each.name: factor for each in convolutions}
            epsilons[names[layer]] = float(layer.eps) * factor**2
            added = [weight for weight in beside.get(layer, ()) if id(weight) not in new]
            for tensor in (*added, *(t for each in convolutions for t in (*each.weights, *each.biases))):
                tensor.mul_(factor)
    model.set_norm_eps(epsilons)
    change = (_probe(model) - before).abs().max()
    return RestoredNorms(factors, float(change), float(before.std()))


def _by_norm(model: UniSegModel, new: Collection[int]) -> dict[nn.Module, list[NormedConvolution]]:
    """The convolutions without new weights, by the norm that follows them."""
    by_norm: dict[nn.Module, list[NormedConvolution]] = {}
    for each in normed_convolutions(model):
        if not any(id(weight) in new for weight in each.weights):
            by_norm.setdefault(each.layer, []).append(each)
    return by_norm


def with_common_epsilon(model: UniSegModel) -> UniSegModel:
    """A copy that computes the same with torch's epsilon in every norm, for formats that know no other."""
    model = deepcopy(model)
    layers = normed_convolutions(model)
    with torch.no_grad():
        for each in layers:
            factor = sqrt(EPSILON / each.layer.eps)
            for tensor in (*each.weights, *each.biases) if factor != 1 else ():
                tensor.mul_(factor)
    model.set_norm_eps(dict.fromkeys(model.config.get("norm_eps", {}), EPSILON))
    return model


def _shift_upsample(stage: DecoderStage) -> list[float]:
    """The transposed convolution to its norm, ``up_half``, which reads it linearly, times the inverse; the factor."""
    norm = float(stage.upsample.weight.norm())
    if not norm:
        return []
    factor = GAIN * sqrt(len(stage.upsample.weight)) / norm  # He's fan-in cancels but for the first axis
    for tensor in (stage.upsample.weight, stage.upsample.bias):
        if tensor is not None:
            tensor.mul_(factor)
    stage.up_half.weight.div_(factor)
    return [factor]


@torch.no_grad()
def _probe(model: UniSegModel) -> Tensor:
    """The finest logits of the first task on noise, which leaves torch's own random numbers alone."""
    size = [min(p, PROBE * s) for p, s in zip(model.patch_size, model.stride, strict=True)]
    noise = torch.randn(1, model.tasks[0].num_modalities, *size, generator=torch.Generator().manual_seed(0))
    training = model.training
    logits = model.eval()(noise.to(model.device), torch.tensor([0]))[0]
    model.train(training)
    return logits.cpu()
