"""A training step of UniSeg at the published shape; run by ``bench_step.py``."""

from functools import partial

import torch
from step_worker import CLASSES, KERNELS, STRIDES, Setting, serve
from torch import Tensor

from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.losses.dice_ce import DiceCELoss
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Normalization, Task, TaskSet
from uniseg.training.speed import SpeedSettings, apply_speed_settings

LOSS = DeepSupervision(DiceCELoss(dice_weight=1, ce_weight=1))


def make_task(number: int) -> Task:
    classes = ("background", *(f"class{k}" for k in range(1, CLASSES)))
    return Task(f"task{number:03d}", ("CT",), classes, (3, 1.5, 1.5), (Normalization("window", lower=-325, upper=325),))


def build(setting: Setting) -> UniSegModel:
    model = UniSegModel(
        TaskSet([make_task(number) for number in range(setting.num_tasks)]),
        patch_size=setting.patch,
        encoder=partial(UNetEncoder, channels=setting.channels, strides=STRIDES, kernels=KERNELS),
        conditioning=partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True),
        head=StaticHead,
    )
    apply_speed_settings(model, SpeedSettings.plain(**dict.fromkeys(setting.speed, True)))
    return model


def loss_of(model: UniSegModel, image: Tensor, label: Tensor) -> Tensor:
    """The samples of the batch are of different tasks where there are several."""
    task = torch.arange(len(image)) % len(model.tasks)
    return LOSS(model(image, task), label, [model.tasks[t] for t in task.tolist()]).mean()


if __name__ == "__main__":
    serve(build, loss_of)
