"""nnU-Net's names of tensors -> ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.task import Task
from uniseg.weights.reading import require_tensors

WEIGHTS = "network_weights"
CANCELLED = "a bias that the norm after it cancels"
TWICE = "the same tensor by another name"
# nnU-Net's name -> ours; stages of the decoder are counted from the other end.
ENCODER = (
    (r"encoder\.stem\.convs\.0\.(conv|norm)\.(weight|bias)", "stem.{0}.{1}"),
    (r"encoder\.stages\.0\.0\.convs\.0\.(conv|norm)\.(weight|bias)", "stem.{0}.{1}"),
    (r"encoder\.stages\.0\.0\.convs\.1\.(conv|norm)\.(weight|bias)", "encoder.stages.0.0.{0}.{1}"),
    (r"encoder\.stages\.([1-9]\d*)\.0\.convs\.([01])\.(conv|norm)\.(weight|bias)", "encoder.stages.{0}.{1}.{2}.{3}"),
    (
        r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.(conv|norm)\.(weight|bias)",
        "encoder.stages.{0}.{1}.first.{2}.{3}",
    ),
    (
        r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv2\.(conv|norm)\.(weight|bias)",
        "encoder.stages.{0}.{1}.second.{2}.{3}",
    ),
    (
        r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.([01])\.(conv|norm)\.(weight|bias)",
        "encoder.stages.{0}.{1}.skip.{2}.{3}.{4}",
    ),
)


@dataclass(frozen=True)
class Translated:
    """Tensors under our names, and the names of theirs that ours has not -> why.

    Examples:
        >>> Translated({}, {"decoder.seg_layers.0.weight": "not of the encoder"}).tensors
        {}
    """

    tensors: Mapping[str, Tensor]
    unread: Mapping[str, str]


def weights_of(content: Mapping, path: str | Path) -> dict[str, Tensor]:
    """The tensors, without the prefixes of compiled or distributed networks.

    Raises:
        InputError: the file has no weights, or they are NaN or inf.
    """
    weights = content.get(WEIGHTS)
    if not isinstance(weights, Mapping) or not weights:
        raise InputError(
            path, f"keys {sorted(map(str, content))[:8]}", f"a checkpoint with '{WEIGHTS}'", "give the original file"
        )
    return {
        re.sub(r"^(module\.|_orig_mod\.)+", "", name): tensor for name, tensor in require_tensors(weights, path).items()
    }


def translate_encoder(state: Mapping[str, Tensor], path: str | Path) -> Translated:
    """First convolution and encoder under our names; what belongs to neither stays unread.

    Raises:
        InputError: a tensor of the encoder that no rule knows: another architecture.
    """
    tensors: dict[str, Tensor] = {}
    unread: dict[str, str] = {}
    for name, tensor in state.items():
        if not name.startswith("encoder."):
            unread[name] = TWICE if name.startswith("decoder.encoder.") else "not of the encoder"
        elif ".all_modules." in name:
            unread[name] = TWICE
        elif ours := _ours(name, tensor):
            tensors[ours] = tensor
        elif name.endswith(".conv.bias"):
            unread[name] = CANCELLED
        else:
            raise InputError(
                path,
                f"'{name}'",
                "a PlainConvUNet with two convolutions per stage, or a ResidualEncoderUNet",
                "give such a checkpoint",
            )
    return Translated(tensors, unread)


def translate_all(state: Mapping[str, Tensor], task: Task, path: str | Path) -> Translated:
    """The whole network under our names; the head of overlapping regions gets the background's row, which is not read.

    Raises:
        InputError: a tensor that no rule knows: another architecture.
    """
    encoder = translate_encoder(state, path)
    tensors, unread = dict(encoder.tensors), dict(encoder.unread)
    last = count_tensors(state, "decoder.transpconvs.{}.weight") - 1
    for name, tensor in state.items():
        if not name.startswith("decoder.") or name.startswith("decoder.encoder."):
            continue
        kind, number, rest = (*name.split(".", 3)[1:], "")[:3]
        stage = f"decoder.stages.{last - int(number)}"
        del unread[name]
        if ".all_modules." in name:
            unread[name] = TWICE
        elif kind == "transpconvs":
            tensors[f"{stage}.upsample.{rest}"] = tensor
        elif kind == "seg_layers":
            rows = torch.cat([torch.zeros_like(tensor[:1]), tensor]) if task.regions else tensor
            tensors[f"head.convs.{last - int(number)}.{rest}"] = rows
        elif rest == "convs.0.conv.weight":
            tensors[f"{stage}.up_half.weight"], tensors[f"{stage}.skip_half.weight"] = tensor.chunk(2, dim=1)
        elif rest.startswith("convs.0.norm."):
            tensors[f"{stage}.{rest.replace('convs.0.norm', 'adn.N')}"] = tensor
        elif rest.startswith("convs.1.norm.") or rest == "convs.1.conv.weight":
            tensors[f"{stage}.{rest.replace('convs.1', 'conv').replace('norm', 'adn.N')}"] = tensor
        elif rest in ("convs.0.conv.bias", "convs.1.conv.bias"):
            unread[name] = CANCELLED
        else:
            raise InputError(
                path, f"'{name}'", "one or two convolutions per stage of the decoder", "give such a checkpoint"
            )
    return Translated(tensors, unread)


def _ours(name: str, tensor: Tensor) -> str | None:
    if name.endswith(".conv.bias"):
        return None
    for pattern, ours in ENCODER:
        if match := re.fullmatch(pattern, name):
            translated = ours.format(*match.groups()).replace(".norm.", ".adn.N.")
            return (
                translated.replace("stem.conv.", f"stem.convs.{tensor.shape[1]}.") if tensor.ndim == 5 else translated
            )
    return None


def count_tensors(state: Mapping[str, Tensor], pattern: str) -> int:
    return next(i for i in range(len(state) + 1) if pattern.format(i) not in state)
