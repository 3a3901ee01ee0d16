"""Surface distances by hand and against MONAI."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from uniseg.metrics.surface import bounding_box, surface_distances


def box(shape, *corners):
    mask = np.zeros(shape, bool)
    for low, high in corners:
        mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_a_shifted_plate_by_hand():
    """One voxel thick, moved by two slices of 3 mm: every distance is 6 mm."""
    reference, predicted = box((6, 4, 4), ((1, 0, 0), (2, 4, 4))), box((6, 4, 4), ((3, 0, 0), (4, 4, 4)))
    distances = surface_distances(predicted, reference, (3.0, 1.0, 1.0))
    assert (distances.hd95(), distances.assd()) == (6, 6)
    assert (distances.nsd(5.9), distances.nsd(6.0)) == (0, 1)


def test_unlike_surfaces_weigh_by_their_voxels():
    """A plate of 16 voxels against one voxel of it."""
    reference, predicted = box((3, 4, 4), ((1, 0, 0), (2, 4, 4))), box((3, 4, 4), ((1, 0, 0), (2, 1, 1)))
    distances = surface_distances(predicted, reference, (1.0, 1.0, 2.0))
    assert distances.to_reference.tolist() == [0]
    assert sorted(distances.to_prediction)[-1] == pytest.approx((3**2 + 6**2) ** 0.5)
    near = sum((y**2 + (2 * x) ** 2) ** 0.5 <= 2 for y in range(4) for x in range(4))
    assert distances.nsd(2.0) == pytest.approx((1 + near) / 17)


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")  # of MONAI's own call
def test_two_hundred_random_pairs_equal_monai():
    """MONAI: the same surfaces; its ASSD is the mean over both surfaces together, its HD95 the larger of two
    percentiles.
    """
    random = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(random.integers(3, 9, 3))
        spacing = tuple(random.uniform(0.5, 5, 3))
        predicted, reference = (random.uniform(size=shape) < random.uniform(0.05, 0.9) for _ in range(2))
        if not (predicted.any() and reference.any()):
            with pytest.raises(ValueError, match="empty"):
                surface_distances(predicted, reference, spacing)
            continue
        own = surface_distances(predicted, reference, spacing)
        theirs = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, reference)]
        assert own.hd95() == pytest.approx(
            compute_hausdorff_distance(*theirs, percentile=95, spacing=spacing).item(), abs=1e-4
        )
        assert own.assd() == pytest.approx(
            compute_average_surface_distance(*theirs, symmetric=True, spacing=spacing).item(), abs=1e-4
        )
        assert own.nsd(1.5) == pytest.approx(compute_surface_dice(*theirs, [1.5], spacing=spacing).item(), abs=1e-4)


def test_the_box_of_a_mask():
    assert bounding_box(box((5, 6, 7), ((1, 2, 3), (2, 4, 7)))) == (slice(1, 2), slice(2, 4), slice(3, 7))
