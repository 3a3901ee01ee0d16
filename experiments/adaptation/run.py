"""Phantom sites of growing distance: what each way of adapting without labels brings, what it costs at home, and how
often the guard is wrong.

    python experiments/adaptation/run.py outputs/demo/checkpoints/last.ckpt --cache outputs/cache

Every scan is a chunk of its own in ``--outputs``; started again it resumes where it was stopped.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from uniseg.adaptation.adapt_files import judge_answers
from uniseg.adaptation.candidates import CANDIDATES, CONSISTENCY, NONE, ScanAnswers, mean_dice
from uniseg.adaptation.guard import Verdict, judge_site
from uniseg.adaptation.settings import AdaptSettings
from uniseg.adaptation.site import adapt_to_site
from uniseg.adaptation.training_ranges import known_statistics
from uniseg.datasets.case import Case
from uniseg.files import write_json
from uniseg.images.files import read_label, read_volume
from uniseg.inference.predictor import Predictor
from uniseg.models.uniseg import UniSegModel
from uniseg.phantom.suite import DATASETS, PhantomCase, _write_nifti, make_case

HERE = Path(__file__).parent
TASK = "phantom_prostate"
DISTANCES = (0.0, 0.4, 0.6, 0.7, 0.8, 1.0)  # the first is the site that the base was trained at
LEVELS = range(len(DISTANCES))
FIRST_CASE = 36  # the suite has 36 patients: these are others
HARM = 0.02
NO_BAR = nullcontext(lambda number=1: None)


def style_offset(level: int) -> dict[str, float]:
    """Contrast, noise, sharpness, spacing, gain of a site; the range of the suite's sites is 0 to 1."""
    t = DISTANCES[level]
    return {
        "contrast": -1.8 * t,
        "noise": 3 * t,
        "sharpness": -0.5 * t,
        "spacing_z": 0.6 * t,
        "spacing_in_plane": 0.4 * t,
        "gain": 1.0 * t,
    }


