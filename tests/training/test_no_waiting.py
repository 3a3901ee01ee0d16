"""Steps of a real fit in which nothing waits for the device."""

from contextlib import contextmanager

import pytest
import torch
from lightning import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader

from uniseg.sampling.batch import Batch
from uniseg.sampling.settings import StreamSettings
from uniseg.training.callbacks.checkpoint_and_exit import CheckpointAndExit
from uniseg.training.callbacks.finite_loss import FiniteLoss
from uniseg.training.callbacks.last_checkpoint import LastCheckpoint
from uniseg.training.callbacks.progress import ProgressBar
from uniseg.training.callbacks.resume_state import EpochMeans, StreamPosition
from uniseg.training.modules import UpstreamModule
from uniseg.training.optimization import Optimization
from uniseg.training.speed import SpeedSettings, with_fused_optimizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
]
WAITING = ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "nonzero")
FIRST, STEPS = 3, 13  # the first steps make the optimiser's state and the kernels


class Patches(LightningDataModule):
    """Batches of two tasks that lie on the device already, as the stream's do."""

    def __init__(self, device):
        super().__init__()
        self.device, self.settings = device, StreamSettings(steps_per_epoch=STEPS)

    def train_dataloader(self):
        image, label = torch.randn(2, 1, 8, 16, 16), torch.ones(2, 8, 16, 16, dtype=torch.int16)
        image, label = image.to(self.device), label.to(self.device)
        batches = [Batch(image, label, torch.tensor([0, 1]), ["a", "b"], step) for step in range(STEPS)]
        return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)

    val_dataloader = train_dataloader

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch

    def step_done(self, step):
        pass


class Watch(Callback):
    """Looks at what happens between two steps, but for the first and the last ones."""

    def __init__(self, watched):
        self.watched, self.current, self.steps = watched, None, 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == FIRST:
            self.current = self.watched()
            self.current.__enter__()
        self.steps += batch_idx >= FIRST

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == STEPS - 2:
            self.current.__exit__(None, None, None)


def fit(model, watched, folder, device="cpu", **settings):
    fused = with_fused_optimizer(Optimization(), SpeedSettings.plain(fused_optimizer=True))
    watch = Watch(watched)
    trainer = Trainer(
        max_epochs=1,
        accelerator=device,
        devices=1,
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=12,
        callbacks=[
            watch,
            StreamPosition(),
            EpochMeans(),
            CheckpointAndExit(),
            FiniteLoss(),
            ProgressBar(refresh_rate=2),
            LastCheckpoint(folder),
        ],
        **settings,
    )
    trainer.fit(UpstreamModule(model, tasks=model.tasks, optimization=fused), Patches(device))
    assert watch.steps == STEPS - FIRST
    return trainer


@pytest.fixture
def large_calls(monkeypatch):
    """Calls that would wait for a device, of tensors that it computes: all that come of a weight or of a batch."""
    calls = []

    @contextmanager
    def watched():
        with monkeypatch.context() as patch:
            for name in WAITING:
                original = getattr(torch.Tensor, name)

                def count(tensor, *args, _name=name, _original=original, **options):
                    if tensor.dtype.is_floating_point or tensor.dtype == torch.bool:  # not: which tasks a batch has
                        calls.append(_name)
                    return _original(tensor, *args, **options)

                patch.setattr(torch.Tensor, name, count)
            yield

    return watched, calls


def test_no_step_reads_a_number_of_the_device(model, large_calls, tmp_path, monkeypatch):
    """On a processor, where the bar reads what has arrived: there it is what was computed."""
    monkeypatch.setattr(ProgressBar, "get_metrics", lambda *_: {})
    watched, calls = large_calls
    trainer = fit(model, watched, tmp_path)
    assert calls == []
    assert trainer.callback_metrics["train/loss"] > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["16-mixed", "32-true"])
def test_no_step_waits_for_a_gpu(model, tmp_path, precision):
    @contextmanager
    def watched():
        torch.cuda.set_sync_debug_mode("error")
        yield
        torch.cuda.set_sync_debug_mode("default")

    try:
        fit(model, watched, tmp_path, "cuda", precision=precision)
    finally:
        torch.cuda.set_sync_debug_mode("default")
