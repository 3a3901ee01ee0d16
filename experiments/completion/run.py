"""What completed labels bring to a universal network: phantoms, whose full truth is known.

    python experiments/completion/run.py
    python experiments/completion/run.py --smoke

Every step is a command of uniseg; started again it resumes where it was stopped.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from uniseg.evaluation.case_record import read_cases
from uniseg.evaluation.records import read_scores
from uniseg.images.files import read_label, read_volume
from uniseg.inference.predictor import Predictor
from uniseg.metrics.dice import dice
from uniseg.metrics.paired import by_patient, compare, t_interval
from uniseg.phantom.suite import TASKS, PhantomSettings, write_suite
from uniseg.run_folder import RunFolder

HERE = Path(__file__).parent
NAMES = ("phantom_liver", "phantom_kidney", "phantom_spleen", "phantom_vertebrae")
SEEDS = (0, 1, 2)
PHANTOMS = {task.dataset: task for task in TASKS}
COMPLETED = "_completed"
SMOKE = ("data.steps_per_epoch=4", "trainer.max_epochs=1", "model.encoder.channels=[4,8,8,8]", "data.batch_size=2")
ANYTHING = ("least_confidence=0", "volume_slack=1e6", "most_components=100000", "most_overlap=1")


@dataclass(frozen=True)
class Place:
    """Of one seed: its folder is where commands start, so that what they complete is found there."""

    outputs: Path
    seed: int
    smoke: bool

    @property
    def folder(self) -> Path:
        return self.outputs / f"seed{self.seed}"

    def image(self, dataset: str, case_id: str) -> list[Path]:
        return [self.outputs / f"phantoms/{dataset}/imagesTr/{case_id}_0000.nii.gz"]

    def truth(self, dataset: str, case_id: str, task: str) -> np.ndarray:
        """What a person would have marked for any task."""
        whole = read_label(self.outputs / f"phantoms/truth/{case_id}.nii.gz", self.image(dataset, case_id))
        return PHANTOMS[task].label(whole)

    def command(self, name: str, *words: str) -> None:
        """A command of uniseg that has not been done here; what it tells goes to a log."""
        done = self.folder / "done" / "_".join([name, *(word.rpartition("/")[2] for word in words[:1])])
        if done.exists():
            return
        given = ["experiment=completion", f"paths.phantoms={self.outputs}/phantoms", f"seed={self.seed}", *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (self.folder / "log.txt").open("a") as log:
            module = [sys.executable, "-m", f"uniseg.{name}", *given, *(SMOKE if self.smoke else ())]
            subprocess.run(module, cwd=self.folder, env=environment, stdout=log, stderr=log, check=True)
        done.parent.mkdir(exist_ok=True)
        done.touch()


def train_and_score(place: Place, arm: str, tasks: Sequence[str], cache: Path) -> None:
    run = (f"run_dir={place.folder}/{arm}", f"task=[{','.join(tasks)}]", f"paths.cache={cache}")
    place.command("prepare", *run, "num_workers=1")
    place.command("train", *run, "ckpt_path=last")
    place.command("evaluate", *run)


def run_seed(place: Place) -> None:
    """A network without completion; its labels for the others' scans; a network with them."""
    place.folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "conf", place.folder / "conf", dirs_exist_ok=True)
    train_and_score(place, "without", NAMES, place.outputs / "cache")
    teacher = RunFolder(place.folder / "without").checkpoint
    words = [f"output={place.folder}/completed", f"task=[{','.join(NAMES)}]", f"teachers=[{teacher}]"]
    place.command("complete", *words, *(ANYTHING if place.smoke else ()))
    names = [f"{name}{COMPLETED}" for name in NAMES]
    written = [
        name if (place.folder / f"conf/task/{name}.yaml").exists() else name[: -len(COMPLETED)] for name in names
    ]
    train_and_score(place, "with", written, place.folder / "cache")


def label_noise(place: Place) -> Iterator[dict]:
    """Of every accepted label against the full truth: Dice of each class, where it is not ignored."""
    record = json.loads((place.folder / "completed/record.json").read_text())
    for name, each in record["tasks"].items():
        ignored = 1 + len(PHANTOMS[name].targets)
        for case_name, facts in each["cases"].items():
            if facts["reasons"]:
                continue
            dataset, case_id = case_name.split("__")
            truth = place.truth(dataset, case_id, name)
            label = read_label(
                place.folder / f"completed/{name}/labels/{case_name}.nii.gz", place.image(dataset, case_id)
            )
            seen = label != ignored
            for class_name, score in class_dice(name, label[seen], truth[seen]).items():
                yield {"task": name, "case": case_name, "class": class_name, "dice": score}


