"""Masked auto-encoding: what is hidden, what counts."""

import numpy as np
import pytest
import torch

from samples import make_task
from uniseg.errors import InputError
from uniseg.pretext.base import PretextPatch, Reconstruction
from uniseg.pretext.mae import MaskedAutoencoding

PATCH = (32, 48, 16)
MAE = MaskedAutoencoding(block=(8, 16, 4))
TASK = make_task("scans", ("T1", "FLAIR"), ("T1", "FLAIR"), kind="pretext", objective="mae")


def hidden_of(seed=0, objective=MAE, patch=PATCH):
    return objective.mask(objective.draw(np.random.default_rng(seed), TASK, patch), patch)


def applied(image, seed=0):
    patch = PretextPatch(image, torch.zeros(PATCH, dtype=torch.int16))
    return MAE.apply(patch, MAE.draw(np.random.default_rng(seed), TASK, PATCH), TASK)


def loss_of(given, patch):
    values = Reconstruction.stack({0: patch})
    return MAE.loss([given[None]], patch.label[None], values, [TASK])


@pytest.mark.parametrize("seed", range(3))
def test_whole_aligned_blocks_are_hidden_in_the_exact_ratio(seed):
    blocks = hidden_of(seed).reshape(4, 8, 3, 16, 4, 4).transpose(0, 2, 4, 1, 3, 5).reshape(48, -1)
    assert (blocks.all(1) | ~blocks.any(1)).all()
    assert blocks.all(1).sum() == 36
    assert hidden_of(seed, MaskedAutoencoding(), (160, 160, 160)).mean() == 0.75


def test_blocks_are_hidden_at_the_same_place_in_all_channels_and_become_zero():
    image = torch.randn(2, *PATCH)
    patch, hidden = applied(image), torch.from_numpy(hidden_of())
    assert (patch.image[:, hidden] == 0).all()
    assert torch.equal(patch.image[:, ~hidden], image[:, ~hidden])
    assert torch.equal(patch.target, image)
    assert torch.equal(patch.counted, hidden.expand(2, -1, -1, -1))


def test_the_loss_is_the_mean_squared_error_of_hidden_voxels():
    image, given, hidden = torch.randn(2, *PATCH), torch.randn(2, *PATCH), torch.from_numpy(hidden_of())
    expected = (given - image)[:, hidden].square().mean()
    assert torch.allclose(loss_of(given, applied(image))[0], expected)


def test_a_changed_visible_voxel_of_the_target_leaves_the_loss_as_it_is():
    image, given, hidden = torch.randn(2, *PATCH), torch.randn(2, *PATCH), hidden_of()
    visible, masked = (tuple(np.argwhere(where)[0]) for where in (~hidden, hidden))
    before = applied(image)
    for place, same in ((visible, True), (masked, False)):
        after = applied(image)
        after.target[(0, *place)] += 100
        assert (loss_of(given, before) == loss_of(given, after)).all() == same


def test_of_a_constant_image_there_is_nothing_to_learn():
    given = torch.randn(2, *PATCH).requires_grad_()
    loss = loss_of(given, applied(torch.full((2, *PATCH), 3.0)))
    loss.backward()
    assert loss.item() == 0
    assert not given.grad.any()


def test_a_modality_that_the_case_lacks_counts_nowhere():
    image = torch.randn(2, *PATCH)
    image[1] = 0
    patch = applied(image)
    assert not patch.counted[1].any()
    given = torch.randn(2, *PATCH)
    hidden = torch.from_numpy(hidden_of())
    assert torch.allclose(loss_of(given, patch)[0], (given - image)[0, hidden].square().mean())


def test_samples_of_different_numbers_of_modalities_share_a_batch():
    image = torch.randn(2, *PATCH)
    both, one = applied(image), applied(image[:1])
    values = Reconstruction.stack({1: one, 2: both})
    given = torch.randn(2, 3, *PATCH)
    given[0, 1:] = given[1, 2:] = -torch.inf
    given.requires_grad_()
    label = torch.stack([one.label, both.label])
    losses = MAE.loss([given], label, values, [make_task("a", ("T1",), ("T1",), kind="pretext", objective="mae"), TASK])
    losses.sum().backward()
    assert torch.allclose(losses, torch.cat([loss_of(given[0, :1], one), loss_of(given[1, :2], both)]))
    assert torch.isfinite(given.grad).all()


@pytest.mark.parametrize(
    ("classes", "patch", "settings", "found"),
    [
        (("T1",), PATCH, {}, "1 classes for 2 modalities"),
        (("T1", "FLAIR"), (32, 48, 20), {}, r"\[16, 16, 16\] for a patch of \[32, 48, 20\]"),
        (("T1", "FLAIR"), (16, 16, 16), {}, r"\[16, 16, 16\] for a patch"),
        (("T1", "FLAIR"), (32, 32, 32), {"ratio": 0.01}, "for a patch"),
    ],
)
def test_what_does_not_fit_is_refused(classes, patch, settings, found):
    task = make_task("scans", ("T1", "FLAIR"), classes, kind="pretext", objective="mae")
    with pytest.raises(InputError, match=found):
        MaskedAutoencoding(**settings).check(task, patch)
