"""What the finished runs say, in numbers."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jobs import NAMES, SEEDS, UNISEG, Arm, Entry, Matrix, entries, matrices

from uniseg.evaluation.health import NetworkHealth
from uniseg.metrics.paired import Comparison, Interval, by_patient, compare, holm
from uniseg.metrics.training_luck import luck_of_trainings, with_luck


@dataclass(frozen=True)
class TaskScores:
    """Test Dice of one arm on one task.

    Attributes:
        dice: ``[seeds, patients]``.
        baseline: ``[patients]``, of the majority label map.
        nnunet: ``[seeds]``, Dice by nnU-Net's convention, without classes that reference and prediction both lack.
    """

    task: str
    patients: tuple[str, ...]
    dice: np.ndarray
    baseline: np.ndarray
    nnunet: np.ndarray

    @property
    def seed_means(self) -> np.ndarray:
        return self.dice.mean(1)


@dataclass(frozen=True)
class ArmScores:
    """Test Dice of one arm, in the order of the suite's tasks.

    Attributes:
        image_share: of its networks at their end (``uniseg.evaluation.health.image_shares``); empty without prompts.
    """

    arm: Arm
    tasks: tuple[TaskScores, ...]
    image_share: np.ndarray

    def on(self, task: str) -> TaskScores | None:
        return next((scores for scores in self.tasks if scores.task == task), None)

    @property
    def overall(self) -> np.ndarray | None:
        """Mean over all tasks per seed; None where the arm lacks a task."""
        return np.mean([scores.seed_means for scores in self.tasks], 0) if len(self.tasks) == len(NAMES) else None

    @property
    def overall_nnunet(self) -> np.ndarray | None:
        """As ``overall``, by nnU-Net's convention."""
        return np.mean([scores.nnunet for scores in self.tasks], 0) if len(self.tasks) == len(NAMES) else None


@dataclass(frozen=True)
class Compared:
    """UniSeg minus an arm on one task.

    Attributes:
        p_holm: adjusted over the arm's tasks.
    """

    task: str
    comparison: Comparison
    p_holm: float | None


@dataclass(frozen=True)
class Overall:
    """UniSeg minus an arm over all patients of the arm's tasks.

    Attributes:
        with_luck: of the mean, over patients and more trainings.
        tasks_ahead: on which the mean is UniSeg's.
    """

    comparison: Comparison
    with_luck: Interval
    tasks_ahead: int


def finished(arms: Sequence[Arm], runs: Path) -> list[Arm]:
    """Arms with every network of the table scored."""
    return [arm for arm in arms if all(job.result.exists() for job in entries((arm,), _any_rates((arm,)), runs))]


def arm_scores(arm: Arm, runs: Path) -> ArmScores:
    """Of a finished arm."""
    jobs = entries((arm,), _any_rates((arm,)), runs)
    names = [name for name in NAMES if any(name in tasks for tasks in arm.trainings)]
    tasks = tuple(_task_scores(name, [job for job in jobs if name in job.training.tasks]) for name in names)
    return ArmScores(arm, tasks, _image_shares(jobs))


def _image_shares(jobs: Sequence[Entry]) -> np.ndarray:
    shares = [health.last_image_share for job in jobs if (health := NetworkHealth.load(job.health))]
    return np.array([share for share in shares if np.isfinite(share)])


def _task_scores(name: str, jobs: Sequence[Entry]) -> TaskScores:
    """Of the networks, one per seed, that know the task."""
    jobs = sorted(jobs, key=lambda job: SEEDS.index(job.training.seed))
    per_seed = []
    for job in jobs:
        with job.result.with_name("scores.csv").open(newline="") as file:
            per_seed.append([row for row in csv.DictReader(file) if row["task"] == name])
    averaged = [
        by_patient([row["patient_id"] for row in rows], [float(row["dice"]) for row in rows]) for rows in per_seed
    ]
    patients, baseline = by_patient(
        [row["patient_id"] for row in per_seed[0]], [float(row["blind_dice"]) for row in per_seed[0]]
    )
    assert all(names == patients for names, _ in averaged)
    nnunet = [json.loads(job.result.read_text())["tasks"][name]["dice_nnunet"] for job in jobs]
    return TaskScores(name, patients, np.stack([values for _, values in averaged]), baseline, np.array(nnunet, float))


def against(uniseg_scores: ArmScores, other: ArmScores) -> list[Compared]:
    """``uniseg_scores`` minus ``other`` on every task that ``other`` has."""
    comparisons = [compare(uniseg_scores.on(scores.task).dice.mean(0), scores.dice.mean(0)) for scores in other.tasks]
    adjusted = holm([comparison.p for comparison in comparisons])
    return [
        Compared(scores.task, comparison, p)
        for scores, comparison, p in zip(other.tasks, comparisons, adjusted, strict=True)
    ]


def overall(uniseg_scores: ArmScores, other: ArmScores) -> Overall:
    """``uniseg_scores`` minus ``other``, a patient of any task counting as much."""
    pairs = [(uniseg_scores.on(scores.task).dice, scores.dice) for scores in other.tasks]
    ours, theirs = (np.concatenate(dice, axis=1) for dice in zip(*pairs, strict=True))
    comparison = compare(ours.mean(0), theirs.mean(0))
    luck = luck_of_trainings((ours - theirs).mean(1))
    ahead = sum(a.mean() > b.mean() for a, b in pairs)
    return Overall(comparison, with_luck(comparison.interval, comparison.difference, luck), int(ahead))


def matrix_is_finished(runs: Path) -> bool:
    """Whether every network of UniSeg predicted every task."""
    return all(job.result.exists() for job in _matrices(runs))


def dice_matrix(runs: Path) -> np.ndarray:
    """Dice ``[seeds, datasets, predicted tasks]`` of UniSeg, NaN where the modalities do not fit."""
    matrix = np.full((len(SEEDS), len(NAMES), len(NAMES)), np.nan)
    for k, job in enumerate(_matrices(runs)):
        rows = json.loads(job.result.read_text())
        for cell in {(row["dataset"], row["asked"]) for row in rows}:
            dice = [row["dice"] for row in rows if (row["dataset"], row["asked"]) == cell]
            matrix[k, NAMES.index(cell[0]), NAMES.index(cell[1])] = np.mean(dice)
    return matrix


def _matrices(runs: Path) -> list[Matrix]:
    return matrices((UNISEG,), _any_rates((UNISEG,)), runs)


def _any_rates(arms: Sequence[Arm]) -> dict[str, float]:
    """Where a network lies does not depend on its learning rate."""
    return {arm.name: np.nan for arm in arms}
