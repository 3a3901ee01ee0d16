"""The network as one function: what a batch may mix, what may not leak between samples."""

from functools import partial

import pytest
import torch

from uniseg.device_copy import merge_rows, take_rows
from uniseg.errors import InputError
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.build import build_model


def test_mixed_batch_equals_one_by_one(model, tasks):
    image = torch.randn(4, 4, 8, 16, 16)
    order = torch.tensor([2, 0, 1, 0])
    for b, t in enumerate(order):
        image[b, tasks[t].num_modalities :] = 0
    mixed = model(image, order)
    assert [tuple(x.shape) for x in mixed] == [(4, 4, 8, 16, 16), (4, 4, 8, 8, 8)]
    for b, t in enumerate(order):
        alone = model(image[b : b + 1, : tasks[t].num_modalities], order[b : b + 1])
        for together, single in zip(mixed, alone, strict=True):
            torch.testing.assert_close(together[b : b + 1, : single.shape[1]], single, atol=1e-5, rtol=0)
            assert torch.isneginf(together[b, single.shape[1] :]).all()


def test_the_task_changes_the_answer(model):
    image = torch.randn(1, 1, 8, 16, 16)
    liver, prostate = (model(image, torch.tensor([t]))[0][:, :2] for t in (0, 1))
    assert (liver - prostate).abs().max() > 1e-3


def test_one_encoding_serves_several_tasks(model):
    image = torch.randn(1, 1, 8, 16, 16)
    encoded = model.encode(image, torch.tensor([0]))
    both = model.decode(encoded, torch.tensor([0, 1]))[0]
    for row, t in enumerate((0, 1)):
        single = model(image, torch.tensor([t]))[0][0]
        torch.testing.assert_close(both[row, : len(single)], single, atol=1e-5, rtol=0)


def test_every_prompt_learns_but_only_used_stems(model):
    model(torch.randn(2, 1, 8, 16, 16), torch.tensor([0, 1]))[0][:, :2].square().mean().backward()
    assert model.stem.convs["4"].weight.grad is None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.stem.convs["1"].parameters())
    assert (model.conditioning.universal_prompt.grad.flatten(2).abs().amax(2) > 0).all()


def test_other_windows_work_and_unfit_ones_are_refused(model):
    assert model(torch.randn(1, 1, 16, 16, 24), torch.tensor([0]))[0].shape[2:] == (16, 16, 24)
    for size in ((8, 16, 18), (2, 4, 4)):
        with pytest.raises(ValueError, match="multiples of"):
            model(torch.randn(1, 1, *size), torch.tensor([0]))


def test_same_type_in_train_and_eval(model):
    image, task = torch.randn(1, 1, 8, 16, 16), torch.tensor([0])
    trained, evaluated = model.train()(image, task), model.eval()(image, task)
    assert [x.shape for x in trained] == [x.shape for x in evaluated]
    assert {x.dtype for x in trained + evaluated} == {torch.float32}


def test_no_tensor_appears_twice(model):
    addresses = [tensor.data_ptr() for tensor in model.state_dict().values()]
    assert len(addresses) == len(set(addresses))


def test_its_own_description_rebuilds_it(model, tasks):
    again = build_model(tasks, model.config)
    again.load_state_dict(model.state_dict())
    image, task = torch.randn(1, 4, 8, 16, 16), torch.tensor([2])
    torch.testing.assert_close(again(image, task)[0], model(image, task)[0], atol=0, rtol=0)
    assert again.conditioning.hidden_channels == model.conditioning.hidden_channels


def test_a_description_cannot_name_other_code(model, tasks):
    with pytest.raises(InputError, match=r"os\.system"):
        build_model(tasks, model.config | {"head": {"_target_": "os.system"}})


def test_halves_start_as_one_convolution(model):
    stage = UniSegModel(
        model.tasks,
        patch_size=(8, 16, 16),
        encoder=partial(UNetEncoder, channels=[64, 64], strides=[[2, 2, 2]], kernels=[[3, 3, 3]] * 2),
        conditioning=partial(
            type(model.conditioning), hidden_channels=None, learned=True, place="bottleneck", fuse=True
        ),
        head=type(model.head),
    ).decoder.stages[0]
    expected = (2 / (1 + 0.01**2) / (128 * 27)) ** 0.5
    assert stage.up_half.weight.std().item() == pytest.approx(expected, rel=0.05)
    assert stage.skip_half.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_too_few_channels_are_refused(model):
    with pytest.raises(ValueError, match="1 channels; the task has 4 modalities"):
        model(torch.randn(1, 1, 8, 16, 16), torch.tensor([2]))


@pytest.mark.parametrize("recompute", [False, True])
def test_joined_halves_compute_the_same(model, recompute):
    image, task, results = torch.randn(2, 4, 8, 16, 16), torch.tensor([2, 0]), []
    model.set_recompute(recompute)
    for joined in (False, True):
        model.set_joined_halves(joined)
        model.zero_grad()
        logits = model(image, task)
        sum(level[:, :3].square().mean() for level in logits).backward()
        results.append(
            [*(level[:, :3] for level in logits), *(p.grad for p in model.parameters() if p.grad is not None)]
        )
    assert not torch.equal(*(result[0] for result in results))  # one convolution rounds otherwise than two
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_joined_halves_are_for_training_alone(model):
    image, task = torch.randn(1, 1, 8, 16, 16), torch.tensor([0])
    expected = model.eval()(image, task)[0]
    model.set_joined_halves(True)
    torch.testing.assert_close(model(image, task)[0], expected, atol=0, rtol=0)
    assert [term.shape[1] for term in model.encode(image, task).skip_terms] == [4, 8]


def test_channel_counts_share_one_call_of_the_trunk(model):
    calls = []
    model.encoder.register_forward_hook(lambda module, inputs, outputs: calls.append(len(inputs[0])))
    model(torch.randn(3, 4, 8, 16, 16), torch.tensor([2, 0, 1]))
    assert calls == [3]


def test_rows_without_an_index():
    x = torch.randn(3, 2, requires_grad=True)
    assert take_rows(x, [0, 1, 2]) is x
    torch.testing.assert_close(take_rows(x, [2, 0]), x[[2, 0]])
    torch.testing.assert_close(merge_rows([x[[2, 0]], x[[1]]], [[2, 0], [1]]), x)
