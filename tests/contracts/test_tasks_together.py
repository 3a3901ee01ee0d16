"""Every conditioning and head on disk decodes several tasks of a window as one batch."""

import pytest
import torch

from networks import PATCH, TASKS, build, names
from uniseg.inference.accumulators import decode_together, make_accumulator
from uniseg.models.encoded import Encoded

CHOICES = [f"model/{group}={name}" for group in ("conditioning", "head") for name in names(group)]


@pytest.mark.parametrize("choice", CHOICES)
@torch.inference_mode()
def test_together_is_apart(choice):
    more = ["model/head=dynamic"] if choice.endswith(("one_hot", "text_embedding")) else []
    model = build(choice, *more).eval()
    accumulators = [make_accumulator([model], t, features_allowed=True) for t in (1, 0)]
    encoded = model.encode(torch.randn(2, 1, *PATCH), torch.zeros(2, dtype=torch.int64))
    window = Encoded(encoded.bottleneck[1:], [term[1:] for term in encoded.skip_terms])
    together = decode_together(accumulators, 0, model, window)
    for accumulator, values in zip(accumulators, together, strict=True):
        assert values.shape[1] == accumulator.channels
        expected = accumulator.window_values(0, model, encoded)[1:]
        torch.testing.assert_close(values, expected, atol=2e-5, rtol=1e-4)
    assert TASKS[0].num_classes != TASKS[1].num_classes
