"""What every conditioning and head on disk must do; a new YAML is tested by being there."""

from itertools import product

import pytest
import torch

from networks import PATCH, TASKS, build, classes, mixed_image
from samples import make_task
from uniseg.errors import InputError
from uniseg.losses.dice_ce import DiceCELoss
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.build import build_model
from uniseg.weights.checkpoint import load_model
from uniseg.weights.folder import save_model

CONDITIONINGS, HEADS = classes("conditioning"), classes("head")
PAIRS = list(product(CONDITIONINGS, HEADS))
UNREAD = [(c, h) for c, h in PAIRS if CONDITIONINGS[c].writes_task_code and not HEADS[h].reads_task_code]
CHOICES = [pair for pair in PAIRS if pair not in UNREAD]
WITHOUT_TASK = [(c, h) for c, h in CHOICES if not CONDITIONINGS[c].knows_task and not HEADS[h].knows_task]


@pytest.fixture(params=CHOICES, ids="-".join)
def choice(request) -> tuple[str, str]:
    return request.param


@pytest.fixture
def built(choice) -> UniSegModel:
    """What starts at 0 has moved, as after some training."""
    model = build(f"model/conditioning={choice[0]}", f"model/head={choice[1]}")
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_mixed_batch_equals_one_by_one(built):
    image, order = mixed_image()
    built, image = built.double(), image.double()  # in float32 the eight bottleneck voxels' norm makes 2e-5 of rounding
    with torch.no_grad():
        mixed = built(image, order)
        assert [tuple(x.shape) for x in mixed] == [
            (4, 4, 8, 16, 16),
            (4, 4, 8, 8, 8),
        ]
        for b, t in enumerate(order):
            alone = built(image[b : b + 1, : TASKS[t].num_modalities], order[b : b + 1])
            for together, single in zip(mixed, alone, strict=True):
                torch.testing.assert_close(together[b : b + 1, : single.shape[1]], single, atol=1e-5, rtol=0)
                assert torch.isneginf(together[b, single.shape[1] :]).all()


def test_gradient_reaches_every_trained_tensor(built):
    image, order = mixed_image()
    label = torch.stack([torch.randint(0, TASKS[t].num_classes, PATCH) for t in order])
    tasks = [TASKS[t] for t in order]
    loss = DiceCELoss(dice_weight=1, ce_weight=1)
    fine, coarse = built(image, order)
    (loss(fine, label, tasks) + loss(coarse, label[:, :, ::2, ::2], tasks)).mean().backward()
    untrained = [name for name, p in built.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert untrained == []


def test_only_a_network_that_does_not_know_the_task_answers_two_alike(built, choice):
    image = torch.randn(1, 1, *PATCH)
    with torch.no_grad():
        liver, spleen = (built(image, torch.tensor([t]))[0][:, :2] for t in (0, 1))
    assert torch.equal(liver, spleen) == (choice in WITHOUT_TASK)


def test_no_tensor_twice_nor_lost_on_the_way(built):
    addresses = [tensor.data_ptr() for tensor in built.state_dict().values() if tensor.numel()]
    assert len(addresses) == len(set(addresses))
    again = build_model(TASKS, built.config)
    again.load_state_dict(built.state_dict())
    image, order = mixed_image()
    with torch.no_grad():
        for a, b in zip(again(image, order), built(image, order), strict=True):
            assert torch.equal(a, b)


def test_a_saved_network_answers_bit_for_bit_as_before(built, tmp_path):
    """It is built without numbers: what no file holds must be there all the same."""
    built.extend([make_task("gallbladder", ("CT", "PET", "T2"))], adapter_channels=3)
    back = load_model(save_model(built, tmp_path / "saved"))
    assert not any(tensor.is_meta for tensor in (*back.parameters(), *back.buffers()))
    assert [(name, p.requires_grad) for name, p in back.named_parameters()] == [
        (name, p.requires_grad) for name, p in built.named_parameters()
    ]
    addresses = [tensor.data_ptr() for tensor in back.state_dict().values() if tensor.numel()]
    assert len(addresses) == len(set(addresses))
    image, order = torch.randn(3, 4, *PATCH), torch.tensor([4, 3, 1])
    with torch.no_grad():
        for a, b in zip(back(image, order), built.eval()(image, order), strict=True):
            assert torch.equal(a, b)


def test_one_encoding_serves_several_tasks(built):
    built, image, order = built.double(), torch.randn(1, 1, *PATCH).double(), torch.tensor([0, 1])
    with torch.no_grad():
        both = built.decode(built.encode(image, order[:1]), order)[0]
        for row, t in enumerate(order):
            single = built(image, order[t : t + 1])[0][0]
            torch.testing.assert_close(both[row, : len(single)], single, atol=1e-5, rtol=0)


def test_bfloat16_gives_the_logits_of_float32(built):
    """Within a few of bfloat16's 2^-8 of their spread; logits leave in float32, gradients are numbers.

    The bottleneck has 4x4x4 voxels: on processors, torch 2.13's bfloat16 convolution reads unset memory in the gradient
    of 2x2x2 ones.
    """
    order = torch.tensor([3, 0])
    image = torch.randn(2, 4, *PATCH)
    exact = built(image, order)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = built(image, order)
    for a, b in zip(exact, mixed, strict=True):
        assert b.dtype == torch.float32
        finite = torch.isfinite(a)
        assert torch.equal(finite, torch.isfinite(b))
        assert (a[finite] - b[finite]).square().mean().sqrt() < 0.05 * a[finite].std()
    sum(x[torch.isfinite(x)].square().mean() for x in mixed).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in built.parameters())


