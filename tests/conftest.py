"""What many tests start from."""

from functools import partial
from pathlib import Path

import pytest
import torch

from samples import make_task
from uniseg.commands import local_conf, schema
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet

# Folders whose tests share what their conftest makes once; they come first, since they take longest.
SHARED = ("integration", "field")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hand a process whole folders of ``SHARED``, else whole files (``pytest -n 2 --dist loadgroup``)."""
    for item in items:
        folder = _folder(item)
        item.add_marker(pytest.mark.xdist_group(folder if folder in SHARED else str(item.path)))
    items.sort(key=lambda item: (*SHARED, "").index(_folder(item) if _folder(item) in SHARED else ""))


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _schemas():
    schema.register()
    local_conf.register()


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
