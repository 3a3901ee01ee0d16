"""A training step of nnU-Net v2's plain U-Net with its loss; run by ``bench_step.py`` in nnU-Net's own environment."""

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.network_initialization import InitWeights_He
from step_worker import CLASSES, KERNELS, STRIDES, Setting, serve
from torch import Tensor, nn

DICE = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
LOSS = DeepSupervisionWrapper(
    DC_and_CE_loss(DICE, {}, dice_class=MemoryEfficientSoftDiceLoss), [8 / 15, 4 / 15, 2 / 15, 1 / 15, 0]
)


def build(setting: Setting) -> nn.Module:
    """The published UniSeg's last decoder stage has 3x3x3 kernels, so the anchor gets them as well, except with
    ``planned_decoder``.
    """
    network = PlainConvUNet(
        1, len(KERNELS), setting.channels, nn.Conv3d, KERNELS, [(1, 1, 1), *STRIDES], 2, CLASSES, 2, conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )  # fmt: skip
    if not setting.planned_decoder:
        network.encoder.kernel_sizes = [KERNELS[-1]] * len(KERNELS)
        network.decoder = UNetDecoder(network.encoder, CLASSES, 2, deep_supervision=True)
    network.apply(InitWeights_He(1e-2))
    return network


def loss_of(network: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """The labels of the coarser scales are made here, as UniSeg's loss does; nnU-Net's loader makes them in its
    workers.
    """
    logits = network(image)
    labels = [nn.functional.interpolate(label[:, None].float(), scale.shape[2:]) for scale in logits]
    return LOSS(logits, labels)


if __name__ == "__main__":
    torch.backends.cudnn.benchmark = True
    serve(build, loss_of)
