"""The averaged weights: what checkpoints hold, what a resumed run does."""

import signal

import pytest
import torch
from lightning import Callback

from probes import SignalAt
from small_runs import STEPS_PER_EPOCH, VAL_STEPS, small_run
from uniseg.training.callbacks.checkpoint_and_exit import Stopped
from uniseg.training.callbacks.weight_average import WeightAverage

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended"),
]
DECAY = 0.8
STEPS = 3 * STEPS_PER_EPOCH


@pytest.fixture(autouse=True)
def _handlers():
    """A stopped run keeps its handlers until the process ends."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Weights(Callback):
    """Of every step and of every validation step."""

    def __init__(self):
        self.trained, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.trained.append(pl_module.layer.weight.detach().clone())

    def on_validation_batch_end(self, trainer, pl_module, *_):
        self.validated.append(pl_module.layer.weight.detach().clone())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    weights = Weights()
    folder = tmp_path_factory.mktemp("whole")
    return small_run(folder, weights, WeightAverage(DECAY), every_n_train_steps=2).fit(), weights


def expected(trained):
    averages, average = [], torch.zeros(())
    for step, weight in enumerate(trained):
        kept = min(DECAY, step / (step + 1))
        average = kept * average + (1 - kept) * weight
        averages.append(average)
    return averages


def content(path):
    return torch.load(path, weights_only=True)


def test_checkpoints_hold_the_average_and_what_trains(whole):
    run, weights = whole
    averages = expected(weights.trained)
    torch.testing.assert_close(averages[1], (weights.trained[0] + weights.trained[1]) / 2)
    for path in run.copies.paths:
        saved = content(path)
        step = saved["global_step"] - 1
        torch.testing.assert_close(saved["state_dict"]["layer.weight"], averages[step])
        assert torch.equal(saved["current_model_state"]["layer.weight"], weights.trained[step])
    assert (averages[-1] - weights.trained[-1]).abs().max() > 1e-3
    torch.testing.assert_close(run.module.layer.weight.detach(), averages[-1])


def test_the_average_is_validated(whole):
    _, weights = whole
    averages = expected(weights.trained)
    for number, seen in enumerate(weights.validated):
        torch.testing.assert_close(seen, averages[(number // VAL_STEPS + 1) * STEPS_PER_EPOCH - 1])


@pytest.mark.parametrize("event", [1, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 1])
def test_a_run_stopped_in_training_or_validation_ends_as_the_whole(event, whole, tmp_path):
    with pytest.raises(Stopped):
        small_run(tmp_path, SignalAt(event, signal.SIGTERM), WeightAverage(DECAY)).fit()
    saved, (run, weights) = content(tmp_path / "last.ckpt"), whole
    step = saved["global_step"] - 1
    assert saved["callbacks"]["WeightAverage"]["latest_update_step"] == saved["global_step"]
    assert torch.equal(saved["current_model_state"]["layer.weight"], weights.trained[step])
    torch.testing.assert_close(saved["state_dict"]["layer.weight"], expected(weights.trained)[step])
    again = small_run(tmp_path, WeightAverage(DECAY)).fit(tmp_path / "last.ckpt")
    assert again.trainer.global_step == STEPS
    for key in ("state_dict", "current_model_state"):
        ends = [content(each.copies.paths[-1])[key]["layer.weight"] for each in (again, run)]
        assert torch.equal(*ends)
