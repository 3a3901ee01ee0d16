"""Losses that are not finite: one passes, many end the run; fused optimisers are clipped under mixed precision."""

import csv
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from small_runs import Line, small_run
from uniseg.sampling.batch import Batch
from uniseg.training.callbacks.finite_loss import MOST_IN_A_ROW, FiniteLoss
from uniseg.training.modules import UpstreamModule
from uniseg.training.segmentation import SegmentationModule

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]
LOSS, NAN = torch.tensor(1.0), torch.tensor(float("nan"))


class Scaler:
    """A gradient scaler that finds an overflow in the steps ``skipped``."""

    def __init__(self, skipped=()) -> None:
        self.skipped, self._init_scale, self._scale = set(skipped), 2.0**16, None

    def step(self, number: int) -> None:
        if self._scale is None:
            self._scale = torch.tensor(self._init_scale)
        self._scale /= 2 if number in self.skipped else 1


def watch(losses, scaler=None):
    """Steps 0, 1, ... with these losses; returns what the callback has logged."""
    callback, logged = FiniteLoss(), {}
    callback.log = logged.__setitem__
    trainer = SimpleNamespace(world_size=1, global_step=7, precision_plugin=SimpleNamespace(scaler=scaler))
    callback.on_train_epoch_start(trainer, None)
    for step, loss in enumerate(losses):
        batch = SimpleNamespace(step=step)
        callback.on_train_batch_start(trainer, None, batch, step)
        if scaler:
            scaler.step(step)
        callback.on_train_batch_end(trainer, None, {"loss": loss}, batch, step)
    callback.on_train_epoch_end(trainer, None)
    return logged


@pytest.mark.parametrize("number", [1, MOST_IN_A_ROW - 1])
def test_a_few_losses_that_are_not_finite_pass(number):
    assert watch(([NAN] * number + [LOSS]) * 4) == {}
    assert watch([LOSS / 0, *[LOSS] * 40]) == {}


@pytest.mark.parametrize("before", [0, 1, 19])
def test_many_in_a_row_end_the_run(before):
    with pytest.raises(FloatingPointError, match=r"NaN or infinite for .* step 7"):
        watch([LOSS] * before + [NAN] * (2 * MOST_IN_A_ROW - 1))


def test_skipped_steps_are_counted():
    assert watch([LOSS] * 30, Scaler(skipped=[0, 1, 9])) == {"train/skipped_steps": 3.0}


def test_steps_that_are_always_skipped_end_the_run():
    """Finite losses whose gradients overflow at every scale."""
    with pytest.raises(FloatingPointError, match="gradients"):
        watch([LOSS] * 40, Scaler(skipped=range(40)))


def test_a_step_with_overflow_is_skipped_and_the_run_goes_on(tmp_path):
    """A real scaler, whose first scales are too large for float16."""
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**20))
    run = small_run(tmp_path, plugins=[precision]).fit()
    with run.log.open() as file:
        skipped = [float(row["train/skipped_steps"]) for row in csv.DictReader(file) if row["train/skipped_steps"]]
    assert skipped[0] > 0 == skipped[-1]
    assert torch.isfinite(run.module.layer.weight).all()


class Clipped(Line):
    """Clipped as a network of ours, so that every step is."""

    fused = False
    configure_gradient_clipping = SegmentationModule.configure_gradient_clipping

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, fused=self.fused)


class Fused(Clipped):
    fused = True


@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_fused_optimiser_is_clipped_under_mixed_precision(precision, algorithm, tmp_path):
    def weights(name, module, clip):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8) if precision == "16-mixed" else None
        settings = {
            "gradient_clip_val": clip,
            "gradient_clip_algorithm": algorithm,
            "plugins": [MixedPrecision(precision, "cpu", scaler)],
        }
        return small_run(tmp_path / name, module=module, **settings).fit().module.layer.weight.detach()

    fused, plain, free = weights("a", Fused, 0.01), weights("b", Clipped, 0.01), weights("c", Fused, None)
    torch.testing.assert_close(fused, plain, atol=1e-6, rtol=1e-5)
    assert (fused - free).abs().max() > 0.01


def test_a_loss_that_is_not_finite_is_no_part_of_the_means(model):
    """One of four samples of two tasks, in one of two steps."""
    losses = [torch.tensor([1.0, float("inf"), 3.0, 5.0]), torch.tensor([float("nan")] * 4)]
    module = UpstreamModule(model, tasks=model.tasks)
    module.forward = lambda image, task: image
    batch = Batch(torch.zeros(4, 1, 2, 2, 2), torch.zeros(4, 2, 2, 2), torch.tensor([0, 0, 1, 1]), list("abcd"), 0)
    module.loss.forward = lambda *_: losses[batch_idx]
    for batch_idx in range(2):
        module.training_step(batch, batch_idx)
    assert module.train_losses.means() == {"train/loss": 3.0, "train/loss/liver": 1.0, "train/loss/prostate": 4.0}
