"""What a training takes of a GPU's memory: said before the first step, measured after the first epoch."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from uniseg.errors import InputError
from uniseg.planning.step_cost import DTYPES, StepBytes, step_bytes
from uniseg.pretext.base import Reconstruction
from uniseg.training.segmentation import SegmentationModule

GB = 1e9
SURE = 0.6  # of the modelled tensors: fused kernels and a compiler keep fewer, but not as few


class GpuMemory(Callback):
    """Says what the step takes, refuses one that cannot fit, tells the peak of the first epoch; on CUDA only.

    Examples:
        >>> trainer = Trainer(callbacks=[GpuMemory()], logger=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        self._is_told = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """
        Raises:
            InputError: the step cannot fit.
        """
        device = trainer.strategy.root_device
        if device.type != "cuda":
            return
        settings = trainer.datamodule.settings  # type: ignore[attr-defined]
        dtype = DTYPES.get(str(trainer.precision), torch.float32)
        torch.cuda.reset_peak_memory_stats(device)
        try:
            needed = bytes_of(pl_module, settings.patch_size, settings.batch_size // trainer.world_size, dtype)
        except (NotImplementedError, RuntimeError) as error:  # of a part that reads numbers, which meta tensors lack
            rank_zero_info(f"GPU memory: not modelled for this network ({type(error).__name__}).")
            return
        free, _ = torch.cuda.mem_get_info(device)
        rank_zero_info(memory_line(needed, free / GB, recomputes=pl_module.model.encoder.recompute))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device = trainer.strategy.root_device
        if device.type != "cuda" or self._is_told:
            return
        self._is_told = True
        used, kept = torch.cuda.max_memory_allocated(device) / GB, torch.cuda.max_memory_reserved(device) / GB
        rank_zero_info(f"GPU memory: {used:.1f} GB at the peak of the first epoch, {kept:.1f} GB reserved.")


def bytes_of(module: SegmentationModule, patch_size: Sequence[int], batch_size: int, dtype: torch.dtype) -> StepBytes:
    """Modelled, of the dearest batch: the most classes, the most modalities in turn.

    Recomputation, fused kernels and compilation, which keep fewer tensors, are not modelled.
    """
    tasks = module.model.tasks
    widest = [
        max(range(len(tasks)), key=lambda index: tasks[index].num_classes),
        max(range(len(tasks)), key=lambda index: tasks[index].num_modalities),
    ]
    task = torch.tensor([widest[sample % 2] for sample in range(batch_size)])
    model = deepcopy(module.model).to("meta", dtype)
    model.set_recompute(False)
    modalities = max(each.num_modalities for each in tasks)
    image = torch.empty(batch_size, modalities, *patch_size, dtype=dtype, device="meta")
    label = torch.empty(batch_size, *patch_size, dtype=torch.int16, device="meta")
    classes = [tasks[index] for index in task.tolist()]
    optimizer: Callable[..., torch.optim.Optimizer] = module.optimization.optimizer
    if "fused" in getattr(optimizer, "keywords", {}):  # kernels that the meta device has not
        optimizer = partial(optimizer, fused=False)
    is_pretext = any(each.is_pretext for each in classes)
    values = [Reconstruction(tuple(range(batch_size)), image, image.bool())] if is_pretext else []
    return step_bytes(model, lambda: module.loss(model(image, task), label, classes, *values).mean(), optimizer, dtype)


def memory_line(needed: StepBytes, free_gb: float, *, recomputes: bool = False) -> str:
    """One line for the log.

    Raises:
        InputError: the step cannot fit.
    """
    least = (SURE * needed.saved * (not recomputes) + needed.weights) / GB
    if least > free_gb:
        raise InputError(
            "data.patch_size",
            f"a step of about {needed.tensors_gb:.1f} GB of GPU memory",
            f"one that fits in the {free_gb:.1f} GB that are free",
            "give a smaller data.patch_size or data.batch_size, or speed.checkpoint_activations=true",
        )
    less = ", less with activations computed again" if recomputes else ""
    return (
        f"GPU memory: tensors of the step about {needed.tensors_gb:.1f} GB, with what allocator, graphs and libraries "
        f"keep at most {needed.gigabytes:.1f} GB, of {free_gb:.1f} GB free{less}."
    )
