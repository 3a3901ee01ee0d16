"""A file of kilobytes with what an adaptation to one site changed: scale and shift of every norm, bound to the base."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, nn

from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.assign import require_same_tensors
from uniseg.weights.reading import reading
from uniseg.weights.safetensors_file import read_described, write_described
from uniseg.weights.task_file import ADDED, base_hash

KIND = "uniseg site"
FIELDS = {"base": str, "tasks": list, "evidence": dict}
GIVE = "give a file that uniseg.adapt wrote"
NORMS = (nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm, nn.BatchNorm3d)


def norms_of(model: UniSegModel) -> dict[str, nn.Module]:
    """The norms with scale and shift that the network was made with, by name: those of the decoder, where the task
    enters whatever the conditioning is, of FUSE, and those before, which see the scanner first.

    Raises:
        InputError: there is none.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if _has_scale_and_shift(module) and not name.startswith(ADDED)
    }
    if not found:
        fix = "adapt all weights: trains=all"
        raise InputError("checkpoint", "a network whose norms have no scale and shift", "norms that have", fix)
    return found


def norm_state(model: UniSegModel) -> dict[str, Tensor]:
    """Scale and shift of every norm, by the names of the network's own tensors."""
    state = model.state_dict()
    return {f"{name}.{part}": state[f"{name}.{part}"] for name in norms_of(model) for part in ("weight", "bias")}


def save_site(
    base: UniSegModel, adapted: UniSegModel, tasks: Iterable[str], path: str | Path, evidence: Mapping | None = None
) -> Path:
    """Write the norms of ``adapted``; with ``base`` they give it exactly. The file appears whole or not at all.

    Args:
        tasks: names of those that it is for.
        evidence: plain containers, on what speaks for it.

    Raises:
        InputError: something else than norms differs.
    """
    norms, before = norm_state(adapted), base.state_dict()
    changed = [
        name
        for name, tensor in adapted.state_dict().items()
        if name not in norms and not torch.equal(tensor.cpu(), before[name].cpu())
    ]
    if changed:
        fix = "share the whole network instead"
        raise InputError(changed[0], "a tensor that was adapted", "scales and shifts of norms alone", fix)
    description = {
        "base": base_hash(base),
        "tasks": list(tasks),
        "evidence": dict(evidence or {}),
        "uniseg": uniseg_version(),
    }
    return write_described(path, KIND, description, norms)


def apply_site(model: UniSegModel, path: str | Path) -> None:
    """Give ``model`` the norms of a site file; its base's file stays as it is.

    Raises:
        InputError: no site file, or one of another base; ``model`` is as it was.
    """
    description, tensors = read_described(path, KIND, FIELDS, GIVE)
    base = base_hash(model)
    if description["base"] != base:
        found, expected = f"a site of the network {description['base'][:16]}", f"one of {base[:16]}, which is loaded"
        raise InputError(path, found, expected, "load the network that was adapted")
    norms = norm_state(model)
    require_same_tensors(norms, tensors, path, "fetch the file again")
    with torch.no_grad():
        for name, tensor in norms.items():
            tensor.copy_(tensors[name])


def read_site_tasks(path: str | Path) -> tuple[str, ...]:
    """Names of the tasks that a site file is for.

    Raises:
        InputError: no site file.
    """
    description, _ = read_described(path, KIND, FIELDS, GIVE)
    with reading(path, "names of tasks", GIVE):
        if not description["tasks"] or not all(isinstance(name, str) for name in description["tasks"]):
            raise InputError(path, f"tasks {description['tasks']!r:.60}", "names of tasks", GIVE)
    return tuple(description["tasks"])


def _has_scale_and_shift(module: nn.Module) -> TypeGuard[nn.Module]:
    return isinstance(module, NORMS) and module.weight is not None and module.bias is not None