def shade(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A bias field that grows with the level, beside that of the suite."""
    t, axes = DISTANCES[level], [np.linspace(-1, 1, n) for n in image.shape]
    slopes, bends = rng.uniform(-0.6, 0.6, 3) * t, rng.uniform(-0.6, 0.6, 3) * t
    parts = [np.exp(a * axis + b * axis**2) for a, b, axis in zip(slopes, bends, axes, strict=True)]
    field = parts[0][:, None, None] * parts[1][None, :, None] * parts[2][None, None]
    return np.rint(image * field).astype(image.dtype)


def make_scan(folder: Path, level: int, number: int) -> tuple[Path, Path]:
    """Image and label of a patient at a site."""
    image, label = (folder / kind / f"level{level}" / f"case{number}.nii.gz" for kind in ("images", "labels"))
    if not label.exists():
        task_index = next(k for k, task in enumerate(DATASETS) if task.dataset == TASK)
        case = make_case(0, task_index, FIRST_CASE + number, shared_style=False, style_offset=style_offset(level))
        shaded = shade(case.images[0], level, np.random.default_rng([level, number]))
        case = PhantomCase((shaded,), case.structures, case.affine, case.orientation)
        for path, array in ((image, shaded), (label, DATASETS[task_index].label(case.structures))):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_nifti(path, array, case)
    return image, label


def answer_scan(answers: ScanAnswers, image: Path, label: Path) -> dict[str, dict]:
    """Candidate -> Dice with the truth, evidence, what the guard said; a site file without the other controls, which
    do not depend on it.
    """
    candidates = CANDIDATES if answers.site is None else (NONE, CONSISTENCY)
    scores = {}
    truth, task = read_label(label, image), answers.predictor.task(TASK)
    found = answers.of(read_volume([image]), [TASK], candidates=candidates)[TASK]
    verdicts = judge_answers(found, TASK, answers)
    for name, answer in found.items():
        scores[name] = {"dice": mean_dice(answer.segmentation.label[:], truth, task)} | answer.evidence.to_dict()
        if name in verdicts:
            scores[name]["verdict"] = asdict(verdicts[name])
    return scores


def rows(chunks: Mapping[str, dict]) -> Iterator[dict]:
    """Per base and level: mean Dice of every candidate."""
    for group in sorted({key.rpartition("/")[0] for key in chunks}):
        cases = [scores for key, scores in sorted(chunks.items()) if key.rpartition("/")[0] == group]
        base, level = group.split("/")
        dice = {name: [case[name]["dice"] for case in cases] for name in cases[0]}
        yield {"base": base, "level": int(level.removeprefix("level")), "scans": len(cases)} | {
            name: {"mean": round(float(np.mean(values)), 4), "cases": [round(value, 4) for value in values]}
            for name, values in dice.items()
        }


def guard_rates(chunks: Mapping[str, dict]) -> dict[str, dict]:
    """Per candidate: accepted although it costs more than 0.02 Dice, rejected although it gains more, of all."""
    rates = {}
    for name in [name for name in CANDIDATES[1:] if all(name in case for case in chunks.values())]:
        pairs = [(case[name]["dice"] - case[NONE]["dice"], case[name]["verdict"]["use"]) for case in chunks.values()]
        harmful, useful = [use for gain, use in pairs if gain < -HARM], [use for gain, use in pairs if gain > HARM]
        rates[name] = {
            "answers": len(pairs),
            "accepted": sum(use for _, use in pairs),
            "harmful": len(harmful),
            "false_accepts": sum(harmful),
            "useful": len(useful),
            "false_rejects": len(useful) - sum(useful),
        }
    return rates


class Study:
    """All scans of all sites, answered by the base, by its like that was trained with GIN, by site files."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.chunks = options, dict[str, dict]()
        self.bases = {"base": options.base} | ({} if options.gin is None else {"gin": options.gin})
        self.kinds = [*self.bases, "site"]
        self.settings = AdaptSettings(**options.settings)
        self.site_settings = AdaptSettings(mode="site", **options.site_settings)
        self.made: dict[tuple[str, int], ScanAnswers] = {}

    def run(self) -> None:
        for number in self.options.numbers:
            for kind in self.kinds:
                for level in self.options.levels:
                    path = self.options.outputs / "chunks" / kind / f"level{level}" / f"case{number}.json"
                    if not path.exists():
                        scan = make_scan(self.options.outputs, level, number)
                        write_json(path, answer_scan(self.answers(kind, level), *scan))
                    self.chunks[f"{kind}/level{level}/{number}"] = json.loads(path.read_text())
                    write_json(self.options.results, self.results())

    def answers(self, kind: str, level: int) -> ScanAnswers:
        """What answers the scans of a site."""
        if kind != "site":
            level = 0  # one for all sites
        if (kind, level) not in self.made:
            predictor = Predictor.from_pretrained(self.bases.get(kind, self.options.base))
            statistics = known_statistics(predictor.model, self.options.cache)
            site = self.site(predictor, level) if kind == "site" else None
            settings = self.site_settings if kind == "site" else self.settings
            self.made[kind, level] = ScanAnswers(predictor, settings, statistics, site)
        return self.made[kind, level]

    def site(self, predictor: Predictor, level: int) -> UniSegModel:
        images = [make_scan(self.options.outputs, level, number)[0] for number in self.options.numbers]
        pairs = [(Case(f"case{n}", "", (image,), None), {TASK: (image,)}) for n, image in enumerate(images)]
        folder = self.options.outputs / "sites" / f"level{level}"
        folder.mkdir(parents=True, exist_ok=True)
        log = sys.stderr.write
        return adapt_to_site(predictor, pairs, folder, self.site_settings, log, lambda title, total: NO_BAR).model

    def results(self) -> dict:
        return {
            "task": TASK,
            "settings": asdict(self.settings),
            "site_settings": asdict(self.site_settings),
            "distances": DISTANCES,
            "majority_vote_at_home": self.options.majority_vote,
            "rows": list(rows(self.chunks)),
            "guard": {kind: guard_rates(self._of(f"{kind}/")) for kind in self.kinds},
            "site_files": {f"level{level}": self._site_verdict(level) for level in self.options.levels},
        }

    def _of(self, start: str) -> dict[str, dict]:
        return {key: scores for key, scores in self.chunks.items() if key.startswith(start)}

    def _site_verdict(self, level: int) -> dict:
        cases = self._of(f"site/level{level}/")
        verdict = judge_site({k: Verdict(**v[CONSISTENCY]["verdict"]) for k, v in cases.items()}, self.site_settings)
        return {"verdict": verdict.word, "reason": verdict.reason}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--gin", type=Path, help="the same base, trained with +augment/transform@...=gin")
    parser.add_argument("--cache", type=Path, help="that the base was trained from, where its file says nothing of it")
    parser.add_argument("--majority-vote", type=float, help="Dice of the majority vote at home, of an evaluation")
    parser.add_argument("--numbers", type=int, nargs="+", default=list(range(10)), help="of patients, at every site")
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS), choices=LEVELS, help="of the sites")
    parser.add_argument("--outputs", type=Path, default=Path("outputs/adaptation"))
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--settings", type=json.loads, default={}, help="of AdaptSettings, as JSON")
    parser.add_argument("--site-settings", type=json.loads, default={}, help="of those of the site files, as JSON")
    Study(parser.parse_args()).run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
