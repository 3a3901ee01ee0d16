"""Every encoder of the configuration keeps the contract; the residual block computes what its sum says."""

from math import prod

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from uniseg.environment import CONF_DIR
from uniseg.models.encoders.monai_nets import SegResNetEncoder
from uniseg.models.encoders.resenc import ResidualBlock, ResidualEncoder

TINY = ["unet_tiny", "resenc_tiny", "segresnet_tiny"]


def encoder_of(name):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=[f"model/encoder={name}", "run_dir=unused"])
    return instantiate(config.model.encoder, _convert_="all")()


@pytest.mark.parametrize("name", TINY)
def test_features_have_the_promised_shapes(name):
    encoder = encoder_of(name)
    assert encoder.channels == (8, 16, 32, 64, 128)
    assert encoder.strides[:2] == ((1, 1, 1), (1, 2, 2))
    size = (16, 32, 32)
    features = encoder(torch.randn(2, encoder.channels[0], *size))
    for i, feature in enumerate(features):
        shrunk = [n // prod(s[axis] for s in encoder.strides[: i + 1]) for axis, n in enumerate(size)]
        assert list(feature.shape) == [2, encoder.channels[i], *shrunk]


@pytest.mark.parametrize("name", TINY)
def test_no_sample_reads_another(name):
    encoder = encoder_of(name)
    x = torch.randn(2, encoder.channels[0], 16, 32, 32)
    for both, alone in zip(encoder(x), encoder(x[1:]), strict=True):
        torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=0)


def test_the_anisotropic_stage_does_not_look_across_slices():
    for encoder in (encoder_of("resenc_tiny"), encoder_of("segresnet_tiny")):
        assert encoder.stem_kernel == (1, 3, 3)
        assert {part.kernel_size[0] for part in encoder.stages[0].modules() if isinstance(part, torch.nn.Conv3d)} == {1}


def test_a_block_without_branch_is_its_skip():
    block = ResidualBlock(2, 2, kernel=(3, 3, 3), stride=(1, 2, 2))
    torch.nn.init.zeros_(block.second.adn.N.weight)
    x = torch.randn(1, 2, 4, 8, 8)
    expected = torch.nn.functional.leaky_relu(torch.nn.functional.avg_pool3d(x, (1, 2, 2)), 0.01)
    torch.testing.assert_close(block(x), expected, atol=0, rtol=0)


def test_projection_only_where_channels_change():
    encoder = ResidualEncoder(channels=[2, 2, 4], strides=[[2, 2, 2]] * 2, kernels=[[3, 3, 3]] * 3, blocks=[1, 2, 2])
    assert [[len(block.skip) for block in stage] for stage in encoder.stages] == [[0], [1, 0], [2, 0]]


def test_lists_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected n, n - 1, n, n"):
        ResidualEncoder(channels=[2, 4], strides=[[2, 2, 2]], kernels=[[3, 3, 3]] * 2, blocks=[1])
    with pytest.raises(ValueError, match="expected n - 1, n"):
        SegResNetEncoder(width=2, strides=[[2, 2, 2]], blocks=[1])
