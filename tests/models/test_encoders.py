"""What is particular to an encoder; what all have in common is in ``contracts/test_encoders.py``."""

import pytest
import torch
from monai.networks.nets.mednext import MedNeXt

from uniseg.models.encoders.mednext import MedNeXtEncoder
from uniseg.models.encoders.resenc import ResidualBlock, ResidualEncoder
from uniseg.models.encoders.segresnet import SegResNetEncoder
from uniseg.models.encoders.swinunetr import SwinLayer, SwinUNETREncoder


@pytest.mark.parametrize("cls", [ResidualEncoder, SegResNetEncoder])
def test_the_anisotropic_stage_does_not_look_across_slices(cls):
    encoder = cls(**cls.SMALL)
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


def test_mednext_computes_what_monais_does():
    ours = MedNeXtEncoder(**MedNeXtEncoder.SMALL)
    theirs = MedNeXt(
        init_filters=4,
        encoder_expansion_ratio=(2, 3),
        decoder_expansion_ratio=(2, 2),
        bottleneck_expansion_ratio=2,
        kernel_size=3,
        use_residual_connection=True,
        blocks_down=(1, 2),
        blocks_bottleneck=1,
        blocks_up=(1, 1),
    )
    theirs.enc_stages[0].load_state_dict(ours.stages[0].state_dict())
    for i, rest in enumerate((theirs.enc_stages[1], theirs.bottleneck), 1):
        theirs.down_blocks[i - 1].load_state_dict(ours.stages[i][0].state_dict())
        rest.load_state_dict(torch.nn.Sequential(*ours.stages[i][1:]).state_dict())
    features = []
    for part in (*theirs.enc_stages, theirs.bottleneck):
        part.register_forward_hook(lambda _, __, output: features.append(output))
    image = torch.randn(1, 1, 8, 8, 8)
    theirs(image)
    torch.testing.assert_close(ours(theirs.stem(image)), features)


def test_a_swin_window_looks_at_itself_where_nothing_shifts_and_beyond_where_it_does():
    layer = SwinLayer(4, 2, 2, 2).eval()
    x = torch.randn(1, 4, 4, 4, 4)
    changed = x.clone()
    changed[:, 0, 2, 2, 2] += 1
    shifted = (layer(x) - layer(changed)).abs().amax((0, 1)) > 0
    assert shifted.all()  # the shift joins all windows here
    still = SwinLayer(4, 1, 2, 2).eval()
    alone = (still(x) - still(changed)).abs().amax((0, 1)) > 0
    assert alone.nonzero().tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"heads": [1]}, "2 depths, 1 heads"),
        ({"heads": [4, 2]}, r"heads \[4, 2\]: expected divisors of \[6, 12\]"),
        ({"depths": [0, 1]}, r"depths \[0, 1\]"),
        ({"window": 1000}, "window 1000"),
    ],
)
def test_numbers_that_no_swin_encoder_has_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        SwinUNETREncoder(**SwinUNETREncoder.SMALL | settings)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"blocks": [1]}, "1 blocks, 3 expansions"),
        ({"blocks": [1, 0, 1]}, r"blocks \[1, 0, 1\]: expected 1 to 100"),
        ({"expansion": [2, 99, 2]}, r"expansion \[2, 99, 2\]: expected 1 to 16"),
        ({"kernel": 4}, "kernel 4"),
    ],
)
def test_numbers_that_no_mednext_has_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        MedNeXtEncoder(**MedNeXtEncoder.SMALL | settings)
