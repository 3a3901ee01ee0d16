"""Weights of one network into another: what fits, what is adapted by a named rule, what stays new."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.models.provenance import Provenance
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.seen import merge_data
from uniseg.weights.transfer_report import TransferReport

LAST_UPSAMPLE = "upsample.weight"
STEM, HEAD, CONDITIONING, ADDED = "stem.convs.", "head.", "conditioning.", "added."
# What is transferred -> how the names of its tensors begin.
SCOPES = {"encoder": ("stem.", "encoder."), "encoder_decoder": ("stem.", "encoder.", "decoder."), "all": ("",)}


@dataclass(frozen=True)
class ForeignWeights:
    """Weights by our names.

    Attributes:
        name: where they come from.
        kind: what wrote them.
        licence: the strictest of their training data, or what is known of it.
        tensors: of the state dict.
        tasks: in the order of prompts and head rows; None where the source does not know tasks.
        unread: names of the source that ours has not -> why.
        provenance: how they came to be; licence, citations and data go along.
        parts: how the names of the trunk begin that it must hold; the others start over.
        config: plain containers that rebuild the network, as ``UniSegModel.config``; None where the source does not
            tell.

    Examples:
        >>> weights = ForeignWeights("base.ckpt", "nnssl", "CC BY 4.0", {}, None, {}, Provenance(), parts=("encoder.",))
        >>> weights.parts
        ('encoder.',)
    """

    name: str
    kind: str
    licence: str
    tensors: Mapping[str, Tensor]
    tasks: TaskSet | None
    unread: Mapping[str, str]
    provenance: Provenance
    parts: tuple[str, ...] = ("stem.", "encoder.", "decoder.")
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _FittedTensor:
    """A tensor for the target, the rule that made it (empty: as it is), the source's name."""

    tensor: Tensor
    rule: str
    origin: str


def transfer(model: UniSegModel, source: ForeignWeights, scope: str = "all") -> TransferReport:
    """Put the weights of ``source`` into ``model``.

    Tasks of the same names and classes keep prompts and head, others start over. What is known of the source's training
    data goes along, so that a licence is not lost.

    Args:
        scope: of ``SCOPES``; what lies outside starts over.

    Raises:
        InputError: a tensor of the trunk has no source, or one that no rule makes fit; ``model`` is as it was.
    """
    target = model.state_dict()
    same_tasks = source.tasks is not None and _signatures(source.tasks) == _signatures(model.tasks)
    fitted: dict[str, _FittedTensor] = {}
    missing: dict[str, str] = {}
    for name, tensor in target.items():
        candidate = _fit(name, tensor, source)
        reason = "fresh: not to be transferred" if not name.startswith(SCOPES[scope]) else None
        if reason := reason or _reason_to_start_over(name, candidate, source, same_tasks):
            missing[name] = reason
        elif candidate is None:
            _refuse(name, tensor, source)
        else:
            fitted[name] = candidate
    used = {each.origin for each in fitted.values()}
    skipped = dict(source.unread) | {name: _why_not(name) for name in source.tensors if name not in used}
    model.load_state_dict(target | {name: each.tensor for name, each in fitted.items()})
    epsilons = (source.config or {}).get("norm_eps", {})
    model.set_norm_eps({name: eps for name, eps in epsilons.items() if f"{name}.weight" in fitted})
    model.provenance = _merge(model.provenance, source.provenance)
    return TransferReport(
        source.name,
        source.kind,
        source.licence,
        tuple(name for name, each in fitted.items() if not each.rule),
        {name: each.rule for name, each in fitted.items() if each.rule},
        missing,
        skipped,
        sum(each.tensor.numel() for each in fitted.values()) / sum(tensor.numel() for tensor in target.values()),
    )


def _merge(before: Provenance, added: Provenance) -> Provenance:
    """Of a network that takes the weights of another beside its own; scores were those of other weights."""
    citations = tuple(dict.fromkeys([*before.citations, *added.citations]))
    licence = "; ".join(dict.fromkeys(text for text in (before.licence, added.licence) if text))
    return replace(before, data=merge_data(before.data, added.data), licence=licence, scores={}, citations=citations)


