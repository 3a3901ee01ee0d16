"""Every metric on random pairs of masks, empty ones among them, against MONAI, or against a plain count where MONAI has
none.
"""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
)
from scipy.ndimage import binary_dilation, binary_erosion

from uniseg.metrics.base import MaskPair
from uniseg.metrics.lesions import count_lesions
from uniseg.metrics.overlap import count_classes
from uniseg.metrics.registry import packaged_metrics

NUM_PAIRS, TOLERANCE_MM = 60, 2.0
EMPTY_FRACTION = 0.15
METRICS = packaged_metrics()
MEMBERSHIP = ((False,), (True,))
STEPS = np.array([step for step in product((-1, 0, 1), repeat=3) if any(step)])


def make_pair(seed):
    """Two blobby masks, or an empty one, on a grid of its own shape and spacing."""
    rng = np.random.default_rng(seed)
    shape, spacing = rng.integers(6, 12, 3), tuple(rng.choice([0.5, 0.7, 1.0, 1.5, 3.0, 7.0], 3).tolist())
    reference = binary_dilation(rng.random(shape) < 0.02, iterations=2)
    predicted = binary_dilation(rng.random(shape) < 0.02, iterations=2)
    predicted |= np.roll(reference, rng.integers(-1, 2, 3), (0, 1, 2)) if rng.random() < 0.7 else False
    return (mask & (rng.random() > EMPTY_FRACTION) for mask in (predicted, reference)), spacing


@cache
def pairs():
    made = [make_pair(seed) for seed in range(NUM_PAIRS)]
    return [(predicted, reference, spacing) for (predicted, reference), spacing in made]


def batched(mask):
    return torch.from_numpy(mask)[None, None].float()


def test_pairs_are_of_every_kind():
    kinds = [(bool(p.any()), bool(r.any())) for p, r, _ in pairs()]
    assert {kind: kinds.count(kind) > 0 for kind in product((False, True), repeat=2)} == dict.fromkeys(
        product((False, True), repeat=2), True
    )
    assert kinds.count((True, True)) > 30


def test_overlap_equals_monais():
    """Two empty masks, too, whose Dice is 1 by MONAI's convention here."""
    for predicted, reference, _ in pairs():
        pair, masks = MaskPair.of_masks(predicted, reference), (batched(predicted), batched(reference))
        theirs = [float(metric(*masks, ignore_empty=False)) for metric in (compute_dice, compute_iou)]
        assert [METRICS[name].compute(pair) for name in ("dice", "iou")] == pytest.approx(theirs, abs=1e-6)
        counts = count_classes(*(torch.from_numpy(mask).long() for mask in (predicted, reference)), MEMBERSHIP)
        assert tuple(counts.values[:, 0].tolist()) == pair.counts


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own call
def test_distances_equal_monais():
    compared = 0
    for predicted, reference, spacing in pairs():
        pair = MaskPair.of_masks(predicted, reference, spacing, tolerance_mm=TOLERANCE_MM)
        ours = {name: METRICS[name].compute(pair) for name in ("nsd", "hd95_mm", "assd_mm")}
        if pair.both_empty or pair.one_empty:
            far = np.nan if pair.both_empty else np.linalg.norm(np.multiply(predicted.shape, spacing))
            expected = {"nsd": float(pair.both_empty), "hd95_mm": far, "assd_mm": far}
            assert ours == pytest.approx(expected, nan_ok=True)
            continue
        a, b, given = batched(predicted), batched(reference), {"spacing": list(spacing)}
        hd95 = float(compute_hausdorff_distance(a, b, percentile=95, **given))
        nsd = float(compute_surface_dice(a, b, [TOLERANCE_MM], **given))
        directions = [float(compute_average_surface_distance(*masks, **given)) for masks in ((a, b), (b, a))]
        sizes = [np.count_nonzero(mask & ~binary_erosion(mask)) for mask in (predicted, reference)]
        assd = float(np.average(directions, weights=sizes))
        assert ours == pytest.approx({"nsd": nsd, "hd95_mm": hd95, "assd_mm": assd}, rel=1e-5, abs=1e-6)
        compared += 1
    assert compared > 30


def flooded(mask):
    """Components (26 neighbours) as sets of voxels, by flooding."""
    left, found = {tuple(v) for v in np.argwhere(mask)}, []
    while left:
        part, frontier = set(), [left.pop()]
        while frontier:
            voxel = frontier.pop()
            part.add(voxel)
            near = {tuple(n) for n in (np.array(voxel) + STEPS)} & left
            left -= near
            frontier += near
        found.append(part)
    return found


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_lesions_equal_a_plain_count(least):
    for predicted, reference, _ in pairs():
        lesions, guesses = flooded(reference), flooded(predicted)
        hit = {tuple(v) for v in np.argwhere(predicted & reference)}
        found = sum(len(each & hit) > 0 and len(each & hit) >= least * len(each) for each in lesions)
        counts = count_lesions(predicted, reference, least_overlap=least)
        assert (counts.found, counts.missed, counts.false) == (
            found,
            len(lesions) - found,
            sum(not each & hit for each in guesses),
        )
        if lesions:
            assert counts.sensitivity == found / len(lesions)
        else:
            assert np.isnan(counts.sensitivity)
