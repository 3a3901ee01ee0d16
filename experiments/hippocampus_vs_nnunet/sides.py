"""One training by either tool, and its label maps: ``UnisegRun`` and ``NnunetRun`` answer the same questions."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import OmegaConf
from study import HERE, Study

from uniseg import load_model
from uniseg.run_folder import RunFolder

UNISEG, NNUNET = "uniseg", "nnU-Net"
EXPERIMENT = HERE / "conf" / "experiment" / "vs_nnunet_equal_steps.yaml"
EPOCH = re.compile(r"epoch \d+, step \d+: .*, ([0-9.]+) s$", re.MULTILINE)


@dataclass(frozen=True)
class Length:
    """Of a training; the learning rate falls from epoch to epoch, as nnU-Net's."""

    epochs: int
    steps: int
    val_steps: int


@dataclass(frozen=True)
class UnisegRun:
    """A training by uniseg.

    Attributes:
        small: the network of the file beside this one; else the plan as ``uniseg prepare plan=true`` writes it.
        budget: of the plan; None: the default.
    """

    study: Study
    folder: Path
    length: Length
    seed: int
    small: bool
    budget: str | None = None

    @property
    def cores(self) -> int | None:
        return 1 if self.small else None

    @property
    def plan_folder(self) -> Path:
        return self.study.outputs / "uniseg" / ("plan" if self.budget is None else f"plan_{self.budget}")

    @property
    def scans(self) -> list[str]:
        """Settings that say where everything is."""
        outputs = self.study.outputs
        return [
            f"paths.data={self.study.data.parent}",
            f"tasks.hippocampus.source.root={self.study.data}",
            f"tasks.hippocampus.source.splits={self.study.splits_file()}",
            f"paths.outputs={outputs / 'uniseg'}",
            f"paths.cache={outputs / 'uniseg' / ('cache_small' if self.small else 'cache_planned')}",
        ]

    def command(self, name: str, *overrides: str, cores: int | None = 1) -> None:
        cwd, experiment = (HERE, EXPERIMENT.stem) if self.small else (self.plan_folder, "planned")
        words = [sys.executable, "-m", f"uniseg.{name}", f"experiment={experiment}", *self.scans, *overrides]
        self.study.call(words, self.folder / "log.txt", cwd, {}, cores)

    def prepare(self) -> None:
        """The plan, where there is none yet, and the cache."""
        if not self.small:
            self.study.once(self.plan_folder, "plan", self._plan)
        kind = "small" if self.small else "planned"
        self.study.once(self.study.outputs / "uniseg", f"cache_{kind}", lambda: self.command("prepare"))

    def _plan(self) -> None:
        """Nothing but what has no default, 8 GB as nnU-Net plans for, and the precision of a processor."""
        (self.plan_folder / "conf" / "experiment").mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "uniseg.prepare", "plan=true", "task=[hippocampus]", *self.scans]
        words += ["gpu_memory_gb=8", "plan_precision=32-true", *(["plan_width=[8,64]"] if self.study.smoke else [])]
        words += [] if self.budget is None else [f"budget={self.budget}"]
        self.study.call(words, self.folder / "log.txt", self.plan_folder, {}, None)

    def planned(self) -> "UnisegRun":
        """With the length of its plan, which is made where there is none."""
        self.prepare()
        plan = OmegaConf.load(self.plan_folder / "conf" / "experiment" / "planned.yaml")
        return replace(self, length=Length(plan.trainer.max_epochs, plan.data.steps_per_epoch, plan.data.val_steps))

    def train(self) -> None:
        n = self.length
        self.command(
            "train",
            f"run_dir={self.folder}",
            f"seed={self.seed}",
            f"trainer.max_epochs={n.epochs}",
            f"data.steps_per_epoch={n.steps}",
            f"data.val_steps={n.val_steps}",
            "trainer.accelerator=cpu",
            "callbacks.progress.refresh_rate=0",
            "overwrite=true",
            cores=self.cores,
        )

    def seconds(self) -> list[float]:
        """Of every epoch, its validation included."""
        return [float(found) for found in EPOCH.findall((self.folder / "train.log").read_text())]

    def network(self) -> dict:
        settings = OmegaConf.load(self.folder / "config.yaml")
        model = load_model(self.folder / "checkpoints" / "last.ckpt")
        return {
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "patch_size": [*settings.data.patch_size],
            "batch_size": settings.data.batch_size,
            "channels": [*settings.model.encoder.channels],
        }

    def predict(self, split: str) -> Path:
        self.command("evaluate", f"run_dir={self.folder}", f"split={split}", "rules.surfaces=false", cores=self.cores)
        return RunFolder(self.folder).evaluation(split).predictions / "hippocampus"