def _signatures(tasks: TaskSet) -> list[tuple[str, tuple[str, ...]]]:
    """Of pretext tasks only where there is nothing else."""
    return [(task.name, task.classes) for task in tasks.segmentations or tasks]


def _reason_to_start_over(
    name: str, found: _FittedTensor | None, source: ForeignWeights, same_tasks: bool
) -> str | None:
    """Why a tensor of the target keeps its new weights; None: it needs those of the source."""
    if name.startswith((HEAD, CONDITIONING, ADDED)):
        if not same_tasks:
            return "fresh: other tasks"
        return "fresh: not in the source" if found is None or found.rule else None
    return None if name.startswith(source.parts) else "fresh: not a part of the source"


def _refuse(name: str, tensor: Tensor, source: ForeignWeights) -> NoReturn:
    theirs = source.tensors.get(name)
    found = f"'{name}' of shape {tuple(theirs.shape)}" if theirs is not None else f"'{name}' missing"
    options = "model/encoder=..., model/decoder=..., their channels, strides, kernels"
    fix = f"choose the source's encoder and decoder with {options}"
    raise InputError(source.name, found, f"shape {tuple(tensor.shape)}", fix)


def _fit(name: str, tensor: Tensor, source: ForeignWeights) -> _FittedTensor | None:
    theirs = source.tensors.get(name)
    if theirs is not None and theirs.shape == tensor.shape:
        return _FittedTensor(theirs, "", name)
    for rule, make in RULES.items():
        match = make(name, tensor, source.tensors)
        if match is not None:
            return _FittedTensor(match[1], rule, match[0])
    return None


def inflate_channels(name: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> tuple[str, Tensor] | None:
    """A first convolution for another number of modalities: the mean over the source's, divided among the target's.

    Equal images in all channels give the source's answer to equal images in all of its channels.
    """
    counts = sorted(int(key.split(".")[2]) for key in tensors if key.startswith(STEM) and key.endswith(".weight"))
    if not name.startswith(STEM) or not counts:
        return None
    origin = f"{STEM}{counts[0]}.weight"
    weight = tensors[origin]
    if weight.shape[0] != tensor.shape[0] or weight.shape[2:] != tensor.shape[2:]:
        return None
    return origin, weight.mean(1, keepdim=True).expand_as(tensor) * (weight.shape[1] / tensor.shape[1])


def drop_prompt_channel(name: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> tuple[str, Tensor] | None:
    """The first upsampling reads the task prompt as its last channel; a network without prompts has no such row (the
    published downstream recipe).
    """
    weight = tensors.get(name)
    if (
        weight is None
        or not name.endswith(LAST_UPSAMPLE)
        or weight.shape[0] != tensor.shape[0] + 1
        or weight.shape[1:] != tensor.shape[1:]
    ):
        return None
    return name, weight[:-1]


def new_prompt_channel(name: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> tuple[str, Tensor] | None:
    """The reverse: the prompt's row is 0 at first, so that the trunk starts as the source left it."""
    weight = tensors.get(name)
    if (
        weight is None
        or not name.endswith(LAST_UPSAMPLE)
        or weight.shape[0] + 1 != tensor.shape[0]
        or weight.shape[1:] != tensor.shape[1:]
    ):
        return None
    return name, torch.cat([weight, torch.zeros_like(tensor[:1])])


RULES: dict[str, Callable[[str, Tensor, Mapping[str, Tensor]], tuple[str, Tensor] | None]] = {
    rule.__name__: rule for rule in (inflate_channels, drop_prompt_channel, new_prompt_channel)
}


def _why_not(name: str) -> str:
    if name.startswith((HEAD, CONDITIONING, ADDED)):
        return "of the source's tasks"
    return "a number of modalities that the target has not" if name.startswith(STEM) else "not in the target"
