"""Instance norm by the fastest kernel for the device and the memory layout."""

import torch
from monai.networks.layers.factories import Norm
from torch import Tensor, nn
from torch.nn import functional as F


class InstanceNorm(nn.InstanceNorm3d):
    """Computes what ``torch.nn.InstanceNorm3d`` computes, with the same parameters, in training and prediction.

    On processors torch's own kernel is the slowest for both layouts: it copies channels last to channels first. Group
    norm with one channel per group is faster for channels first, batch norm of one sample at a time for channels last
    (with sums in single precision, which show in the fourth digit for windows of half a million voxels). Other devices
    take torch's kernel.

    Examples:
        >>> norm = InstanceNorm(4, affine=True)
        >>> norm(torch.randn(2, 4, 8, 8, 8)).shape
        torch.Size([2, 4, 8, 8, 8])
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        if x.is_contiguous(memory_format=torch.channels_last_3d):
            samples = [
                F.batch_norm(sample, None, None, self.weight, self.bias, training=True, eps=self.eps)
                for sample in x.split(1)
            ]
            return samples[0] if len(samples) == 1 else torch.cat(samples)
        return F.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


# MONAI's blocks take a norm by the name under which its factory knows it.
Norm.add_factory_class("uniseg_instance", InstanceNorm)
NORM = ("uniseg_instance", {"affine": True})
