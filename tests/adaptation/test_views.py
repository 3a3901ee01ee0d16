"""Views are undone after the network; their agreement is 1 for what does not move, and has a gradient on one side."""

import numpy as np
import pytest
import torch

from uniseg.adaptation.patches import ScanInput, draw_patches
from uniseg.adaptation.views import Patch, View, consistency, draw_view, draw_views, entropy, soft_dice


def blob(centre=(8, 12, 10), size=(16, 24, 20)):
    axes = np.meshgrid(*(np.arange(n) - c for n, c in zip(size, centre, strict=True)), indexing="ij")
    return torch.from_numpy(np.exp(-sum(a**2 for a in axes) / 20.0).astype(np.float32))[None]


def test_what_a_view_moves_its_undoing_moves_back():
    view = draw_view(np.random.default_rng(1), 1, sd=0.1, gin=False)
    image = blob()
    moved = view.apply(image)
    assert (moved - image).abs().max() > 0.1
    back, inside = view.undo(moved[None])[0], view.inside(image)[0]
    assert 0.4 < inside.float().mean() < 1
    assert ((back - image).abs() * inside).max() < 0.1


def test_a_shift_by_two_voxels_is_seen_where_it_should_be():
    matrix = np.eye(3, 4)
    matrix[0, 3] = 2 * 2 / 20  # x, of 20 voxels, in the convention of the grid
    assert int(View(matrix).apply(blob())[0, 8, 12].argmax()) == 8
    assert not View(matrix).inside(blob())[0, 0, :, :, :2].any()


def test_no_affine_part_leaves_the_place_and_gin_the_norm():
    view = draw_view(np.random.default_rng(0), 1, sd=0, gin=True)
    after = view.apply(blob())
    torch.testing.assert_close(after.norm(), blob().norm(), rtol=1e-3, atol=0)
    assert torch.corrcoef(torch.stack([after.flatten(), blob().flatten()]))[0, 1].abs() < 0.9999


def test_soft_dice_by_hand():
    ours, theirs = torch.zeros(1, 2, 1, 1, 4), torch.zeros(1, 2, 1, 1, 4)
    ours[0, 1, 0, 0], theirs[0, 1, 0, 0] = torch.tensor([1.0, 1, 0, 1]), torch.tensor([1.0, 0, 1, 1])
    everywhere = torch.ones(1, 1, 1, 1, 4, dtype=torch.bool)
    assert float(soft_dice(ours, theirs, everywhere)) == pytest.approx((2 * 2 + 1) / (6 + 1))
    everywhere[..., 3] = False
    assert float(soft_dice(ours, theirs, everywhere)) == pytest.approx((2 * 1 + 1) / (4 + 1))
    assert float(soft_dice(ours, ours, everywhere)) == 1
    assert float(soft_dice(0 * ours, 0 * ours, everywhere)) == 1


def test_two_equal_views_agree_and_two_others_less(model):
    patch, rng = Patch(torch.randn(1, 8, 16, 16), 0), np.random.default_rng(0)
    view = draw_view(rng, 1, sd=0.05, gin=True)
    with torch.no_grad():
        assert float(consistency(model.eval(), [patch], [(view, view)])) > 0.9999
        assert float(consistency(model, [patch], [draw_views(rng, 1, sd=0.1, gin=True)])) < 0.99


def test_entropy_is_that_of_the_probabilities(model):
    patch = Patch(torch.randn(1, 8, 16, 16), 1)
    with torch.no_grad():
        values = model.eval()(patch.image[None], torch.tensor([1]))[0].softmax(1)
        expected = torch.distributions.Categorical(values.movedim(1, -1)).entropy().mean()
        torch.testing.assert_close(entropy(model, [patch])[0], expected, rtol=1e-4, atol=1e-5)


def test_patches_that_are_computed_together_do_not_mix(model):
    """The prostate has one modality and two classes, the brain four and four."""
    rng = np.random.default_rng(0)
    patches = [Patch(torch.randn(1, 8, 16, 16), 1), Patch(torch.randn(4, 8, 16, 16), 2)]
    views = [draw_views(rng, len(patch.image), sd=0.1, gin=True) for patch in patches]
    with torch.no_grad():
        alone = torch.cat([consistency(model.eval(), [p], [v]) for p, v in zip(patches, views, strict=True)])
        torch.testing.assert_close(consistency(model, patches, views), alone, rtol=1e-4, atol=1e-5)
        assert abs(float(alone[0] - alone[1])) > 1e-3
        entropies = torch.cat([entropy(model, [patch]) for patch in patches])
        torch.testing.assert_close(entropy(model, patches), entropies, rtol=1e-4, atol=1e-5)


def test_tasks_take_turns_and_a_small_scan_is_padded_as_at_prediction():
    inputs = [ScanInput(torch.ones(1, 5, 20, 20), (0, 2)), ScanInput(torch.ones(4, 9, 9, 30), (1,))]
    patches = draw_patches(inputs, 7, (8, 16, 16), np.random.default_rng(0))
    assert sorted(patch.task_index for patch in patches[:3]) == [0, 1, 2]
    assert {patch.image.shape[1:] for patch in patches} == {(8, 16, 16)}
    small = next(patch.image for patch in patches if patch.task_index == 0)
    assert small[0, :, 0, 0].tolist() == [0, 1, 1, 1, 1, 1, 0, 0]
    again = draw_patches(inputs, 7, (8, 16, 16), np.random.default_rng(0))
    assert all(torch.equal(a.image, b.image) for a, b in zip(patches, again, strict=True))
