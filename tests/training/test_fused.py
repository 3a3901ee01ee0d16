"""Fused optimisers: a first step that is skipped, gradients whose strides differ where they mean nothing."""

import torch

from uniseg.training.fused import ambiguous, fill_momentum, match_strides


def steps(gradients, *, fused, filled):
    weight = torch.nn.Parameter(torch.ones(1000))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, nesterov=True, fused=fused)
    if filled:
        fill_momentum(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, backoff_factor=1.0 - 1e-9)
    scaler.scale(torch.ones(1))
    for value in gradients:
        weight.grad = torch.full_like(weight, 4 * value)
        scaler.step(optimizer)
        scaler.update(4.0)
    return weight.detach()


def test_a_skipped_first_step_leaves_no_trace():
    """Torch's kernel takes uninitialised memory as momentum then."""
    after = steps([float("inf"), 1.0, 2.0], fused=True, filled=True)
    torch.testing.assert_close(after, steps([1.0, 2.0], fused=False, filled=False))


def test_filled_momentum_changes_no_step():
    assert torch.equal(steps([1.0, 2.0], fused=True, filled=True), steps([1.0, 2.0], fused=True, filled=False))


def test_gradients_have_the_strides_of_their_weights():
    weight = torch.nn.Parameter(torch.randn(2, 3, 1, 1, 1).to(memory_format=torch.channels_last_3d))
    weight.grad = values = torch.randn(2, 3, 1, 1, 1)
    assert values.stride() != weight.stride()
    match_strides([weight])
    assert weight.grad.stride() == weight.stride()
    assert torch.equal(weight.grad, values)


def test_only_weights_with_axes_of_length_one_are_looked_at():
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((4, 4), (4, 1), (4,))]
    assert ambiguous(torch.optim.SGD(weights, lr=1.0, fused=True)) == [weights[1]]
    assert ambiguous(torch.optim.SGD(weights, lr=1.0)) == []
