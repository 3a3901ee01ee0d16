"""Gives a network that was built without numbers those of a file, once their names and shapes fit."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from uniseg.errors import InputError


class _DrawsNothing(TorchFunctionMode):
    """Leaves initial values out, for which PyTorch would import a second of code on ``meta``."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.normal_:
            return args[0]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


@contextmanager
def without_numbers() -> Iterator[None]:
    """Modules that are built inside have tensors with shapes alone, whatever size a description asks for."""
    with torch.device("meta"), _DrawsNothing():
        yield


def assign(module: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike, fix: str) -> None:
    """Copy ``tensors``, of the file ``path``, into a module that was built ``without_numbers``.

    Raises:
        InputError: a name that is missing or too many, another shape, whole numbers for real ones.
    """
    own = module.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        ours, theirs = own.get(name), tensors.get(name)
        expected = "no such tensor" if ours is None else f"shape {tuple(ours.shape)}"
        if theirs is None or ours is None or theirs.shape != ours.shape:
            unknown = "unknown key" if ours is None else "size mismatch for"
            found = f"Missing key '{name}'" if theirs is None else f"{unknown} '{name}' of shape {tuple(theirs.shape)}"
            raise InputError(path, found, expected, fix)
        if theirs.is_floating_point() != ours.is_floating_point():
            raise InputError(path, f"'{name}' of {theirs.dtype}", str(ours.dtype), fix)
    copies = {
        name: tensors[name].to(ours.dtype, memory_format=torch.contiguous_format, copy=True)
        for name, ours in own.items()
    }
    module.load_state_dict(copies, assign=True)
