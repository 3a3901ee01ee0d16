"""Mean losses of an epoch, and what is read of a device a call late."""

from types import SimpleNamespace

import torch

from uniseg.training.epoch_losses import EpochLosses
from uniseg.training.late import Agreement, LateReader

INF = float("inf")


def losses_of(*steps):
    losses = EpochLosses("train/loss", ["liver", "spleen", "colon"])
    for values, tasks in steps:
        losses.add(torch.tensor(values), tasks)
    return losses


FIRST, SECOND = ([1.0, 4.0, INF], [0, 2, 2]), ([5.0, 2.0], [0, 0])


def test_means_are_over_samples_not_over_steps():
    assert losses_of(FIRST, SECOND).means() == {"train/loss": 3.0, "train/loss/liver": 8 / 3, "train/loss/colon": 4.0}
    assert losses_of().means() == losses_of(([INF], [1])).means() == {}
    assert losses_of(FIRST, SECOND).running.tolist() == [12.0, 4.0]


def test_an_epoch_in_two_parts_has_the_same_means_bit_for_bit():
    steps = [(torch.randn(4).tolist(), [0, 1, 1, 2]) for _ in range(9)]
    whole = losses_of(*steps)
    first, rest = losses_of(*steps[:4]), losses_of()
    rest.load(first.state())
    for values, tasks in steps[4:]:
        rest.add(torch.tensor(values), tasks)
    assert rest.means() == whole.means()


def test_sums_of_a_checkpoint_of_before_are_read():
    """Lightning's, by the name of the metric, with the mean over all beside those of the tasks."""
    losses = losses_of()
    losses.load({"train/loss": (torch.tensor(7.0), 3), "train/loss/spleen": (torch.tensor(6.0), torch.tensor(2))})
    assert losses.means() == {"train/loss": 3.0, "train/loss/spleen": 3.0}
    losses.clear()
    assert losses.means() == {}


class TwoRanks:
    """The other rank has summed ``other``."""

    root_device = torch.device("cpu")

    def __init__(self, other):
        self.other = torch.as_tensor(other)

    def reduce(self, tensor, reduce_op):
        assert reduce_op == "sum"
        return tensor + self.other.to(tensor)


def test_a_step_asks_the_ranks_once_for_all(monkeypatch):
    calls = []

    def all_reduce(tensor, operation):
        calls.append(operation)
        tensor.copy_(torch.maximum(tensor, torch.tensor([15, 0])))

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(root_device="cpu"))
    assert Agreement()(trainer, [0, True]) == [15, 1]
    assert calls == [torch.distributed.ReduceOp.MAX]


def test_the_ranks_losses_are_summed():
    trainer = SimpleNamespace(world_size=2, strategy=TwoRanks([[4.0, 2.0], [3.0, 1.0], [0.0, 0.0]]))
    losses, of_others = losses_of(FIRST), losses_of()
    losses.reduce(trainer)
    of_others.reduce(trainer)
    assert losses.means() == {
        "train/loss": 12 / 5, "train/loss/liver": 5 / 3, "train/loss/spleen": 3.0, "train/loss/colon": 4.0,
    }  # fmt: skip
    assert of_others.means() == {"train/loss": 7 / 3, "train/loss/liver": 2.0, "train/loss/spleen": 3.0}


def test_on_a_processor_nothing_is_late():
    read, tensor = LateReader(), torch.tensor([1.0])
    seen = read(tensor)
    tensor += 1
    assert seen.tolist() == [1.0]
