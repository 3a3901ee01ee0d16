"""Where a run keeps what: one layout for those who write and those who read."""

import os
from dataclasses import dataclass
from pathlib import Path

from uniseg.files import PART

CONTROL, REPEATS = "control", "repeats"
LAST_CHECKPOINT, METRICS_LOG = "last.ckpt", "metrics.csv"
TEST, OLD_VAL = "test", "evaluation_dev"  # the validation cases of a fold were called dev


@dataclass(frozen=True)
class EvaluationFolder:
    """The files of one evaluation, of a run or of any tool's label maps.

    Examples:
        >>> EvaluationFolder(Path("scored")).scores.name
        'scores.csv'
    """

    path: Path

    @property
    def scores(self) -> Path:
        return self.path / "scores.csv"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def cases(self) -> Path:
        return self.path / "cases.json"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def postprocessing(self) -> Path:
        return self.path / "postprocessing.json"

    @property
    def prompt_similarity(self) -> Path:
        return self.path / "prompts" / "similarity.npz"

    @property
    def prompt_map(self) -> Path:
        return self.path / "prompts" / "map.npz"


@dataclass(frozen=True)
class ReportFolder:
    """A page with its pictures.

    Examples:
        >>> ReportFolder(Path("report")).page.as_posix()
        'report/report.html'
    """

    path: Path

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        return self.path / "figures"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training with all that is made of it later.

    Examples:
        >>> RunFolder(Path("outputs/demo")).evaluation("test").metrics.as_posix()
        'outputs/demo/evaluation/metrics.json'
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def checkpoint(self) -> Path:
        return self.checkpoints / LAST_CHECKPOINT

    def saved_checkpoints(self) -> list[Path]:
        """All that are complete, by name."""
        return sorted(path for path in self.checkpoints.glob("*.ckpt") if not path.name.startswith(PART))

    @property
    def lock(self) -> Path:
        """Held by the process that trains."""
        return self.path / ".lock"

    @property
    def tracking(self) -> Path:
        """By what loggers know the run again."""
        return self.path / "tracking.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def log(self) -> Path:
        """A row per logged step or epoch."""
        return self.logs / METRICS_LOG

    @property
    def train_log(self) -> Path:
        """What the terminal said."""
        return self.path / "train.log"

    @property
    def transfer_report(self) -> Path:
        return self.path / "weights.json"

    @property
    def control(self) -> "RunFolder":
        """The run of new weights beside a fine-tuning."""
        return RunFolder(self.path / CONTROL)

    def repeat(self, number: int) -> "RunFolder":
        """The same fine-tuning with another seed; 0 is this one."""
        return RunFolder(self.path / REPEATS / str(number)) if number else self

    @property
    def verdict(self) -> Path:
        """Of a fine-tuning against its control."""
        return self.path / "verdict.json"

    @property
    def forgetting_report(self) -> Path:
        return self.path / "old_tasks.json"

    @property
    def prompt_evolution(self) -> Path:
        return self.path / "prompts" / "evolution.npz"

    @property
    def health(self) -> Path:
        """What prompts see, which channels are dead, how weights grow."""
        return self.path / "prompts" / "health.npz"

    @property
    def reconstructions(self) -> Path:
        """A file per pretext task that gives values back."""
        return self.path / "pretext"

    def reconstruction(self, task: str) -> Path:
        return self.reconstructions / f"{task}.npz"

    @property
    def report(self) -> Path:
        return self.path / "report"

    def evaluation(self, split: str) -> EvaluationFolder:
        """Of the test cases ``evaluation``, of another split ``evaluation_<split>``; an older run that has
        ``evaluation_dev`` keeps it for ``val``.
        """
        name = "evaluation" if split == TEST else f"evaluation_{split}"
        if split == "val" and (self.path / OLD_VAL).exists() and not (self.path / name).exists():
            name = OLD_VAL
        return EvaluationFolder(self.path / name)

    @property
    def reported(self) -> EvaluationFolder:
        """The scores that a report shows: of the test cases or, where val cases alone were scored, of these."""
        test, val = self.evaluation(TEST), self.evaluation("val")
        return val if val.metrics.is_file() and not test.metrics.is_file() else test

    def finished_parts(self) -> list[Path]:
        """The checkpoints and scores that are there, by which a folder counts as that of a run."""
        scores = sorted(self.path.glob("evaluation*/metrics.json"))
        others = [self.path.glob(f"{name}/checkpoints/*.ckpt") for name in (CONTROL, f"{REPEATS}/*")]
        return [*self.saved_checkpoints(), *scores, *(path for paths in others for path in sorted(paths))]

    def results(self) -> list[Path]:
        """All that training, evaluation and report write, there or not, but for the checkpoints."""
        evaluations = [self.path / name for name in ("evaluation", "evaluation_val", OLD_VAL)]
        reports = [self.forgetting_report, self.transfer_report, self.verdict, self.control.path, self.path / REPEATS]
        logs = [self.logs, self.path / "tensorboard", self.train_log]
        return [self.report, *evaluations, self.prompt_evolution.parent, self.reconstructions, *logs, *reports]


@dataclass(frozen=True)
class CrossvalFolder:
    """A cross-validation: the run of every fold, and what is made of all of them.

    Examples:
        >>> CrossvalFolder(Path("outputs/demo_crossval")).fold(2).checkpoint.as_posix()
        'outputs/demo_crossval/fold_2/checkpoints/last.ckpt'
    """

    path: Path

    @property
    def record(self) -> Path:
        """What it was begun with."""
        return self.path / "crossval.json"

    def fold(self, number: int) -> RunFolder:
        return RunFolder(self.path / f"fold_{number}")

    def trained(self, number: int) -> Path:
        """Written when the training of a fold has come to its end."""
        return self.fold(number).path / "trained.json"

    def log(self, number: int) -> Path:
        """What the process of a fold said, where folds run side by side."""
        return self.path / f"fold_{number}.log"

    @property
    def pooled(self) -> EvaluationFolder:
        """The out-of-fold scores of all folds."""
        return EvaluationFolder(self.path / "pooled")

    @property
    def others(self) -> EvaluationFolder:
        """The scores of another tool's folds on the same cases."""
        return EvaluationFolder(self.path / "others")

    @property
    def ensemble(self) -> Path:
        return self.path / "ensemble"

    @property
    def report(self) -> ReportFolder:
        return ReportFolder(self.path / "report")


def file_of_evaluation(path: str | os.PathLike) -> Path:
    """``path``, or the same file under ``evaluation_val`` where only ``evaluation_dev``, its former name, is wrong."""
    given = Path(path)
    current = Path(*("evaluation_val" if part == OLD_VAL else part for part in given.parts))
    return given if given.exists() or not current.is_file() else current
