"""Hashes: which weights a file holds, which it belongs to."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from uniseg.files import content_hash

TENSORS = "model.safetensors"  # of a model folder


def state_hash(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())  # NumPy has no bfloat16
    return digest.hexdigest()


def checkpoint_hash(path: str | Path, task_files: Iterable[str | Path] = ()) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a checkpoint, or of a folder's tensors: which weights made a
    prediction.

    Those of task files are appended, in the order of their names.
    """
    return "+".join(_digest(Path(each)) for each in (path, *sorted(task_files)))


def _digest(path: Path) -> str:
    return content_hash(path / TENSORS if path.is_dir() else path)[:16]
