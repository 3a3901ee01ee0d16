"""nnU-Net v2 and uniseg, fold by fold, on sets of few patients: python run.py --nnunet-python <with nnunetv2>.

    UNISEG_DATA=<folder of chaos_t2_abdomen, acdc_heart> python experiments/folds_vs_nnunet/run.py --nnunet-python ...

What is done stays done: started again it goes on, so that it can be had in chunks.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

sys.path.insert(0, str(Path(__file__).parents[1] / "hippocampus_vs_nnunet"))

from sides import EPOCH, NNUNET, UNISEG

from uniseg.evaluation.records import Score, read_scores
from uniseg.evaluation.verdict import dice_by_patient
from uniseg.files import write_json
from uniseg.metrics.paired import Comparison, compare, t_interval
from uniseg.run_folder import CrossvalFolder

HERE = Path(__file__).parent
MARGIN = 0.01  # of Dice
SEED = 0
WEIGHT_DECAY = 0.01  # that uniseg's AdamW has without being told
MISS = 0.5  # a class of a scan whose Dice is below is missed


class TimeUpError(Exception):
    """Nothing is begun any more."""


@dataclass(frozen=True)
class Set:
    """Scans of few patients, and their folds."""

    name: str
    task: str
    folder: str
    nnunet_name: str
    num_folds: int

    @property
    def experiment(self) -> str:
        return f"folds_{self.name}"


SETS = {
    "chaos": Set("chaos", "chaos_t2", "chaos_t2_abdomen", "Dataset038_CHAOS", 5),
    "acdc": Set("acdc", "acdc", "acdc_heart", "Dataset027_ACDC", 4),
}


@dataclass(frozen=True)
class Study:
    """One set by both tools: where it runs, how long at most."""

    scans: Set
    data: Path
    outputs: Path
    nnunet_python: str
    end: float
    epochs: int

    @property
    def root(self) -> Path:
        return self.outputs / self.scans.name

    @property
    def crossval(self) -> CrossvalFolder:
        return CrossvalFolder(self.root / f"{self.epochs}_epochs" / "uniseg")

    @property
    def nnunet_results(self) -> Path:
        return self.root / f"{self.epochs}_epochs" / "nnunet"

    def settings(self) -> dict:
        """Of the files that uniseg reads."""
        found = OmegaConf.load(HERE / "conf" / "experiment" / "folds_chaos.yaml")
        if self.scans.name != "chaos":
            own = OmegaConf.load(HERE / "conf" / "experiment" / f"{self.scans.experiment}.yaml")
            found = OmegaConf.merge(found, own)
        return OmegaConf.to_container(found, resolve=False)

    def folds(self) -> list[dict[str, list[str]]]:
        """Every so many-th patient in the order of their numbers; written down for both tools."""
        names = sorted(path.name.removesuffix(".nii.gz") for path in (self.data / "labelsTr").glob("*.nii.gz"))
        patients = sorted({patient_of(name) for name in names})
        folds = []
        for number in range(self.scans.num_folds):
            held = {*patients[number :: self.scans.num_folds]}
            folds.append(
                {key: [n for n in names if (patient_of(n) in held) == (key == "val")] for key in ("train", "val")}
            )
        write_json(self.root / "splits_final.json", folds)
        return folds

    def once(self, piece: str, work: Sequence[str], environment: dict[str, str], log: Path) -> None:
        """A command, unless it is done."""
        done = self.root / "done" / piece
        if done.exists():
            return
        if time.monotonic() > self.end:
            raise TimeUpError
        for folder in (done.parent, log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
            subprocess.run([*work], cwd=HERE, env=variables, stdout=file, stderr=file, check=True)
        done.touch()
        sys.stderr.write(f"{self.scans.name}: {piece}\n")

    def nnunet_record(self, fold: int) -> Path:
        return self.root / f"nnunet_{self.epochs}_epochs_fold{fold}.json"

    def nnunet(self, name: str, piece: str, settings: dict) -> None:
        file = self.root / "settings" / f"{piece}.json"
        write_json(file, settings)
        folders = {f"nnUNet_{kind}": str(self.root / f"nnunet_{kind}") for kind in ("raw", "preprocessed")}
        processes = {"nnUNet_n_proc_DA": "1" if name == "prepare" else "0", "nnUNet_def_n_proc": "1"}
        folders |= {"nnUNet_results": str(self.nnunet_results), **processes}
        words = [self.nnunet_python, str(HERE / "nnunet_folds.py"), name, str(file)]
        self.once(piece, words, folders, self.root / "nnunet.log")

    def uniseg(self, name: str, piece: str, *overrides: str) -> None:
        source = f"tasks.{self.scans.task}.source"
        words = [sys.executable, "-m", f"uniseg.{name}", f"experiment={self.scans.experiment}", *overrides]
        words += [f"paths.cache={self.root / 'cache'}", f"paths.outputs={self.root}", f"{source}.root={self.data}"]
        words += [f"{source}.splits={self.root / 'splits_final.json'}"]
        self.once(piece, words, {}, self.root / "uniseg.log")

    def run(self) -> dict:
        """Both tools' folds, and what the record says of them."""
        self.root.mkdir(parents=True, exist_ok=True)
        folds, settings = self.folds(), self.settings()
        spacing = OmegaConf.load(HERE.parents[1] / "conf" / "task" / f"{self.scans.task}.yaml").spacing_mm
        data = settings["data"]
        small = {**settings["model"]["encoder"], **{key: data[key] for key in ("patch_size", "batch_size")}}
        given = {"data": str(self.data), "folds": folds, "spacing": [float(mm) for mm in spacing], "small": small}
        self.nnunet("prepare", "nnunet_prepare", {"name": self.scans.nnunet_name, **given})
        length = {"epochs": self.epochs, "steps": data["steps_per_epoch"], "val_steps": data["val_steps"]}
        adamw = {"lr": settings["optimizer"]["lr"], "weight_decay": WEIGHT_DECAY}
        for fold in range(len(folds)):
            piece = f"nnunet_{self.epochs}_epochs_fold{fold}"
            training = {"fold": fold, "seed": SEED, "length": length, "adamw": adamw}
            training["record"] = str(self.nnunet_record(fold))
            self.nnunet("train", piece, {"name": self.scans.nnunet_name, **training})
        self.uniseg("prepare", "uniseg_prepare")
        crossval = [f"run_dir={self.crossval.path}", f"seed={SEED}", f"trainer.max_epochs={self.epochs}"]
        crossval += [f"nnunet_folds={self.nnunet_results / self.scans.nnunet_name}", f"margin={MARGIN}"]
        self.uniseg("crossval", f"uniseg_{self.epochs}_epochs", *crossval)
        return record_of(self, folds)


