"""The fused norm's kernels by Triton's interpreter; run by ``test_kernels.py`` in a process that switches it on."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uniseg.models import fused_norm
from uniseg.models.blocks import NormAct
from uniseg.models.fused_norm import fused_norm_act

EPS = 1e-5
LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Tiles and chunks so small that little tensors have several, the last one partly filled."""
    monkeypatch.setattr(fused_norm, "TILE", 256)
    monkeypatch.setattr(fused_norm, "CHANNELS", 4)
    monkeypatch.setattr(fused_norm, "PROGRAMS", 4)


def exact(x, weight, bias, slope):
    """In float64, differentiable."""
    x, weight, bias = x.double(), weight.double(), bias.double()
    var, mean = torch.var_mean(x, (2, 3, 4), correction=0, keepdim=True)
    weight, bias = (values.view(-1, x.shape[1], 1, 1, 1) for values in (weight, bias))
    return F.leaky_relu((x - mean) / (var + EPS).sqrt() * weight + bias, slope)


def compare(x, weight, bias, slope, *, tolerance, gradient=None):
    gradient = torch.randn(x.shape) if gradient is None else gradient
    results = []
    for function in (lambda *args: fused_norm_act(*args[:3], EPS, args[3]), exact):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, weight, bias)]
        y = function(*leaves, slope)
        y.backward(gradient.to(y.dtype))
        results.append([y, *(leaf.grad for leaf in leaves)])
    ours, theirs = results
    assert ours[0].dtype == ours[1].dtype == x.dtype
    assert ours[0].stride() == ours[1].stride() == x.stride()
    for a, b in zip(ours, theirs, strict=True):
        assert (a.double() - b).abs().max() < tolerance * b.abs().max().clamp_min(1)


@pytest.mark.parametrize(
    ("size", "per_sample", "layout"),
    [
        ((2, 6, 3, 4, 5), False, torch.contiguous_format),
        ((2, 6, 3, 4, 5), False, torch.channels_last_3d),
        ((2, 6, 3, 4, 5), True, torch.channels_last_3d),
        ((1, 1, 4, 4, 4), False, torch.contiguous_format),
        ((3, 5, 1, 2, 3), True, torch.contiguous_format),
    ],
    ids=str,
)
def test_values_and_gradients(size, per_sample, layout):
    x = torch.randn(size).mul(3).add(1).contiguous(memory_format=layout)
    weight, bias = (torch.randn(size[:2] if per_sample else size[1:2]) for _ in range(2))
    compare(x, weight, bias, 0.01, tolerance=2e-5)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["first", "last"])
def test_a_large_mean_costs_no_digits(layout):
    x = torch.randn(2, 6, 3, 4, 5).add(100).contiguous(memory_format=layout)
    y, stats = fused_norm._forward(x, torch.ones(6), torch.zeros(6), EPS, 1.0)
    var, mean = torch.var_mean(x.double(), (2, 3, 4), correction=0)
    torch.testing.assert_close(stats[:, 0].double(), mean, atol=0, rtol=1e-7)
    torch.testing.assert_close(stats[:, 1].double(), (var + EPS).rsqrt(), atol=0, rtol=1e-6)
    torch.testing.assert_close(y.double(), exact(x, torch.ones(6), torch.zeros(6), 1.0), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "slope"), [(torch.float16, 0.01), (torch.bfloat16, 1.0)])
def test_half_precision_of_the_input_alone(dtype, slope):
    x = torch.randn(2, 6, 3, 4, 5).to(dtype, memory_format=torch.channels_last_3d)
    gradient = torch.randn(x.shape).to(dtype)
    compare(x, torch.rand(6) + 0.5, torch.randn(6), slope, tolerance=2 * torch.finfo(dtype).eps, gradient=gradient)


def test_gradients_and_inputs_of_other_layouts():
    x, weight, bias = torch.randn(2, 6, 3, 4, 10)[..., ::2], torch.rand(6), torch.randn(6)
    y = fused_norm_act(x.requires_grad_(), weight, bias, EPS, 0.01)
    torch.testing.assert_close(y.double(), exact(x, weight, bias, 0.01), atol=2e-5, rtol=0)
    y.sum().backward()  # a gradient whose strides are 0
    expected = torch.autograd.grad(exact(x, weight, bias, 0.01).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected.float(), atol=2e-5, rtol=0)


def test_compiled_without_a_graph_break():
    layout = torch.channels_last_3d
    norm, conv = NormAct(4), nn.Conv3d(4, 4, 3, padding=1, bias=False).to(memory_format=layout)

    def run(x):
        return fused_norm_act(conv(x), norm.N.weight, norm.N.bias, EPS, 0.01)

    x, results = torch.randn(2, 4, 5, 6, 7).contiguous(memory_format=layout), []
    for function in (run, torch.compile(run, backend="aot_eager", fullgraph=True)):
        norm.zero_grad()
        conv.zero_grad()
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        y.pow(2).sum().backward()
        results.append([y, leaf.grad, norm.N.weight.grad, norm.N.bias.grad, conv.weight.grad])
    torch.testing.assert_close(*results)


def test_the_operator_keeps_its_contract():
    x = torch.randn(2, 4, 3, 4, 5).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    weight, bias = (torch.randn(4, requires_grad=True) for _ in range(2))
    torch.library.opcheck(fused_norm._norm_act, (x, weight, bias, EPS, 0.01))
