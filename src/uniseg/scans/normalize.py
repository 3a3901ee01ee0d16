"""Intensities -> network input, as a task's resolved normalisation says."""

from collections.abc import Sequence

import numpy as np

from uniseg.task import Normalization

SMALLEST_SD = 1e-8


def normalize(array: np.ndarray, normalization: tuple[Normalization, ...], body: np.ndarray, present: Sequence[bool]) -> np.ndarray:
    """``[M,Z,Y,X]`` -> the same in float32; a modality that is not ``present`` is 0.

    Args:
        body: ``[Z,Y,X]``, voxels that are non-zero in some modality, used where ``masked``.
    """
    out = np.zeros(array.shape, np.float32)
    for own, channel, how, here in zip(out, array, normalization, present, strict=True):
        if here:
            own[...] = _normalize(channel.astype(np.float32), how, body)
    return out


def _normalize(values: np.ndarray, how: Normalization, body: np.ndarray) -> np.ndarray:
    assert how.resolved, "preparation resolves every normalisation"
    if how.mode == "window":
        return (values.clip(how.lower, how.upper) - how.lower) / (how.upper - how.lower)
    if how.mode == "fingerprint":
        return (values.clip(how.lower, how.upper) - how.mean) / max(how.sd, SMALLEST_SD)
    if not how.masked:
        return (values - values.mean(dtype=np.float64)) / max(float(values.std(dtype=np.float64)), SMALLEST_SD)
    inside = values[body]
    if not inside.size:
        return np.zeros_like(values)
    return np.where(body, (values - inside.mean(dtype=np.float64)) / max(float(inside.std(dtype=np.float64)), SMALLEST_SD), 0)
