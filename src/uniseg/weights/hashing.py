"""Which weights a file belongs to."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def state_hash(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())  # NumPy has no bfloat16
    return digest.hexdigest()
