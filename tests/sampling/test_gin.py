"""GIN: the norm stays, zeros stay, the draw alone decides; against a network built of torch's own layers."""

import numpy as np
import pytest
import torch
from torch import nn

from uniseg.sampling.augment.base import PatchImages
from uniseg.sampling.augment.gin import Gin, GinDraw, change_appearance


def image(num_modalities=2, seed=0):
    return torch.randn(1, num_modalities, 6, 8, 7, generator=torch.Generator().manual_seed(seed))


def drawn(seed=0, num_modalities=2):
    return Gin(p=1).draw(np.random.default_rng(seed), (False,) * num_modalities)


def applied(x, *draws):
    patches = PatchImages(x.clone(), [x.shape[1]] * len(x), [0] * len(x))
    Gin(p=1).apply(patches, draws)
    return patches.image


def test_every_modality_keeps_its_norm_and_changes_its_looks():
    before, after = image(), applied(image(), drawn())
    torch.testing.assert_close(after.flatten(2).norm(dim=2), before.flatten(2).norm(dim=2), rtol=1e-4, atol=0)
    for m in range(2):
        assert abs(float(torch.corrcoef(torch.stack([before[0, m].flatten(), after[0, m].flatten()]))[0, 1])) < 0.999


def test_the_draw_alone_decides():
    assert drawn(1) == drawn(1) != drawn(2)
    assert torch.equal(applied(image(), drawn(1)), applied(image(), drawn(1)))
    assert not torch.equal(applied(image(), drawn(1)), applied(image(), drawn(2)))
    both = applied(torch.cat([image(), image(seed=1)]), drawn(1), drawn(2))
    assert torch.equal(both[1], applied(image(seed=1), drawn(2))[0])


def test_a_kernel_of_one_is_a_curve_of_intensities_and_one_of_three_sees_neighbours():
    x = torch.tensor([0.5, 1.0, 2.0])[torch.randint(3, (1, 5, 5, 5))]
    pointwise = change_appearance(x, [GinDraw(3, (1, 1, 1, 1), 1.0)])
    wider = change_appearance(x, [GinDraw(3, (1, 3, 1, 1), 1.0)])
    assert [len(y[x == 1].unique()) > 1 for y in (pointwise, wider)] == [False, True]


def test_it_is_the_network_that_torch_builds_of_its_layers():
    draw = GinDraw(5, (3, 1, 3, 3), 0.3)
    layers = []
    for weight, bias in draw.layers():
        conv = nn.Conv3d(weight.shape[1], weight.shape[0], 3, padding=1)
        conv.weight.data, conv.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
        layers += [conv, nn.LeakyReLU(0.01)]
    x = image(1)
    with torch.no_grad():
        y = 0.3 * nn.Sequential(*layers[:-1])(x) + 0.7 * x
    torch.testing.assert_close(change_appearance(x[0], [draw]), (y * x.norm() / y.norm())[0], rtol=1e-4, atol=1e-5)


def test_padding_a_masked_outside_and_a_lacking_modality_stay_zero():
    x = image()
    x[..., :3], x[:, 1] = 0, 0
    after = applied(x, drawn())
    assert after[..., :3].abs().max() == 0
    assert after[:, 1].abs().max() == 0
    assert after[0, 0, ..., 3:].abs().min() > 0
    torch.testing.assert_close(after[0, 0].norm(), x[0, 0].norm(), rtol=1e-4, atol=0)


def test_a_mix_of_nothing_is_the_image():
    x = image(1)
    torch.testing.assert_close(change_appearance(x[0], [GinDraw(0, (3, 3, 3, 3), 0.0)]), x[0])


def test_it_is_off_by_default_and_half_of_the_samples_get_it_when_on():
    rng = np.random.default_rng(0)
    assert 80 < sum(bool(Gin().draw(rng, (False,))) for _ in range(200)) < 120
    with pytest.raises(ValueError, match="p"):
        Gin(p=1.5)
