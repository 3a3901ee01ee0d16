"""What every encoder on disk must do; a new YAML is tested by being there."""

from copy import deepcopy
from functools import partial
from math import prod

import pytest
import torch

from networks import PATCH, TASKS, build, classes, factory, mixed_image, names
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.assign import assign, without_numbers
from uniseg.weights.build import build_model, require_loadable


@pytest.mark.parametrize("name", names("encoder"))
def test_every_encoder_on_disk_gives_the_promised_maps(name):
    """On ``meta``, where shapes cost nothing."""
    size, first = (64, 128, 128), torch.tensor([0])
    with without_numbers():
        model = factory(f"model/encoder={name}")(TASKS, patch_size=size)
        require_loadable(model)
        features = model.encoder(model.stem(torch.empty(1, 1, *size), [model.stem_of(0)]))
        logits = model.decode(model.encode(torch.empty(1, 1, *size), first), first)
    assert model.encoder.strides[0] == (1, 1, 1)
    assert [tuple(feature.shape) for feature in features] == [
        (1, c, *maps) for c, maps in zip(model.encoder.channels, map_sizes(model, size), strict=True)
    ]
    assert logits[0].shape == (1, 3, *size)


def map_sizes(model: UniSegModel, size: tuple[int, ...]) -> list[tuple[int, ...]]:
    strides = model.encoder.strides
    return [
        tuple(n // prod(s[axis] for s in strides[: i + 1]) for axis, n in enumerate(size)) for i in range(len(strides))
    ]


@pytest.fixture(params=dict.fromkeys(classes("encoder").values()), ids=lambda cls: cls.__name__)
def small(request) -> UniSegModel:
    """A network around the small encoder of each class."""
    assert request.param.SMALL
    return build(encoder=partial(request.param, **request.param.SMALL)).double()


def test_an_encoder_comes_back_from_its_description(small):
    require_loadable(small)
    with without_numbers():
        back = build_model(TASKS, small.config)
    assign(back, small.float().state_dict(), "a file", "")
    image = torch.randn(1, 1, *PATCH)
    with torch.no_grad():
        torch.testing.assert_close(back(image, torch.tensor([0])), small(image, torch.tensor([0])), atol=0, rtol=0)


def test_no_sample_reads_another(small):
    x = torch.randn(2, small.encoder.channels[0], *PATCH).double()
    for both, alone in zip(small.encoder(x), small.encoder(x[1:]), strict=True):
        torch.testing.assert_close(both[1:], alone)
        assert (both[0] - both[1]).abs().max() > 1e-3


def test_every_weight_of_an_encoder_learns_and_recomputing_changes_no_gradient(small):
    image, order = mixed_image()
    again = deepcopy(small)
    again.set_recompute(True)
    for model in (small, again):
        sum(x[:, :2].square().mean() for x in model.train()(image.double(), order)).backward()
    for name, p in small.encoder.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().max() > 0, name
        torch.testing.assert_close(again.encoder.get_parameter(name).grad, p.grad)
