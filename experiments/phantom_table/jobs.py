"""The jobs of the comparison: arms, what each trains, how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from uniseg.commands import schema
from uniseg.environment import CONF_DIR
from uniseg.phantom.suite import TASKS
from uniseg.run_folder import RunFolder

EXPERIMENT = "phantom_table"
NAMES = tuple(task.dataset for task in TASKS)
STEPS = 2970  # of a training on all tasks; divides by 11 tasks and by 9 epochs
FEW_STEPS = STEPS // len(NAMES)  # of a training on one task that sees what a task of the joint training sees
OUTPUTS = Path("outputs") / EXPERIMENT / f"{STEPS}_steps"  # trainings of another length lie elsewhere
EPOCH_STEPS = 330  # after which a training saves and measures what its prompts see; shorter trainings have one epoch
WARMUP_FRACTION = 20  # of the steps, one in so many warms up, however long a training is
LADDER = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # learning rates
FIRST_RATES = (0.003, 0.01, 0.03)  # more of the ladder where the best is an edge of what was tried
SEEDS = (0, 1, 2)
CHOICE_SEED = 3  # so that no training of the table takes part in the choice
CHOICE_VAL_STEPS = 88  # of two patches: 16 val patches of each task


@dataclass(frozen=True)
class Arm:
    """One way to tell the network its task.

    Attributes:
        trainings: the tasks of each network that the arm needs.
        steps: of each of its trainings in the table.
        choice_steps: of the trainings that choose its learning rate.
    """

    name: str
    title: str
    overrides: tuple[str, ...]
    trainings: tuple[tuple[str, ...], ...] = (NAMES,)
    steps: int = STEPS
    choice_steps: int = STEPS // 3


# All other arms have the demo's four stages, a bottleneck of 6x4x4 voxels; in one of 3x2x2 FUSE goes blind.
FIVE_STAGES = (
    "model.encoder.channels=[8,16,32,64,128]",
    "model.encoder.strides=[[1,2,2],[2,2,2],[2,2,2],[2,2,2]]",
    "model.encoder.kernels=[[1,3,3],[3,3,3],[3,3,3],[3,3,3],[3,3,3]]",
)
REPLICATE = ("model.encoder.bottleneck_padding=replicate", "model.conditioning.padding=replicate")
NO_TELLING = ("model/conditioning=none",)
UNISEG = Arm("uniseg", "UniSeg", ())
ARMS = (
    UNISEG,
    Arm("five_stages", "UniSeg, five stages", FIVE_STAGES),
    Arm("replicate", "UniSeg, replicate padding", REPLICATE),
    Arm("fixed_prompt", "fixed random prompt", ("model.conditioning.learned=false",)),
    Arm("without_fuse", "prompt without FUSE", ("model.conditioning.fuse=false",)),
    Arm("without_last_norm", "FUSE without last norm", ("model.conditioning.last_norm=false",)),
    Arm("film", "FiLM", ("model/conditioning=film",)),
    Arm("film_fuse", "FiLM + FUSE", ("model/conditioning=combined",)),
    Arm("pyramid", "prompt pyramid", ("model/conditioning=prompt_pyramid",)),
    Arm("tokens", "tokens", ("model/conditioning=tokens",)),
    Arm("dodnet", "DoDNet", ("model/conditioning=one_hot", "model/head=dynamic")),
    Arm("text", "text", ("model/conditioning=text_embedding", "model/head=dynamic")),
    Arm("per_task_heads", "per-task heads", (*NO_TELLING, "model/head=per_task")),
    Arm("untold", "untold", NO_TELLING),
    Arm("single", "single, 1/11 of the steps", NO_TELLING, tuple((name,) for name in NAMES), FEW_STEPS, FEW_STEPS),
    Arm("single_full", "single, all steps", NO_TELLING, tuple((name,) for name in NAMES)),
)


@dataclass(frozen=True)
class Training:
    """One network, from new weights to its checkpoint.

    Attributes:
        folder: all of its files.
        val_steps: None: the experiment's.
    """

    arm: Arm
    tasks: tuple[str, ...]
    steps: int
    learning_rate: float
    seed: int
    folder: Path
    val_steps: int | None = None

    def config(self, root: str) -> DictConfig:
        """The configuration of ``train`` or ``evaluate``."""
        epochs = max(1, self.steps // EPOCH_STEPS)
        overrides = [
            f"experiment={EXPERIMENT}",
            *self.arm.overrides,
            *(f"~tasks.{name}" for name in NAMES if name not in self.tasks),
            f"seed={self.seed}",
            f"run_dir={self.folder}",
            f"optimizer.lr={self.learning_rate}",
            f"scheduler.warmup_steps={self.steps // WARMUP_FRACTION}",
            f"trainer.max_epochs={epochs}",
            f"data.steps_per_epoch={self.steps // epochs}",
            "+trainer.enable_progress_bar=false",
            "+trainer.enable_model_summary=false",
            *([f"data.val_steps={self.val_steps}"] if self.val_steps else []),
        ]
        schema.register()
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = compose(root, overrides=overrides)
        config.callbacks = {name: config.callbacks[name] for name in ("checkpoint", "prompts")}
        return config


@dataclass(frozen=True)
class Job:
    """Something to be done with a training, until its result exists."""

    training: Training

    @property
    def result(self) -> Path:
        raise NotImplementedError


class Choice(Job):
    """A short training with one candidate of the learning rate, scored on val patches."""

    @property
    def result(self) -> Path:
        return self.training.folder / "metrics.json"


class Entry(Job):
    """A training of the table with the scores of its test cases."""

    @property
    def result(self) -> Path:
        return self.training.folder / "evaluation" / "metrics.json"

    @property
    def health(self) -> Path:
        """What every validation measured of prompts and weights."""
        return RunFolder(self.training.folder).health


class Matrix(Job):
    """Every task predicted on every dataset's test scans that fit it, of a trained network."""

    @property
    def result(self) -> Path:
        return self.training.folder / "matrix" / "metrics.json"


