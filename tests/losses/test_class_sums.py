"""Where the loss's kernels are used, and that a card computes them."""

import pytest
import torch

from interpreted import needs_triton
from samples import make_task
from uniseg.losses import class_sums
from uniseg.losses.class_sums import can_fuse
from uniseg.losses.dice_ce import DiceCELoss


def test_processors_do_not_take_them():
    assert not can_fuse(torch.zeros(1, 2, 4, 4, 4))


def test_a_machine_that_cannot_make_a_kernel_does_without(monkeypatch, caplog):
    class Broken:
        @staticmethod
        def apply(*tensors):
            raise RuntimeError("Failed to find C compiler.\nPlease specify one.")

    monkeypatch.setattr(class_sums, "_ClassSums", Broken)
    with caplog.at_level("INFO"):
        assert not class_sums._kernels_work.__wrapped__(torch.device("cpu"))
    assert "Failed to find C compiler" in caplog.text


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("regions", [(), ((1, 2), (2,))])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=["first", "last"])
def test_kernels_on_the_card(layout, regions):
    task = make_task("tumour", classes=("background", "whole", "core"), regions=regions)
    logits = torch.randn(2, 3, 32, 96, 96, device="cuda").mul(3).contiguous(memory_format=layout)
    label = torch.randint(-1, 3, (2, 32, 96, 96), device="cuda", dtype=torch.int16)
    results = []
    for fused in (True, False):
        loss, leaf = DiceCELoss(dice_weight=1, ce_weight=1), logits.clone().requires_grad_()
        loss.fused = fused
        values = loss(leaf, label, [task] * 2)
        values.sum().backward()
        results.append((values, leaf.grad))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-9, rtol=1e-3)
    assert results[0][1].stride() == logits.stride()
