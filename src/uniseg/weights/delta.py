"""What a training changed of a network, without what it left as it was."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.folder import StoredModel
from uniseg.weights.hashing import state_hash
from uniseg.weights.reading import reading
from uniseg.weights.safetensors_file import read_described, write_described

KIND = "uniseg delta"
FIELDS = {"base": str, "tasks": list, "config": dict, "origin": dict, "kept": list}
GIVE = "give a file that uniseg.export delta_of=<base> wrote"


def save_delta(model: UniSegModel, base: UniSegModel, path: str | Path) -> Path:
    """Write the tensors of ``model`` that ``base`` has not, or has with other bits; with ``base`` they give ``model``
    exactly.
    """
    before = base.state_dict()
    after = model.state_dict()
    kept = [name for name, tensor in after.items() if name in before and _same(tensor, before[name])]
    description = {
        "base": state_hash(before),
        "tasks": model.tasks.to_list(),
        "config": model.config,
        "origin": model.provenance.to_dict(),
        "kept": kept,
    }
    return write_described(
        path, KIND, description, {name: tensor for name, tensor in after.items() if name not in kept}
    )


def read_delta(path: str | Path, base: Mapping[str, Tensor]) -> StoredModel:
    """The whole network of a delta.

    Args:
        base: the state dict that it was written against.

    Raises:
        InputError: the file is no delta, or was written against another base.
    """
    description, tensors = read_described(path, KIND, FIELDS, GIVE)
    loaded = state_hash(base)
    if description["base"] != loaded:
        raise InputError(
            path,
            f"a delta of the network {description['base'][:16]}",
            f"one of {loaded[:16]}, which is loaded",
            "give the network that it was trained from",
        )
    with reading(path, "names of tensors of the network", GIVE):
        state = {name: base[name] for name in description["kept"]} | tensors
    return StoredModel(description["tasks"], description["config"], description["origin"], state)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