def choices(arms: Sequence[Arm], rates: Mapping[str, Sequence[float]], runs: Path) -> list[Choice]:
    """Every candidate of every arm, longest first.

    Args:
        rates: name of the arm -> its candidates.
    """
    trainings = [
        Training(
            arm,
            tasks,
            arm.choice_steps,
            rate,
            CHOICE_SEED,
            _folder(runs / "choice" / arm.name, tasks) / f"lr{rate}",
            CHOICE_VAL_STEPS,
        )
        for arm in arms
        for rate in rates[arm.name]
        for tasks in arm.trainings
    ]
    return [Choice(training) for training in _longest_first(trainings)]


def entries(arms: Sequence[Arm], learning_rates: Mapping[str, float], runs: Path) -> list[Entry]:
    """The trainings of the table, longest first.

    Args:
        learning_rates: name of the arm -> what was chosen.
    """
    return [Entry(training) for training in _longest_first(_trainings(arms, learning_rates, runs))]


def matrices(arms: Sequence[Arm], learning_rates: Mapping[str, float], runs: Path) -> list[Matrix]:
    """One per network of ``entries``."""
    return [Matrix(training) for training in _trainings(arms, learning_rates, runs)]


def _trainings(arms: Sequence[Arm], learning_rates: Mapping[str, float], runs: Path) -> list[Training]:
    return [
        Training(
            arm,
            tasks,
            arm.steps,
            learning_rates[arm.name],
            seed,
            _folder(runs / "table" / arm.name, tasks) / f"seed{seed}",
        )
        for arm in arms
        for seed in SEEDS
        for tasks in arm.trainings
    ]


def _longest_first(trainings: Sequence[Training]) -> list[Training]:
    return sorted(trainings, key=lambda training: -training.steps * len(training.tasks))


def _folder(parent: Path, tasks: tuple[str, ...]) -> Path:
    return parent / (tasks[0] if len(tasks) == 1 else "joint")
