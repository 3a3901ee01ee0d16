"""Gradients of several batches for one step: where a run stops does not show, and every batch counts."""

import pytest
import torch

from small_runs import Line, small_run

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended"),
]


class Seen(Line):
    """Remembers which batches each step of the optimiser is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.batches, self.steps = [], []

    def training_step(self, batch, batch_idx):
        self.batches.append(batch.step)
        return super().training_step(batch, batch_idx)

    def on_before_optimizer_step(self, optimizer):
        self.steps.append(tuple(self.batches))
        self.batches.clear()


def run(folder, **settings):
    return small_run(folder, every_n_train_steps=1, module=Seen, accumulate_grad_batches=2, **settings)


def test_a_step_has_the_batches_of_its_place_in_the_stream(tmp_path):
    """Batch after batch of the stream, so that two of 2 samples have the tasks that one of 4 draws in two halves."""
    whole = run(tmp_path).fit()
    assert whole.module.steps == [(step, step + 1) for step in range(0, 12, 2)]
    assert whole.trainer.global_step == 6


def test_a_run_cut_between_steps_of_the_optimiser_ends_as_the_whole(tmp_path):
    whole = run(tmp_path / "whole").fit()
    for number, path in enumerate(whole.copies.paths):
        step = torch.load(path, weights_only=True)["global_step"]
        again = run(tmp_path / str(number)).fit(path)
        assert again.trainer.global_step == 6
        assert again.module.steps == whole.module.steps[step:], path
        assert torch.equal(again.module.layer.weight, whole.module.layer.weight)
