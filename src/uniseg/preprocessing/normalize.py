"""Intensities -> network input, as a task's resolved normalisation says."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from uniseg.task import Normalization

SMALLEST_SD = 1e-8
BLOCK = 2**22  # voxels that are widened to double precision at a time


def normalize(
    array: np.ndarray, normalization: tuple[Normalization, ...], body: np.ndarray, present: Sequence[bool]
) -> np.ndarray:
    """``[M,Z,Y,X]`` -> the same in float32; a modality that is not ``present`` is 0.

    Args:
        body: ``[Z,Y,X]``, used where ``masked``.
    """
    out = np.zeros(array.shape, np.float32)
    for own, channel, how, here in zip(out, array, normalization, present, strict=True):
        if here:
            own[...] = channel
            _normalize(own, how, body)
    return out


def _normalize(values: np.ndarray, how: Normalization, body: np.ndarray) -> None:
    """In place: a whole-body scan is a gigabyte."""
    assert how.resolved, "preparation resolves every normalisation"
    if how.mode in ("window", "fingerprint"):
        np.clip(values, how.lower, how.upper, out=values)
        shift, scale = (
            (how.lower, how.upper - how.lower) if how.mode == "window" else (how.mean, max(how.sd, SMALLEST_SD))
        )
        values -= shift
        values /= scale
        return
    inside = values[body] if how.masked else values
    if inside.size:
        mean, sd = _moments(inside)
        values -= np.float32(mean)
        values /= np.float32(max(sd, SMALLEST_SD))
    if how.masked:
        values[~body] = 0


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation in double precision, block by block."""
    flat = values.reshape(-1)
    blocks = [flat[start : start + BLOCK] for start in range(0, len(flat), BLOCK)]
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / len(flat)
    return mean, sqrt(sum(float(np.square(block - mean, dtype=np.float64).sum()) for block in blocks) / len(flat))
