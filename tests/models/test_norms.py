"""The instance norm of all networks equals torch's, whatever kernel computes it."""

import pytest
import torch
from torch import nn

from uniseg.models.norms import InstanceNorm


@pytest.mark.parametrize("num_samples", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=["first", "last"])
def test_it_is_torchs_instance_norm(layout, num_samples):
    torch.manual_seed(0)
    x = torch.randn(num_samples, 3, 4, 5, 6, dtype=torch.float64).mul(3).add(1)
    ours, theirs = InstanceNorm(3, affine=True).double(), nn.InstanceNorm3d(3, affine=True).double()
    with torch.no_grad():
        ours.weight.copy_(torch.tensor([1.0, 2, 3]))
        ours.bias.copy_(torch.tensor([0.0, -1, 5]))
    theirs.load_state_dict(ours.state_dict())
    results = []
    for norm, image in ((ours, x.clone().to(memory_format=layout)), (theirs, x.clone())):
        y = norm(image.requires_grad_())
        y.pow(3).sum().backward()
        results.append([y, image.grad, norm.weight.grad, norm.bias.grad])
    torch.testing.assert_close(*results, atol=1e-9, rtol=1e-9)
    assert results[0][0].is_contiguous(memory_format=layout)


def test_networks_are_built_with_it(model):
    norms = [part for part in model.modules() if isinstance(part, nn.InstanceNorm3d)]
    assert len(norms) > 10
    assert {type(norm) for norm in norms} == {InstanceNorm}
