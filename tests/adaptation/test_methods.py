"""Adaptation changes a copy: what it may, towards what it should; its rounds resume bit for bit."""

import copy

import numpy as np
import pytest
import torch

from uniseg.adaptation.methods import ViewRounds, adapt_by_entropy, adapt_to_views
from uniseg.adaptation.patches import ScanInput, draw_patches
from uniseg.adaptation.settings import AdaptSettings
from uniseg.adaptation.views import consistency, draw_views, entropy
from uniseg.errors import InputError
from uniseg.weights.site_file import norm_state


def rounds(number=5, patches=3, tasks=(0,)):
    inputs = [ScanInput(torch.randn(1, 12, 24, 24, generator=torch.Generator().manual_seed(3)), tasks)]
    rng = np.random.default_rng(0)
    return [draw_patches(inputs, patches, (8, 16, 16), rng) for _ in range(number)]


def changed(base, adapted):
    before, after = base.state_dict(), adapted.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def agreement(model):
    rng = np.random.default_rng(99)
    with torch.no_grad():
        views = [draw_views(rng, 1, sd=0.05, gin=True) for _ in range(6)]
        return float(consistency(model, rounds(1, 6)[0], views).mean())


@pytest.mark.parametrize("trains", ["all", "norms"])
def test_it_raises_the_agreement_between_views_that_it_never_saw(model, trains):
    base, before = model.eval(), copy.deepcopy(model.state_dict())
    settings = AdaptSettings(trains=trains, lr=5e-3)
    adapted = adapt_to_views(base, rounds(8, 2), settings)
    assert np.mean(adapted.losses[-2:]) < np.mean(adapted.losses[:2])
    assert agreement(adapted.model) > agreement(base) + 0.005
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    norms = set(norm_state(base))
    assert changed(base, adapted.model) & norms
    assert bool(changed(base, adapted.model) - norms) == (trains == "all")
    assert not any(parameter.requires_grad for parameter in adapted.model.parameters())


def test_the_first_round_takes_no_step(model):
    assert not changed(model, adapt_to_views(model.eval(), rounds(1, 1), AdaptSettings(lr=1e-2)).model)
    assert not changed(model, adapt_by_entropy(model.eval(), rounds(1, 1), AdaptSettings(tent_lr=1e-2)).model)


def test_tent_lowers_the_entropy_by_scales_and_shifts_alone(model):
    base = model.eval()
    adapted = adapt_by_entropy(base, rounds(4, 2), AdaptSettings(tent_lr=1e-2)).model
    assert changed(base, adapted)
    assert changed(base, adapted) <= set(norm_state(base))
    with torch.no_grad():
        before, after = (float(entropy(m, rounds(1, 3)[0]).mean()) for m in (base, adapted))
    assert after < before


def test_rounds_resume_bit_for_bit(model):
    base, settings, all_rounds = model.eval(), AdaptSettings(trains="norms"), rounds(4, 1)
    through = adapt_to_views(base, all_rounds, settings)
    first, second = ViewRounds(base, settings), ViewRounds(base, settings)
    for patches in all_rounds[:2]:
        first.step(patches)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for patches in all_rounds[2:]:
        second.step(patches)
    assert second.finish().losses == through.losses
    assert not changed(through.model, second.finish().model)


@pytest.mark.parametrize("method", ["tent", "histogram"])
def test_a_site_is_adapted_by_consistency_alone(method):
    """The guard would judge another network than the one that is written."""
    with pytest.raises(InputError, match=f"method: found '{method}' with mode=site; expected consistency"):
        AdaptSettings(mode="site", method=method)


def test_settings_say_what_trains_and_how_fast():
    assert (AdaptSettings().trained, AdaptSettings().learning_rate) == ("all", 1e-5)
    assert (AdaptSettings(mode="site").trained, AdaptSettings(mode="site").learning_rate) == ("norms", 1e-3)
    with pytest.raises(InputError, match="mode"):
        AdaptSettings(mode="sites")
