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
        InputError: a name is missing or unknown, a shape differs, or whole numbers stand for real ones.
    """
    ours = module.state_dict()
    require_same_tensors(ours, tensors, path, fix)
    copies = {
        name: tensors[name].to(tensor.dtype, memory_format=torch.contiguous_format, copy=True)
        for name, tensor in ours.items()
    }
    module.load_state_dict(copies, assign=True)


def require_same_tensors(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], where: str | os.PathLike, fix: str
) -> None:
    """Check that tensors ``theirs``, of ``where``, have the names and shapes of ``ours``.

    Raises:
        InputError: a name is missing or unknown, a shape differs, or whole numbers stand for real ones.
    """
    for name in sorted(ours.keys() | theirs.keys()):
        our, their = ours.get(name), theirs.get(name)
        expected = "no such tensor" if our is None else f"shape {tuple(our.shape)}"
        if their is None or our is None or their.shape != our.shape:
            unknown = "unknown key" if our is None else "size mismatch for"
            found = f"Missing key '{name}'" if their is None else f"{unknown} '{name}' of shape {tuple(their.shape)}"
            raise InputError(where, found, expected, fix)
        if their.is_floating_point() != our.is_floating_point():
            raise InputError(where, f"'{name}' of {their.dtype}", str(our.dtype), fix)