@dataclass(frozen=True)
class NnunetRun:
    """A training by nnU-Net.

    Attributes:
        small: the plan with the numbers of uniseg's small network; else nnU-Net's own.
    """

    study: Study
    folder: Path
    length: Length
    seed: int
    small: bool

    def command(self, name: str, settings: dict, *, cores: int | None = 1) -> None:
        """``cores``: one core is one process, which augments too; None: nnU-Net's own defaults."""
        root = self.study.outputs / "nnunet"
        file = self.folder / f"{name}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
        environment = {"nnUNet_raw": str(root / "raw"), "nnUNet_preprocessed": str(root / "preprocessed")}
        environment["nnUNet_results"] = str(self.folder / "results")
        if cores == 1:
            environment |= {"nnUNet_n_proc_DA": "1" if name == "prepare" else "0", "nnUNet_def_n_proc": "1"}
        words = [self.study.nnunet_python, str(HERE / "nnunet_side.py"), name, str(file)]
        self.study.call(words, self.folder / "log.txt", self.folder, environment, cores)

    def prepare(self) -> None:
        """Both plans and the cases, which are the same for both."""
        root = self.study.outputs / "nnunet"
        settings = {"data": str(self.study.data), "splits": self.study.splits, "small": small_network()}
        self.study.once(root, "prepare", lambda: self.command("prepare", settings))

    @property
    def common(self) -> dict:
        plans = "smallPlans" if self.small or self.study.smoke else "nnUNetPlans"
        return {"plans": plans, "seed": self.seed, "threads": 1 if self.small else None}

    @property
    def cores(self) -> int | None:
        return 1 if self.small else None

    def train(self) -> None:
        n = self.length
        length = {"epochs": n.epochs, "steps": n.steps, "val_steps": n.val_steps}
        settings = {"length": length, "adamw": adamw() if self.small else None}
        self.command("train", self.common | settings | {"record": str(self.folder / "record.json")}, cores=self.cores)

    def _record(self) -> dict:
        return json.loads((self.folder / "record.json").read_text())

    def seconds(self) -> list[float]:
        """Of every epoch, its validation included."""
        return self._record()["epoch_seconds"]

    def network(self) -> dict:
        return {key: value for key, value in self._record().items() if key != "epoch_seconds"}

    def predict(self, split: str) -> Path:
        output = self.folder / "predictions" / split
        images = [str(self.study.image(name)) for name in self.study.splits[split]]
        self.command("predict", self.common | {"images": images, "output": str(output)}, cores=self.cores)
        return output


Run = UnisegRun | NnunetRun
TOOLS = {UNISEG: UnisegRun, NNUNET: NnunetRun}


def small_network() -> dict:
    """Stages, widths, kernels, patch, batch of the file that uniseg reads, for nnU-Net's plan."""
    settings = OmegaConf.to_container(OmegaConf.load(EXPERIMENT), resolve=False)
    return {**settings["model"]["encoder"], **{key: settings["data"][key] for key in ("patch_size", "batch_size")}}


def adamw() -> dict[str, float]:
    """Of the same file, with the weight decay that uniseg's AdamW has without being told."""
    return {"lr": OmegaConf.load(EXPERIMENT).optimizer.lr, "weight_decay": 0.01}


def score(run: Run, split: str) -> Path:
    """The folder of the scores, by ``uniseg evaluate`` on label maps, whichever tool wrote these."""
    output = run.folder / "scores" / split

    def work() -> None:
        predictions = run.predict(split)
        words = [sys.executable, "-m", "uniseg.evaluate", f"predictions={predictions}", f"output={output}"]
        words += [f"labels={run.study.labels(split)}", "task=[hippocampus]", "rules.lesions=false"]
        words += [f"tasks.hippocampus.source.root={run.study.data}"]
        run.study.call(words, run.folder / "log.txt", run.folder, {}, 1)

    run.study.once(run.folder, f"score_{split}", work)
    return output


def train(run: Run) -> Run:
    """The run, trained and scored on val."""
    run.study.once(run.folder, "train", run.train)
    score(run, "val")
    return run


def prepare(study: Study, length: Length, tools: Sequence[str], *, small: bool) -> None:
    for tool in tools:
        TOOLS[tool](study, study.outputs / "prepare" / tool, length, 0, small).prepare()