def test_an_added_task_leaves_the_old_ones_bit_identical(built):
    check_extension(built)


def check_extension(model: UniSegModel) -> None:
    image, order = mixed_image()
    with torch.no_grad():
        before = model(image, order)
    added = make_task("gallbladder", ("CT", "PET", "T2"), tuple("abcdef"))
    model.extend([added], adapter_channels=4)
    model.freeze_base()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    wide, its_index = torch.randn(1, 3, *PATCH), torch.tensor([4])
    first = None
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(
            model(wide, its_index)[0], torch.randint(0, 6, (1, *PATCH), generator=torch.manual_seed(0))
        )
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first
    assert all(
        p.grad is not None and p.grad.abs().max() > 0
        for name, p in model.added.named_parameters()
        if "head.0" in name or "stem" in name or "adapters.0" in name
    )
    with torch.no_grad():
        for a, b in zip(before, model(image, order), strict=True):
            assert torch.equal(a, b)
        together = model(torch.cat([torch.nn.functional.pad(wide, (0,) * 7 + (1,)), image[:1]]), torch.tensor([4, 3]))
        torch.testing.assert_close(together[0][:1], model(wide, its_index)[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(together[0][1, :4], before[0][0, :4], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "option", ["learned=false", "place=decoder", "fuse=false", "last_norm=false", "padding=replicate"]
)
def test_ablations_of_the_prompt(option):
    model = build(f"model.conditioning.{option}")
    image, order = mixed_image()
    model(image, order)[0][:, :2].square().mean().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert ("conditioning.universal_prompt" in trained) == (option != "learned=false")
    assert any(name.startswith("conditioning.fuse") for name in trained) == (option != "fuse=false")
    bottleneck = model.encoder.channels[-1]
    assert model.decoder.stages[-1].upsample.in_channels == bottleneck + (option != "place=decoder")
    assert model.head.convs[0].in_channels == model.encoder.channels[0] + (option == "place=decoder")
    same = torch.equal(*(model.conditioning.task_prompts(torch.randn(1, bottleneck, 4, 4, 4)) for _ in range(2)))
    assert same == (option == "fuse=false")
    check_extension(model)


@pytest.mark.parametrize("num_tasks", [1, 200])
def test_any_number_of_tasks_classes_modalities(num_tasks):
    tasks = TaskSet(
        [
            make_task(f"t{i}", [f"m{j}" for j in range(1 + i % 16)], [f"c{k}" for k in range(2 + (i * 7) % 119)])
            for i in range(num_tasks)
        ]
    )
    for head in HEADS:
        model = build(f"model/head={head}", tasks=tasks)
        task = torch.tensor([0, num_tasks - 1])
        widest = max(tasks[t].num_classes for t in task)
        logits = model(torch.randn(2, 16, *PATCH), task)[0]
        assert logits.shape == (2, widest, *PATCH)
        assert torch.isfinite(logits[1, : tasks[-1].num_classes]).all()


@pytest.mark.parametrize("choice", UNREAD, ids="-".join)
def test_a_code_that_nobody_reads_is_refused(choice):
    with pytest.raises(InputError, match="head=dynamic"):
        build(f"model/conditioning={choice[0]}", f"model/head={choice[1]}")


def test_an_unknown_place_is_refused():
    with pytest.raises(InputError, match="one of bottleneck, decoder"):
        build("model.conditioning.place=encoder")
