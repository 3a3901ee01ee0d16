"""What a run that resumes inside an epoch needs of it: the position in the stream, the means of the epoch."""

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from uniseg.sampling.batch import Batch


class StreamPosition(Callback):
    """Records in the data which step is done, before any checkpoint is written, so that a run resumes after it.

    An epoch that waits for its validation counts as whole, even where the run's epochs have another length by now.

    Examples:
        >>> trainer = Trainer(callbacks=[StreamPosition(), EpochMeans()], logger=False, accelerator="cpu")
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        trainer.datamodule.step_done(batch.step)  # type: ignore[attr-defined]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        if batches["is_last_batch"]:
            batches["current"] = dict.fromkeys(batches["current"], trainer.datamodule.settings.steps_per_epoch)  # type: ignore[attr-defined]


class EpochMeans(Callback):
    """Carries the sums of an epoch's logged means into a checkpoint written inside it, which Lightning resets.

    Examples:
        >>> trainer = Trainer(callbacks=[EpochMeans()], logger=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        self._carried: dict[str, tuple[Tensor, Tensor]] = {}
        self._epoch_over = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_over = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        for metric in self._means(trainer):
            if metric.meta.name in self._carried:
                total, weight = self._carried.pop(metric.meta.name)
                metric.value = total.to(metric.value) + metric.value
                metric.cumulated_batch_size = weight.to(metric.cumulated_batch_size) + metric.cumulated_batch_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, (total, weight) in self._carried.items():
            self.log(name, (total / weight).to(pl_module.device), batch_size=int(weight))  # type: ignore[attr-defined]
        self._carried = {}
        self._epoch_over = True

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        sums = {metric.meta.name: (metric.value, metric.cumulated_batch_size) for metric in self._means(trainer)}
        checkpoint[type(self).__name__] = {} if self._epoch_over else self._carried | sums

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        self._carried = dict(checkpoint.get(type(self).__name__, {}))

    @staticmethod
    def _means(trainer: Trainer) -> list:
        results = trainer.fit_loop.epoch_loop._results
        return [metric for _, metric in results.valid_items() if metric.meta.is_mean_reduction and metric.meta.on_epoch]
