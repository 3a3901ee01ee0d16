"""Samples of pretext tasks in the stream and in the batch, beside those of segmentations."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from samples import make_task
from uniseg.pretext.mae import MaskedAutoencoding
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.augment.spatial import box_margin
from uniseg.sampling.batch import RawBatch
from uniseg.sampling.patches import make_batch, with_partners
from uniseg.sampling.pretext_samples import PretextSamples
from uniseg.sampling.requests import RequestStream, TaskCases
from uniseg.sampling.settings import StreamSettings

PATCH = (16, 16, 16)
SETTINGS = StreamSettings(batch_size=4, patch_size=PATCH)


@dataclass(frozen=True)
class Mean(MaskedAutoencoding):
    """Of the patch and its partner."""

    needs_partner: ClassVar[bool] = True

    def apply(self, patch, drawn, task, partner):
        return replace(super().apply(patch, drawn, task), image=(patch.image + partner) / 2)


MAE = MaskedAutoencoding(block=(4, 4, 4))
TASKS = (make_task(), make_task("scans", classes=("CT",), kind="pretext", objective="mae"))


def stream_of(objective=None, recipe=None, seed=0):
    cases = [TaskCases("liver", ("a", "b"), (False,)), TaskCases("scans", ("c", "d"), (False,))]
    if objective is not None:
        cases[1] = replace(cases[1], pretext=(TASKS[1], objective))
    return RequestStream(cases, SETTINGS, recipe, seed)


def raw_of(requests):
    rng, images, labels = np.random.default_rng(5), [], []
    for request in with_partners(requests):
        matrix = request.augmentation and request.augmentation.matrix
        size = [n + 2 * m for n, m in zip(PATCH, box_margin(matrix, PATCH), strict=True)]
        images.append(torch.from_numpy(rng.normal(size=(1, *size)).astype(np.float32)))
        labels.append(torch.zeros(size, dtype=torch.int8))
    return RawBatch(images, labels, list(requests))


def batch_of(objective=MAE, recipe=None, step=0):
    requests = stream_of(objective, recipe).batch(step)
    assert {request.task for request in requests} == {0, 1}
    samples = None if objective is None else PretextSamples(TASKS, {"mae": objective})
    return make_batch(raw_of(requests), PATCH, recipe, samples)


def test_the_draws_of_everything_else_stay_as_they_are():
    recipe = AugmentRecipe()
    plain, mixed = (stream_of(objective, recipe).batch(7) for objective in (None, Mean(block=(4, 4, 4))))
    assert [replace(request, pretext=None, partner=None) for request in mixed] == plain
    assert all((request.pretext is None) == (request.task == 0) == (request.partner is None) for request in mixed)
    assert mixed == stream_of(Mean(block=(4, 4, 4)), recipe).batch(7)
    assert mixed != stream_of(Mean(block=(4, 4, 4)), recipe, seed=1).batch(7)


def test_the_objective_changes_its_own_samples_alone():
    plain, mixed = batch_of(None), batch_of()
    pretext = (mixed.task == 1).tolist()
    for b, is_pretext in enumerate(pretext):
        assert torch.equal(plain.image[b], mixed.image[b]) != is_pretext
        assert (mixed.label[b] == -1).all() == is_pretext
    assert mixed.reconstruction.rows == tuple(np.flatnonzero(pretext))
    assert torch.equal(mixed.reconstruction.target, plain.image[list(mixed.reconstruction.rows)])
    hidden = mixed.reconstruction.counted
    assert hidden.float().mean() == 0.75
    assert (mixed.image[list(mixed.reconstruction.rows)][hidden] == 0).all()


def test_intensities_of_masked_auto_encoding_stay_those_of_the_scan():
    still = dict.fromkeys(("p_rotation", "p_scale", "p_blur", "p_low_resolution", "p_contrast", "p_gamma"), 0)
    recipe = AugmentRecipe(**still, mirror_axes=(), p_gamma_inverted=0, p_noise=1.0, p_brightness=1.0)
    plain, changed = batch_of(), batch_of(recipe=recipe)
    assert torch.equal(plain.reconstruction.target, changed.reconstruction.target)
    assert all(not torch.equal(plain.image[b], changed.image[b]) for b in np.flatnonzero(plain.task == 0))


def test_all_samples_are_augmented_as_without_a_pretext():
    recipe = AugmentRecipe(p_noise=1.0, p_gamma=1.0)
    plain, mixed = batch_of(None, recipe), batch_of(recipe=recipe)
    liver = (plain.task == 0).tolist()
    assert all(torch.equal(plain.image[b], mixed.image[b]) for b in np.flatnonzero(liver))


@pytest.mark.parametrize("recipe", [None, AugmentRecipe()])
def test_a_partner_is_a_patch_of_its_own(recipe):
    objective = Mean(block=(4, 4, 4))
    requests = stream_of(objective, recipe).batch(0)
    partners = [request.partner for request in requests if request.partner is not None]
    assert len(partners) == sum(request.task == 1 for request in requests)
    assert all(partner.task == 1 and partner.seed != 0 and partner.case_id in "cd" for partner in partners)
    batch = make_batch(raw_of(requests), PATCH, recipe, PretextSamples(TASKS, {"mae": objective}))
    assert batch.image.shape == (4, 1, *PATCH)
    assert batch.label.shape == (4, *PATCH)
    if recipe is None:
        boxes = [image for image, _ in raw_of(requests).boxes()]
        rows = [b for b, request in enumerate(requests) if request.task == 1]
        for place, row in enumerate(rows):
            assert torch.equal(batch.image[row], (boxes[row] + boxes[4 + place]) / 2)
