"""What hostile inputs are made from: small, whole files of every kind that the commands read."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from monai.networks.nets import SegResNet

from field.base import SETTINGS, TASK, Base, make_base
from field.forked import Commands
from field.inputs.balls import ball, save, write_dataset
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.foreign.published import published_tasks
from uniseg.weights.foreign.write_published import write_published

NNUNET = Path(__file__).parents[1] / "weights/nnunet"
ADDED = "more"


@dataclass(frozen=True, eq=False)
class World:
    """A folder of things that no trial may touch.

    Attributes:
        root: of all; trials work below ``scratch``.
        base: a trained run.
        scan: CT with a ball.
        several: a folder of scans.
        weights: file or folder of each kind in ``WEIGHTS``, checkpoint, grown.
    """

    root: Path
    commands: Commands
    base: Base
    scan: Path
    several: Path
    weights: dict[str, Path]

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def start(self, folder: Path) -> None:
        """Where a command may be started: with the task file of the base's data."""
        shutil.copytree(self.base.folder / "conf", folder / "conf")


def make_world(root: Path) -> World:
    """Half a minute."""
    commands = Commands(root / "home")
    base = make_base(commands, root / "base")
    folder = root / "weights"
    folder.mkdir()
    grown = _grow(commands, base)
    weights = {kind: folder / name for kind, name in WEIGHTS.items()}
    weights |= {"checkpoint": base.checkpoint, "grown": grown}
    exported = {
        "folder": [f"checkpoint={base.checkpoint}"],
        "ensemble": [f"checkpoint=[{base.checkpoint},{base.checkpoint}]"],
        "task": [f"checkpoint={grown}", f"added_task={ADDED}"],
        "delta": [f"checkpoint={grown}", f"delta_of={base.checkpoint}"],
    }
    for kind, given in exported.items():
        commands.succeed("export", *given, f"output={weights[kind]}", cwd=folder)
    shutil.copy(NNUNET / "plain.pth", weights["nnunet"])
    write_published(_published(), weights["published"])
    torch.save(
        SegResNet(init_filters=8, in_channels=1, out_channels=2, blocks_down=(1, 1), blocks_up=(1,)).state_dict(),
        weights["segresnet"],
    )
    settings = [f"task=[{TASK}]", *SETTINGS, "name=base"]
    commands.succeed("evaluate", *settings, cwd=base.folder)
    commands.succeed("report", "run=outputs/base", cwd=base.folder)
    for k in range(3):
        save(root / f"several/scan{k}.nii.gz", ball(77 + k)[0])
    return World(root, commands, base, root / "several/scan0.nii.gz", root / "several", weights)


WEIGHTS = {
    "folder": "folder",
    "ensemble": "ensemble",
    "task": "task.safetensors",
    "delta": "delta.safetensors",
    "nnunet": "nnunet.pth",
    "published": "published.model",
    "segresnet": "segresnet.pt",
}


def _grow(commands: Commands, base: Base) -> Path:
    """The base's network with a task added."""
    write_dataset(base.folder / "later/Dataset902_More", first_seed=100)
    commands.succeed("prepare", "import=later", cwd=base.folder)
    settings = [f"task=[{ADDED}]", *SETTINGS, "name=grown"]
    commands.succeed("prepare", *settings, "num_workers=1", cwd=base.folder)
    given = ["finetune=prompt_only", "init=checkpoint", f"init.checkpoint={base.checkpoint}", "data.steps_per_epoch=4"]
    commands.succeed("train", *settings, *given, cwd=base.folder)
    return base.folder / "outputs/grown/checkpoints/last.ckpt"


def _published() -> UniSegModel:
    """The published network's kind, far narrower."""
    torch.manual_seed(0)
    encoder = partial(
        UNetEncoder, channels=[4, 8, 8], strides=[[1, 2, 2], [2, 2, 2]], kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 3]]
    )
    conditioning = partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True)
    return UniSegModel(
        published_tasks(), patch_size=(8, 16, 16), encoder=encoder, conditioning=conditioning, head=StaticHead
    )
