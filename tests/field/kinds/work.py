"""One honest run of every command, for what may go wrong around it."""

from field.base import SETTINGS, TASK
from field.trial import Command
from field.world import World

TRAINING = (
    "trainer.deterministic=true",
    "callbacks.checkpoint.every_n_train_steps=5",
    "data.steps_per_epoch=20",
    "trainer.max_epochs=2",
)


def commands(world: World) -> dict[str, tuple[Command, str]]:
    """Name -> the command, and the folder or file of its results; all below ``out``."""
    base = world.base.folder
    stack = (f"task=[{TASK}]", *SETTINGS, "paths.outputs=out", f"paths.cache={base}/outputs/cache")
    predict = (
        "predict",
        f"checkpoint={world.base.checkpoint}",
        f"input={world.several}",
        "output=out/maps",
        "modality=[CT]",
        "inference.device=cpu",
    )
    return {
        "prepare": (("prepare", f"task=[{TASK}]", *SETTINGS, "paths.outputs=out", "num_workers=1"), "out/cache"),
        "train": (("train", *stack, *TRAINING, "name=long", "ckpt_path=last"), "out/long/checkpoints"),
        "train with a reader": (
            ("train", *stack, *TRAINING, "data.num_workers=1", "name=long", "ckpt_path=last"),
            "out/long/checkpoints",
        ),
        "evaluate": (("evaluate", *stack, f"checkpoint={world.base.checkpoint}", "output=out/scores"), "out/scores"),
        "predict": (predict, "out/maps"),
        "predict, merged": ((*predict, "merge=true", "tasks=auto"), "out/maps"),
        "export": (("export", f"checkpoint={world.base.checkpoint}", "output=out/model"), "out/model"),
        "report": (("report", f"run={base}/outputs/base", "output=out/page"), "out/page"),
    }
