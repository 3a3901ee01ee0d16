"""Histograms of prepared images, and how one scan's is brought to that of the training scans."""

from collections.abc import Sequence

import numpy as np

PERCENTILES = (0.5, 2, 5, *range(10, 95, 5), 95, 98, 99.5)
NUM_KNOTS = len(PERCENTILES) + 1  # the lowest value, then the percentiles of what is no air
AIR = 0.1  # of the way from the lowest value to the 99th percentile
SAMPLE = 2**16
LEAST_STEP = 1e-6


def sample_image(channel: np.ndarray) -> np.ndarray:
    """At most ``SAMPLE`` voxels of ``[Z,Y,X]``, evenly spread."""
    flat = channel.reshape(-1)
    return np.asarray(flat[:: max(1, -(-flat.size // SAMPLE))], np.float32)


def histogram_knots(samples: Sequence[np.ndarray]) -> tuple[float, ...]:
    """The lowest value of one modality of some scans, then the percentiles of what is no air; empty without voxels.

    Args:
        samples: voxels of each scan, of ``sample_image``.
    """
    samples = [values for values in samples if values.size]
    body = [values[values > _air(values)] for values in samples]
    if not any(values.size for values in body):
        return ()
    lowest = float(np.median([values.min() for values in samples]))
    return (lowest, *(float(value) for value in np.percentile(np.concatenate(body), PERCENTILES)))


def match_histogram(channel: np.ndarray, reference: Sequence[float]) -> np.ndarray:
    """``[Z,Y,X]`` with the percentiles of ``reference``, by a curve that never falls; zeros stay, since they are
    padding, the outside of a masked body, or air.
    """
    own = histogram_knots([sample_image(channel)])
    if not own or not len(reference):
        return channel
    steps = np.maximum(np.diff(own), LEAST_STEP)
    knots = own[0] + np.concatenate([[0.0], np.cumsum(steps)])
    curve = np.interp(channel, knots, reference) + np.maximum(channel - knots[-1], 0)
    return np.where(channel == 0, 0, curve).astype(np.float32)


def _air(values: np.ndarray) -> float:
    low = float(values.min())
    return low + AIR * (float(np.percentile(values, 99)) - low)