def class_dice(task: str, label: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Class -> Dice of a label map."""
    found = {}
    for value, class_name in enumerate(PHANTOMS[task].targets, start=1):
        ours, theirs = label == value, truth == value
        hits = int((ours & theirs).sum())
        found[class_name] = dice(hits, int(ours.sum()) - hits, int(theirs.sum()) - hits)
    return found


def score_other_tasks(place: Place, arm: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Test patients with their mean Dice over the three tasks that their dataset does not label."""
    path = place.folder / arm / "other_tasks.json"
    if not path.exists():
        predictor = Predictor.from_pretrained(RunFolder(place.folder / arm).checkpoint)
        found = {}
        for record in read_cases(RunFolder(place.folder / arm).evaluation("test")):
            dataset, case_id = record.task.name.removesuffix(COMPLETED), record.case.case_id
            others = [name for name in predictor.model.tasks.names if name.removesuffix(COMPLETED) != dataset]
            labels = predictor.predict(read_volume(place.image(dataset, case_id)), others)
            means = []
            for task, label in zip((name.removesuffix(COMPLETED) for name in labels), labels.values(), strict=True):
                means.append(np.mean(list(class_dice(task, label, place.truth(dataset, case_id, task)).values())))
            found[record.case.patient_id] = float(np.mean(means))
        path.write_text(json.dumps(found))
    found = json.loads(path.read_text())
    return by_patient([*found], [*found.values()])


def scores(place: Place, arm: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Test patients with their mean Dice over the classes of their task."""
    listed = read_scores(RunFolder(place.folder / arm).evaluation("test").scores)
    return by_patient([score.patient_id for score in listed], [score.dice for score in listed])


def summarize(places: Sequence[Place]) -> dict:
    """Means per arm and seed, the paired difference over patients (seeds averaged), the teachers' noise."""
    values = {arm: [scores(place, arm) for place in places] for arm in ("without", "with")}
    patients = values["without"][0][0]
    assert all(each[0] == patients for listed in values.values() for each in listed), "the same test patients"
    means = {arm: np.mean([each[1] for each in listed], 0) for arm, listed in values.items()}
    others = {arm: [score_other_tasks(place, arm) for place in places] for arm in values}
    other_means = {arm: np.mean([each[1] for each in listed], 0) for arm, listed in others.items()}
    noise = [fact for place in places for fact in label_noise(place)]
    records = [json.loads((place.folder / "completed/record.json").read_text()) for place in places]
    groups = {f"{fact['task']}/{fact['class']}": [] for fact in noise}
    for fact in noise:
        groups[f"{fact['task']}/{fact['class']}"].append(fact["dice"])
    return {
        "dice": {arm: [float(each[1].mean()) for each in listed] for arm, listed in values.items()},
        "paired": asdict(compare(means["with"], means["without"])),
        "paired_by_dataset": {
            name: asdict(
                compare(*(means[arm][[p.startswith(f"{name}/") for p in patients]] for arm in ("with", "without")))
            )
            for name in NAMES
        },
        "other_tasks": {
            "dice": {arm: [float(each[1].mean()) for each in listed] for arm, listed in others.items()},
            "paired": asdict(compare(other_means["with"], other_means["without"])),
        },
        "t_interval": asdict(t_interval(means["with"] - means["without"])),
        "label_noise": {name: {"mean_dice": float(np.mean(d)), "labels": len(d)} for name, d in groups.items()},
        "accepted": {
            name: [[each["tasks"][name]["accepted"], each["tasks"][name]["refused"]] for each in records]
            for name in records[0]["tasks"]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outputs", type=Path, default=Path("outputs/completion"))
    parser.add_argument(
        "--smoke", action="store_true", help="one seed, few cases, few steps; writes no results.json here"
    )
    options = parser.parse_args()
    outputs = options.outputs.absolute()
    outputs.mkdir(parents=True, exist_ok=True)
    write_suite(outputs / "phantoms", PhantomSettings(num_cases=7 if options.smoke else 36))
    places = [Place(outputs, seed, options.smoke) for seed in (SEEDS[:1] if options.smoke else SEEDS)]
    for place in places:
        run_seed(place)
    target = (outputs if options.smoke else HERE) / "results.json"
    target.write_text(json.dumps(summarize(places), indent=1) + "\n")
    sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
