"""Networks of the choices on disk, small enough to be built by the dozen."""

from functools import cache, partial

import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate

from samples import make_task
from uniseg.environment import CONF_DIR
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet

MODALITIES = ("T1", "T1ce", "T2", "FLAIR")
# With 1, 2 and 4 modalities, 2 to 4 classes.
TASKS = TaskSet(
    [
        make_task("phantom_liver"),
        make_task("phantom_spleen", classes=("background", "spleen")),
        make_task("phantom_whole_body_tumour", ("CT", "PET"), ("background", "tumour")),
        make_task("phantom_brain_tumour", MODALITIES, ("background", "oedema", "necrosis", "enhancing")),
    ]
)
SMALL = partial(UNetEncoder, **UNetEncoder.SMALL)
PATCH = (8, 16, 16)  # of the small encoder: a bottleneck of 4x4x4 voxels


def names(group: str) -> list[str]:
    found = sorted((CONF_DIR / "model" / group).glob("*.yaml"))
    assert found
    return [path.stem for path in found]


def classes(group: str) -> dict[str, type]:
    """Name of a YAML -> its class; without those that take it from another."""
    blocks = {name: yaml.safe_load((CONF_DIR / f"model/{group}/{name}.yaml").read_text()) for name in names(group)}
    return {name: get_class(block["_target_"]) for name, block in blocks.items() if "_target_" in block}


@cache
def factory(*overrides: str) -> partial:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", ["task=[liver]", "model=uniseg_tiny", *overrides])
    return instantiate(config.model, _convert_="all")


def build(*overrides: str, tasks: TaskSet = TASKS, encoder=SMALL) -> UniSegModel:
    return factory(*overrides)(tasks, patch_size=PATCH, encoder=encoder)


def mixed_image() -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.tensor([3, 0, 2, 1])
    image = torch.randn(4, 4, *PATCH)
    for b, t in enumerate(order):
        image[b, TASKS[t].num_modalities :] = 0
    return image, order
