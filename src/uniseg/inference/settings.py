"""What the settings of a prediction may be."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch

from uniseg.errors import InputError

AXES = (0, 1, 2)


def require_settings(
    overlap: float, window_batch: int, mirror_axes: Sequence[int], max_memory_gb: float | None
) -> None:
    """
    Raises:
        InputError: one that cannot be.
    """
    is_axes = isinstance(mirror_axes, (list, tuple)) and all(_is_number(axis) and axis in AXES for axis in mirror_axes)
    is_count = isinstance(window_batch, int) and _is_number(window_batch)
    checks = {
        "overlap": (overlap, _is_number(overlap) and 0 <= overlap < 1, "a number from 0 to below 1"),
        "window_batch": (window_batch, is_count and window_batch >= 1, "a whole number of at least 1"),
        "mirror_axes": (
            mirror_axes,
            is_axes and len(set(mirror_axes)) == len(mirror_axes),
            "some of 0, 1, 2, each once",
        ),
        "max_memory_gb": (
            max_memory_gb,
            max_memory_gb is None or (_is_number(max_memory_gb) and max_memory_gb > 0),
            "a number above 0, or none for no limit",
        ),
    }
    for name, (value, holds, expected) in checks.items():
        if not holds:
            raise InputError(f"inference.{name}", repr(value), expected, "correct the setting")


def usable_device(name: str | torch.device) -> torch.device:
    """
    Raises:
        InputError: no device is called so, or this machine or this PyTorch lacks it.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        fix = "give inference.device=cpu, or auto on the command line"
        raise InputError("inference.device", f"'{name}' ({reason})", "a device of this machine", fix) from error
    return device


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
