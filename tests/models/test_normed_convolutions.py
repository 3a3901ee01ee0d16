"""Which convolutions a norm follows, and the size they were drawn with."""

import pytest
import torch

from networks import build
from uniseg.models.normed_convolutions import normed_convolutions


def test_every_convolution_with_a_norm_is_found_once():
    model = build()
    found = normed_convolutions(model)
    weights = {id(weight) for each in found for weight in each.weights}
    assert len(weights) == sum(len(each.weights) for each in found)
    unfound = {n for n, p in model.named_parameters() if p.ndim == 5 and id(p) not in weights}
    upsampling = {f"decoder.stages.{i}.upsample.weight" for i in (0, 1)}
    assert unfound == {*upsampling, "conditioning.universal_prompt", *(n for n in unfound if n.startswith("head."))}
    assert {"stem.convs.1", "encoder.stages.1.0.conv", "conditioning.fuse.2.conv", "decoder.stages.0.halves"} <= {
        each.name for each in found
    }


@pytest.mark.parametrize("factor", [1, 3])
def test_new_weights_have_the_size_they_were_drawn_with(factor):
    for each in normed_convolutions(build()):
        with torch.no_grad():
            for weight in each.weights:
                weight.mul_(factor)
        numel = sum(weight.numel() for weight in each.weights)
        assert each.norm().item() == pytest.approx(factor * each.drawn_norm, rel=4 / (2 * numel) ** 0.5), each.name
