"""The file that grows with the epochs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from uniseg.errors import InputError
from uniseg.evaluation.prompt_files import PromptEvolution
from uniseg.evaluation.prompts import batch_prompts, cosine_matrix
from uniseg.models.conditioning.base import Conditioning
from uniseg.run_folder import RunFolder
from uniseg.sampling.batch import Batch
from uniseg.training.callbacks.prompt_tracker import PromptTracker


class Pictures:
    def __init__(self) -> None:
        self.taken = []

    def log_image(self, key, images, step) -> None:
        self.taken.append((key, images[0].shape, step))


def see(tracker, model, epoch: int, step: int, *loggers, batch_idx: int = 0) -> Batch:
    batch = Batch(torch.randn(2, 4, 8, 16, 16), torch.zeros(2, 8, 16, 16), torch.tensor([0, 2]), ["a", "b"], 0)
    trainer = SimpleNamespace(
        sanity_checking=False, is_global_zero=True, global_step=step, current_epoch=epoch, loggers=loggers
    )
    tracker.on_validation_batch_end(
        trainer, SimpleNamespace(model=model, task_indices=torch.arange(len(model.tasks))), None, batch, batch_idx
    )
    return batch


@pytest.fixture
def tracker(tmp_path) -> PromptTracker:
    return PromptTracker(tmp_path, lambda cosine, names: np.zeros((len(cosine), len(names), 3), np.uint8))


def test_a_resumed_run_drops_what_came_later(tracker, model, tmp_path):
    pictures = Pictures()
    for epoch in range(4):
        see(tracker, model, epoch, 10 * (epoch + 1), pictures, object())
        see(tracker, model, epoch, 10 * (epoch + 1), pictures, batch_idx=1)
    batch = see(tracker, model, 1, 20)
    kept = PromptEvolution.load(RunFolder(tmp_path).prompt_evolution)
    assert kept.epochs.tolist() == [0, 1]
    assert kept.steps.tolist() == [10, 20]
    assert kept.tasks.tolist() == list(model.tasks.names)
    with torch.no_grad():
        expected = cosine_matrix(batch_prompts(model, batch.image, batch.task)).numpy()
    np.testing.assert_allclose(kept.cosine[1], expected, atol=1e-6)
    assert pictures.taken == [("prompts/similarity", (3, 3, 3), 10 * n) for n in (1, 2, 3, 4)]


def test_no_prompts_no_trace(tracker, model, tmp_path):
    model.conditioning = Conditioning()
    pictures = Pictures()
    see(tracker, model, 0, 10, pictures)
    assert not pictures.taken
    assert not list(tmp_path.iterdir())


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "evolution.npz"
    path.write_bytes(b"PK\x03\x04 not a whole file")
    with pytest.raises(InputError, match=r"evolution\.npz"):
        PromptEvolution.load(path)
