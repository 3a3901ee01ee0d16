"""What many tests start from."""

from functools import partial

import pytest
import torch

from samples import make_task
from uniseg.commands import schema
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _schemas():
    schema.register()


@pytest.fixture
def tasks() -> TaskSet:
    return TaskSet(
        [
            make_task(),
            make_task("prostate", ("T2",), ("background", "prostate")),
            make_task("brain", ("T1", "T1ce", "T2", "FLAIR"), ("background", "oedema", "necrosis", "enhancing")),
        ]
    )


@pytest.fixture
def model(tasks) -> UniSegModel:
    return UniSegModel(
        tasks,
        patch_size=(8, 16, 16),
        encoder=partial(
            UNetEncoder, channels=[4, 8, 8], strides=[[1, 2, 2], [2, 2, 2]], kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 3]]
        ),
        conditioning=partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True),
        head=StaticHead,
    )
