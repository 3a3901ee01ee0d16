"""Which norm takes the fused kernels, and that a card computes them."""

from dataclasses import replace

import pytest
import torch

from interpreted import needs_triton
from uniseg.errors import InputError
from uniseg.models import norms
from uniseg.models.blocks import NormAct, conv_block
from uniseg.models.norms import InstanceNorm, instance_norm, set_fused_norm


def test_it_is_asked_for_without_triton(model, monkeypatch):
    monkeypatch.setattr(norms, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="no package triton"):
        model.set_fused_norm(True)
    model.set_fused_norm(False)


def test_every_norm_of_the_network_follows_the_switch(model, tasks, monkeypatch):
    """Those of tasks added later too."""
    monkeypatch.setattr(norms, "find_spec", lambda name: object())
    model.set_fused_norm(True)
    model.extend([replace(tasks[0], name="later")], adapter_channels=2)
    parts = [part for part in model.modules() if isinstance(part, InstanceNorm)]
    assert len(parts) > 10
    assert any(part in list(model.added.modules()) for part in parts)
    assert all(part.fused for part in parts)
    model.set_fused_norm(False)
    assert not any(part.fused for part in parts)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=["first", "last"])
def test_weights_of_every_sample(layout):
    """What a conditioning gives takes the place of the norm's own weights."""
    x = torch.randn(2, 3, 2, 4, 5).contiguous(memory_format=layout)
    weight, bias = torch.randn(2, 3), torch.randn(2, 3)
    together, norm = NormAct(3)(x, weight, bias), NormAct(3)
    for b in range(2):
        alone = norm(x[b : b + 1], weight[b], bias[b])
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-5, rtol=0)


def test_the_formula_for_channels_last_on_gpus():
    x = torch.randn(2, 3, 2, 4, 5).contiguous(memory_format=torch.channels_last_3d)
    weight, bias = torch.randn(2, 3), torch.randn(2, 3)
    for values in ((weight, bias), (weight[0], bias[0]), (None, None)):
        y = norms._formula(x, *values, 1e-5)
        torch.testing.assert_close(y, instance_norm(x, *values, 1e-5), atol=1e-5, rtol=0)
        assert y.is_contiguous(memory_format=torch.channels_last_3d)
    assert norms._formula(x.half(), weight, bias, 1e-5).dtype == torch.float16


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize(
    ("channels", "dtype", "layout"),
    [
        (20, torch.float16, torch.channels_last_3d),
        (320, torch.float16, torch.channels_last_3d),
        (32, torch.bfloat16, torch.channels_last_3d),
        (20, torch.float32, torch.channels_last_3d),
        (20, torch.float16, torch.contiguous_format),
    ],
    ids=str,
)
def test_kernels_on_the_card(channels, dtype, layout):
    x = torch.randn(2, channels, 15, 33, 47, device="cuda").mul(2).add(1).to(dtype, memory_format=layout)
    gradient, results = torch.randn_like(x), []
    for fused in (True, False):
        norm, leaf = NormAct(channels).cuda(), x.clone().requires_grad_()
        norm.N.fused = fused
        y = norm(leaf)
        y.backward(gradient)
        results.append([y, leaf.grad, norm.N.weight.grad, norm.N.bias.grad])
    tolerance = 8 * torch.finfo(dtype).eps
    for ours, theirs in zip(*results, strict=True):
        assert (ours.float() - theirs.float()).abs().max() <= tolerance * theirs.abs().max().clamp_min(1)
    assert results[0][0].stride() == results[0][1].stride() == x.stride()


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_compiled_on_the_card():
    """The code generator hands the operator what the tracer promised, in half precision and channels last."""
    torch.compiler.reset()
    blocks = torch.nn.Sequential(*(conv_block(a, b, kernel=(3, 3, 3)) for a, b in ((16, 32), (32, 32))))
    blocks = blocks.cuda().to(memory_format=torch.channels_last_3d)
    set_fused_norm(blocks, True)
    x, results = torch.randn(2, 16, 16, 24, 24, device="cuda").to(memory_format=torch.channels_last_3d), []
    for run in (blocks, torch.compile(blocks, fullgraph=True)):
        blocks.zero_grad()
        with torch.autocast("cuda", torch.float16):
            y = run(x)
        y.float().square().mean().backward()
        results.append([y, *(parameter.grad.clone() for parameter in blocks.parameters())])
    for compiled, eager in zip(*reversed(results), strict=True):
        assert (compiled - eager).abs().max() <= 0.02 * eager.abs().max()
    assert results[1][0].is_contiguous(memory_format=torch.channels_last_3d)
