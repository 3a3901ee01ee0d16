"""Surface distances by hand; test_against_references compares them with MONAI's."""

import numpy as np
import pytest

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
    assert (distances.hausdorff(95), distances.assd()) == (6, 6)
    assert (distances.nsd(5.9), distances.nsd(6.0)) == (0, 1)


def test_unlike_surfaces_weigh_by_their_voxels():
    """A plate of 16 voxels against one voxel of it."""
    reference, predicted = box((3, 4, 4), ((1, 0, 0), (2, 4, 4))), box((3, 4, 4), ((1, 0, 0), (2, 1, 1)))
    distances = surface_distances(predicted, reference, (1.0, 1.0, 2.0))
    assert distances.to_reference.tolist() == [0]
    assert sorted(distances.to_prediction)[-1] == pytest.approx((3**2 + 6**2) ** 0.5)
    near = sum((y**2 + (2 * x) ** 2) ** 0.5 <= 2 for y in range(4) for x in range(4))
    assert distances.nsd(2.0) == pytest.approx((1 + near) / 17)


def test_an_empty_mask_has_no_surface():
    with pytest.raises(ValueError, match="empty mask"):
        surface_distances(box((3, 3, 3)), box((3, 3, 3), ((1, 1, 1), (2, 2, 2))), (1, 1, 1))


def test_the_box_of_a_mask():
    assert bounding_box(box((5, 6, 7), ((1, 2, 3), (2, 4, 7)))) == (slice(1, 2), slice(2, 4), slice(3, 7))
