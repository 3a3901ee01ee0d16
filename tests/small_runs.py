"""Runs that take milliseconds: a linear network on numbers drawn from the step."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from uniseg.sampling.datamodule import EpochPosition
from uniseg.sampling.loader import StepSampler
from uniseg.sampling.settings import StreamSettings
from uniseg.training.callbacks.checkpoint_and_exit import CheckpointAndExit
from uniseg.training.callbacks.finite_loss import FiniteLoss
from uniseg.training.callbacks.last_checkpoint import LastCheckpoint
from uniseg.training.callbacks.progress import ProgressBar
from uniseg.training.callbacks.resume_state import EpochMeans, StreamPosition
from uniseg.training.checkpoint_io import AtomicCheckpointIO
from uniseg.training.epoch_losses import EpochLosses

STEPS_PER_EPOCH, VAL_STEPS, EPOCHS = 4, 2, 3


@dataclass(frozen=True)
class NumberBatch:
    x: Tensor
    step: int

    def to(self, device: torch.device, non_blocking: bool = False) -> "NumberBatch":
        return self


class Numbers:
    """Stream, dataset: step -> ``[2,4]``."""

    batch_size = 1

    def batch(self, step: int) -> list[int]:
        return [step]

    def __getitems__(self, steps: list[int]) -> NumberBatch:
        return NumberBatch(torch.randn(2, 4, generator=torch.Generator().manual_seed(steps[0])), steps[0])


class NumberData(LightningDataModule):
    def __init__(self, steps_per_epoch: int = STEPS_PER_EPOCH) -> None:
        super().__init__()
        self.settings = StreamSettings(steps_per_epoch=steps_per_epoch)
        self.position = EpochPosition(steps_per_epoch)

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.settings.steps_per_epoch, self.position.steps_left)

    def val_dataloader(self) -> DataLoader:
        return self._loader(VAL_STEPS, lambda: range(VAL_STEPS))

    def _loader(self, num_steps: int, steps: Callable[[], Iterable[int]]) -> DataLoader:
        sampler = StepSampler(Numbers(), num_steps, 0, 1, steps)
        return DataLoader(Numbers(), batch_sampler=sampler, collate_fn=lambda batch: batch)

    def step_done(self, step: int) -> None:
        self.position.step_done(step)

    def state_dict(self) -> dict[str, int]:
        return self.position.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.position.load_state_dict(state_dict)


class Line(LightningModule):
    """Logs a mean over all steps, one over the first step of an epoch alone, one over the validation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.train_losses = EpochLosses("train/loss", ["first", "others"])

    def training_step(self, batch: NumberBatch, batch_idx: int) -> Tensor:
        loss = self.layer(batch.x).square().mean()
        self.train_losses.add(loss[None], [int(batch_idx > 0)])
        return loss

    def validation_step(self, batch: NumberBatch, batch_idx: int) -> None:
        self.log("val/loss", self.layer(batch.x).square().mean(), batch_size=2 + batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class Copies(AtomicCheckpointIO):
    """Keeps every version of the file, as ``<number>.ckpt`` beside it."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        super().save_checkpoint(checkpoint, path, storage_options)
        self.paths.append(Path(path).with_name(f"{len(self.paths)}.ckpt"))
        self.paths[-1].write_bytes(Path(path).read_bytes())


@dataclass(frozen=True)
class SmallRun:
    trainer: Trainer
    module: Line
    copies: Copies
    log: Path

    def fit(self, ckpt_path: Path | None = None, steps_per_epoch: int = STEPS_PER_EPOCH) -> "SmallRun":
        self.trainer.fit(self.module, datamodule=NumberData(steps_per_epoch), ckpt_path=ckpt_path, weights_only=True)
        return self


def small_run(
    folder: Path,
    *callbacks: Callback,
    every_n_train_steps: int | None = None,
    refresh_rate: int = 0,
    module: type[Line] = Line,
    plugins=(),
    **settings,
) -> SmallRun:
    torch.manual_seed(0)
    copies = Copies()
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
        use_distributed_sampler=False,
        logger=CSVLogger(folder, name=None, version="logs", flush_logs_every_n_steps=1),
        plugins=[copies, *plugins],
        callbacks=[
            StreamPosition(),
            EpochMeans(),
            CheckpointAndExit(),
            FiniteLoss(),
            ProgressBar(refresh_rate=refresh_rate),
            LastCheckpoint(folder, every_n_train_steps=every_n_train_steps, every_n_minutes=None),
            *callbacks,
        ],
        **settings,
    )
    return SmallRun(trainer, module(), copies, folder / "logs/metrics.csv")
