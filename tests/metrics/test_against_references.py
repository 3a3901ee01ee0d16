"""Every score on 200 random pairs of masks, empty ones among them, against MONAI, or against a plain count where MONAI
has none.
"""

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

from uniseg.metrics.lesions import count_lesions
from uniseg.metrics.overlap import count_classes
from uniseg.metrics.surface import surface_distances

NUM_PAIRS, TOLERANCE_MM = 200, 2.0
EMPTY_SHARE = 0.1
STEPS = np.array([step for step in product((-1, 0, 1), repeat=3) if any(step)])


def make_pair(seed):
    """Two blobby masks, or an empty one, on a grid of its own shape and spacing."""
    rng = np.random.default_rng(seed)
    shape, spacing = rng.integers(6, 15, 3), tuple(rng.choice([0.5, 0.7, 1.0, 1.5, 3.0, 7.0], 3).tolist())
    reference = binary_dilation(rng.random(shape) < 0.02, iterations=2)
    predicted = binary_dilation(rng.random(shape) < 0.02, iterations=2)
    predicted |= np.roll(reference, rng.integers(-1, 2, 3), (0, 1, 2)) if rng.random() < 0.7 else False
    return (mask & (rng.random() > EMPTY_SHARE) for mask in (predicted, reference)), spacing


def pairs():
    for seed in range(NUM_PAIRS):
        (predicted, reference), spacing = make_pair(seed)
        yield predicted, reference, spacing


def batched(mask):
    return torch.from_numpy(mask)[None, None].float()


def test_pairs_are_of_every_kind():
    kinds = [(bool(p.any()), bool(r.any())) for p, r, _ in pairs()]
    assert {kind: kinds.count(kind) > 0 for kind in product((False, True), repeat=2)} == dict.fromkeys(
        product((False, True), repeat=2), True
    )
    assert kinds.count((True, True)) > 120


def test_overlap_equals_monais():
    for predicted, reference, _ in pairs():
        dice = count_classes(
            torch.from_numpy(predicted).long(), torch.from_numpy(reference).long(), ((False,), (True,))
        ).dice()[0]
        theirs = [
            float(f(batched(predicted), batched(reference), ignore_empty=False)) for f in (compute_dice, compute_iou)
        ]
        if not (predicted | reference).any():
            assert torch.isnan(dice)
            assert theirs == [1, 1], "MONAI's convention for two empty masks, which a Score takes over"
        else:
            assert [float(dice), float(dice / (2 - dice))] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own call
def test_distances_equal_monais():
    compared = 0
    for predicted, reference, spacing in pairs():
        if not (predicted.any() and reference.any()):
            with pytest.raises(ValueError, match="empty mask"):
                surface_distances(predicted, reference, spacing)
            continue
        ours, (a, b) = surface_distances(predicted, reference, spacing), (batched(predicted), batched(reference))
        assert ours.hd95() == pytest.approx(
            float(compute_hausdorff_distance(a, b, percentile=95, spacing=list(spacing))), rel=1e-5
        )
        nsd = compute_surface_dice(a, b, [TOLERANCE_MM], spacing=list(spacing))
        assert ours.nsd(TOLERANCE_MM) == pytest.approx(float(nsd), abs=1e-6)
        there, back = (compute_average_surface_distance(*pair, spacing=list(spacing)) for pair in ((a, b), (b, a)))
        sizes = [np.count_nonzero(mask & ~binary_erosion(mask)) for mask in (predicted, reference)]
        assert ours.assd() == pytest.approx(float(np.average([float(there), float(back)], weights=sizes)), rel=1e-5)
        compared += 1
    assert compared > 120


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
        found = sum(len(own & hit) > 0 and len(own & hit) >= least * len(own) for own in lesions)
        counts = count_lesions(predicted, reference, least_overlap=least)
        assert (counts.found, counts.missed, counts.false) == (
            found,
            len(lesions) - found,
            sum(not own & hit for own in guesses),
        )
        if lesions:
            assert counts.sensitivity == found / len(lesions)
        else:
            assert np.isnan(counts.sensitivity)
