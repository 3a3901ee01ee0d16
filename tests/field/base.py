"""What the trials start from: a network that finds balls in CT, made through the commands."""

from dataclasses import dataclass
from pathlib import Path

from field.forked import Commands
from field.inputs.balls import write_dataset

TASK = "plain"
SETTINGS = (
    "model=uniseg_tiny", "model.encoder.channels=[8,8,8,8]", "augment=none", "optimizer=adamw", "optimizer.lr=0.02",
    "scheduler=poly_warmup", "data.patch_size=[16,32,32]", "data.batch_size=2", "data.val_steps=2",
    "data.foreground_fraction=0.5", "data.num_workers=0", "trainer.accelerator=cpu", "trainer.max_epochs=1",
    "callbacks.progress.refresh_rate=0", "inference.device=cpu",
)  # fmt: skip
STEPS = "data.steps_per_epoch=40"


@dataclass(frozen=True)
class Base:
    """A folder in which commands were run.

    Attributes:
        folder: where they were started.
        dataset: nnU-Net's folder of the task.
        checkpoint: the trained network.
    """

    folder: Path
    dataset: Path
    checkpoint: Path

    def predict(self, commands: Commands, given: Path | str, output: Path, *more: str, **limits):
        return commands.run("predict", *self.predicting(given, output), *more, cwd=output.parent, **limits)

    def predicting(self, given: Path | str, output: Path) -> list[str]:
        """Overrides that predict the task from CT."""
        return [
            f"checkpoint={self.checkpoint}",
            f"input='{given}'",
            f"output='{output}'",
            "modality=[CT]",
            f"tasks=[{TASK}]",
            "inference.device=cpu",
        ]


def make_base(commands: Commands, folder: Path) -> Base:
    """Seconds."""
    dataset = write_dataset(folder / "raw/Dataset901_Plain")
    settings = [f"task=[{TASK}]", *SETTINGS]
    commands.succeed("prepare", "import=raw", cwd=folder)
    commands.succeed("prepare", *settings, "num_workers=1", cwd=folder)
    commands.succeed("train", *settings, STEPS, "name=base", cwd=folder)
    return Base(folder, dataset, folder / "outputs/base/checkpoints/last.ckpt")
