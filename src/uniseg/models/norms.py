"""Instance norm by the fastest kernel for the device and the memory layout."""

from importlib.util import find_spec

import torch
from monai.networks.layers.factories import Norm
from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.errors import InputError
from uniseg.models.fused_norm import DTYPES, fused_norm_act


class InstanceNorm(nn.InstanceNorm3d):
    """Computes what ``torch.nn.InstanceNorm3d`` computes, with the same parameters, in training and prediction.

    | device | layout | computed by |
    |---|---|---|
    | processor | channels first | group norm of one channel per group |
    | processor | channels last | batch norm of one sample at a time |
    | GPU, ``fused`` | both | one Triton kernel for norm and activation, which keeps the layout (``fused_norm.py``) |
    | GPU | channels last | the formula, in float32: keeps the layout, and ``torch.compile`` fuses it |
    | GPU | channels first | torch's kernel |

    On processors torch's own kernel is the slowest for both layouts: it copies channels last to channels first, as it
    does on GPUs. Batch norm's sums are in single precision there, which shows in the fourth digit for windows of half
    a million voxels.

    Attributes:
        fused: whether GPUs take the Triton kernel (``set_fused_norm``).

    Examples:
        >>> norm = InstanceNorm(4, affine=True)
        >>> norm(torch.randn(2, 4, 8, 8, 8)).shape
        torch.Size([2, 4, 8, 8, 8])
    """

    fused: bool = False

    def forward(self, x: Tensor) -> Tensor:
        return self.with_activation(x, 1.0)

    def with_activation(
        self, x: Tensor, slope: float, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Norm, then leaky ReLU of ``slope`` (1: none); ``weight`` and ``bias``, ``[C]`` or per sample ``[B,C]``, in
        place of the module's own.
        """
        weight, bias = (self.weight, self.bias) if weight is None else (weight, bias)
        if self.fused and x.is_cuda and x.dtype in DTYPES and weight is not None:
            return fused_norm_act(x, weight, bias, self.eps, slope)
        y = instance_norm(x, weight, bias, self.eps)
        return y if slope == 1 else F.leaky_relu(y, slope, inplace=True)


def instance_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Without the Triton kernel; ``weight`` and ``bias`` are ``[C]``, per sample ``[B,C]`` or None.

    An exported graph gets torch's own norm, which other programs know.
    """
    channels_last = x.is_contiguous(memory_format=torch.channels_last_3d) and not torch.compiler.is_exporting()
    if x.device.type != "cpu" and channels_last:
        return _formula(x, weight, bias, eps)
    if weight is not None and weight.dim() == 2:
        weight, bias = (values[:, :, None, None, None] for values in (weight, bias))
        return (instance_norm(x, None, None, eps) * weight + bias).to(x.dtype)
    if x.device.type != "cpu" or torch.compiler.is_exporting():
        return F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if channels_last:
        samples = [F.batch_norm(sample, None, None, weight, bias, training=True, eps=eps) for sample in x.split(1)]
        return samples[0] if len(samples) == 1 else torch.cat(samples)
    return F.group_norm(x, x.shape[1], weight, bias, eps)


def _formula(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    var, mean = torch.var_mean(wide, (2, 3, 4), correction=0, keepdim=True)
    y = (wide - mean) * (var + eps).rsqrt()
    if weight is not None:
        weight, bias = (values.view(-1, x.shape[1], 1, 1, 1) for values in (weight, bias))
        y = y * weight + bias
    return y.to(x.dtype)


def set_fused_norm(module: nn.Module, fused: bool) -> None:
    """Whether the norms below ``module`` take the Triton kernel on GPUs.

    Raises:
        InputError: they are to, and Triton is not installed.
    """
    if fused and find_spec("triton") is None:
        fix = "pip install triton, which torch for CUDA brings along, or speed.fused_norm=false"
        raise InputError(
            "speed.fused_norm", "no package triton", "triton, of whose kernels the fused norm is made", fix
        )
    for part in module.modules():
        if isinstance(part, InstanceNorm):
            part.fused = fused


# MONAI's blocks take a norm by the name under which its factory knows it.
Norm.add_factory_class("uniseg_instance", InstanceNorm)
NORM = ("uniseg_instance", {"affine": True})
