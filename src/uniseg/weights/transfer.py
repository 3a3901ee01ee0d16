"""Weights of one network into another: what fits, what is adapted by a named rule, what stays new."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.seen import merge_data
from uniseg.weights.transfer_report import TransferReport

LAST_UPSAMPLE = "upsample.weight"
STEM, HEAD, CONDITIONING, ADDED = "stem.convs.", "head.", "conditioning.", "added."


@dataclass(frozen=True)
class ForeignWeights:
    """Weights by our names.

    Attributes:
        name: where they come from.
        kind: what wrote them.
        licence: the strictest of their training data, or what is known of it.
        tensors: of the state dict.
        tasks: in the order of prompts and head rows; None where the source does not know tasks.
        unread: names of the source that have no place in ours -> why.
        data: facts on its training data by task, as ``Provenance.data`` holds them.
        parts: how the names of the trunk begin that it must hold; the others begin anew.
    """

    name: str
    kind: str
    licence: str
    tensors: Mapping[str, Tensor]
    tasks: TaskSet | None
    unread: Mapping[str, str]
    data: Mapping[str, Mapping]
    parts: tuple[str, ...] = ("stem.", "encoder.", "decoder.")


@dataclass(frozen=True)
class _Taken:
    """A tensor for the target, the rule that made it (empty: as it is), the source's name."""

    tensor: Tensor
    rule: str
    origin: str


def transfer(model: UniSegModel, source: ForeignWeights, *, dry_run: bool = False) -> TransferReport:
    """Put the weights of ``source`` into ``model``; tasks of the same names and classes keep prompts and head, others
    begin anew. What is known of
    the source's training data goes along, so that a licence is not lost.

    Args:
        dry_run: only report.

    Raises:
        InputError: a tensor of the trunk has no source, or one that no rule makes fit; ``model`` is as it was.
    """
    own = model.state_dict()
    same_tasks = source.tasks is not None and [(t.name, t.classes) for t in source.tasks] == [
        (t.name, t.classes) for t in model.tasks
    ]
    taken: dict[str, _Taken] = {}
    missing: dict[str, str] = {}
    for name, tensor in own.items():
        found = _find(name, tensor, source)
        if name.startswith((HEAD, CONDITIONING, ADDED)):
            if found is None or found.rule or not same_tasks:
                missing[name] = "fresh: other tasks" if not same_tasks else "fresh: not in the source"
                continue
        elif not name.startswith(source.parts):
            missing[name] = "fresh: not a part of the source"
            continue
        elif found is None:
            here = source.tensors.get(name)
            told = f"of shape {tuple(here.shape)}" if here is not None else "missing"
            options = "model/encoder=..., model/decoder=..., their channels, strides, kernels"
            fix = f"choose the source's encoder and decoder with {options}"
            raise InputError(source.name, f"'{name}' {told}", f"shape {tuple(tensor.shape)}", fix)
        taken[name] = found
    used = {each.origin for each in taken.values()}
    skipped = dict(source.unread) | {name: _why_not(name) for name in source.tensors if name not in used}
    if not dry_run:
        model.load_state_dict(own | {name: each.tensor for name, each in taken.items()})
        model.provenance = replace(model.provenance, data=merge_data(model.provenance.data, source.data))
    return TransferReport(
        source.name,
        source.kind,
        source.licence,
        tuple(name for name, each in taken.items() if not each.rule),
        {name: each.rule for name, each in taken.items() if each.rule},
        missing,
        skipped,
        sum(each.tensor.numel() for each in taken.values()) / sum(tensor.numel() for tensor in own.values()),
    )


def _find(name: str, tensor: Tensor, source: ForeignWeights) -> _Taken | None:
    here = source.tensors.get(name)
    if here is not None and here.shape == tensor.shape:
        return _Taken(here, "", name)
    for rule, make in RULES.items():
        found = make(name, tensor, source.tensors)
        if found is not None:
            return _Taken(found[1], rule, found[0])
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
    """The reverse: the prompt's row is 0 at first, so that the trunk begins as the source left it."""
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
    return "a number of modalities that the target has not" if name.startswith(STEM) else "no place in the target"