def patient_of(case_id: str) -> str:
    return case_id.partition("_frame")[0]


def record_of(study: Study, folds: Sequence[dict[str, list[str]]]) -> dict:
    """Pooled scores of both, by class and patient; the difference over patients and over folds."""
    scores = {UNISEG: read_scores(study.crossval.pooled.scores), NNUNET: read_scores(study.crossval.others.scores)}
    dice = {tool: dice_by_patient(rows) for tool, rows in scores.items()}
    patients = sorted(dice[UNISEG])
    if patients != sorted(dice[NNUNET]):
        raise ValueError("the two tools have other patients")
    ours, theirs = (np.array([dice[tool][name] for name in patients]) for tool in (UNISEG, NNUNET))
    by_fold = np.array([np.subtract(*(mean_of(rows, {*fold["val"]}) for rows in scores.values())) for fold in folds])
    over_folds = t_interval(by_fold)
    return {
        "steps": study.epochs * study.settings()["data"]["steps_per_epoch"],
        "patients": [name.rpartition("/")[2] for name in patients],
        "dice": {UNISEG: ours.tolist(), NNUNET: theirs.tolist()},
        "mean_dice": {UNISEG: float(ours.mean()), NNUNET: float(theirs.mean())},
        "majority_vote": mean_of(scores[UNISEG], None, "baseline_dice"),
        "classes": by_class(scores),
        "difference": described(compare(ours, theirs)),
        "difference_by_fold": by_fold.tolist(),
        "interval_over_folds": [over_folds.low, over_folds.high],
        "seconds_per_step": seconds_per_step(study, len(folds)),
    }


def described(found: Comparison) -> dict:
    """Whether non-inferior is told from twenty patients on alone."""
    return {**asdict(found), "margin": MARGIN, "non_inferior": found.non_inferior(MARGIN)}


def mean_of(rows: Sequence[Score], cases: set[str] | None, value: str = "dice") -> float:
    """Over classes and cases of a patient, then patients."""
    known = [row for row in rows if cases is None or row.case_id in cases]
    means = [
        np.nanmean([getattr(row, value) for row in known if row.patient_id == patient])
        for patient in sorted({row.patient_id for row in known})
    ]
    return float(np.mean(means))


def by_class(scores: dict[str, list[Score]]) -> dict[str, dict]:
    """Mean Dice over scans, and in how many the class is missed."""
    table: dict[str, dict] = {}
    for tool, rows in scores.items():
        for name in dict.fromkeys(row.class_name for row in rows):
            values = np.array([row.dice for row in rows if row.class_name == name])
            table.setdefault(name, {})[tool] = {
                "dice": float(np.nanmean(values)),
                "scans": int(np.isfinite(values).sum()),
                "missed": int((values < MISS).sum()),
            }
    return table


def seconds_per_step(study: Study, num_folds: int) -> dict[str, float]:
    """Median over folds of the epochs' median, validation included."""
    steps = study.settings()["data"]["steps_per_epoch"]
    theirs = [json.loads(study.nnunet_record(fold).read_text())["epoch_seconds"] for fold in range(num_folds)]
    logs = [(study.crossval.fold(fold).path / "train.log").read_text() for fold in range(num_folds)]
    ours = [[float(seconds) for seconds in EPOCH.findall(log)] for log in logs]
    return {
        tool: float(np.median([np.median(epochs) for epochs in folds])) / steps
        for tool, folds in {UNISEG: ours, NNUNET: theirs}.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--nnunet-python", required=True)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which nothing is begun")
    parser.add_argument("--outputs", type=Path, default=Path("outputs/folds_vs_nnunet"))
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--epochs", type=int, default=30, help="of 20 steps")
    options = parser.parse_args()
    data, end = Path(os.environ.get("UNISEG_DATA", "data")).absolute(), time.monotonic() + 60 * options.minutes
    for name in options.sets:
        scans = SETS[name]
        folders = (data / scans.folder, options.outputs.absolute(), os.path.abspath(options.nnunet_python))
        try:
            found = Study(scans, *folders, end, options.epochs).run()
        except TimeUpError:
            sys.exit("the minutes are over; the same command goes on")
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        write_json(options.results, results | {name: found})


if __name__ == "__main__":
    main()
