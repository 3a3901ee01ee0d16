"""The folds of a cross-validation: their configurations, what makes them the same, their evaluation."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from uniseg.cache.case_folder import PREPARE_AGAIN
from uniseg.commands.builders import (
    make_data,
    make_metrics,
    make_predictor,
    require_datasets,
    sources_of,
    tasks_of,
)
from uniseg.commands.structured import settings_from
from uniseg.datasets.dataset import Dataset, find_datasets
from uniseg.datasets.splits import SplitTable, check_patients
from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.evaluation.crossval import VAL, CrossvalRecord, CrossvalSettings, begin, fold_weights
from uniseg.evaluation.records import Summary
from uniseg.evaluation.run import evaluate_run, refuse_seen
from uniseg.evaluation.scoring import Scorer, ScoringRules
from uniseg.files import write_json
from uniseg.run_folder import CrossvalFolder
from uniseg.task import TaskSet
from uniseg.training.run_record import flatten
from uniseg.weights.foreign.open import open_source
from uniseg.weights.hashing import checkpoint_hash

FEWEST_FOLDS = 2
# Of the configuration, what makes a fold what it is ...
RECORDED = (
    *("seed", "tasks", "data", "augment", "pretext", "model", "loss", "optimizer", "scheduler", "init", "finetune"),
    *("trainer", "inference", "rules"),
)
AVERAGE = "average"  # of the callbacks the one that makes other weights
# ... but for what belongs to the machine, or changes nothing.
FREE = (
    *("data.fold", "data.num_workers", "data.pin_memory", "init.dry_run"),
    *(f"tasks.*.source.{key}" for key in ("root", "splits", "homepage", "licence", "citation")),
    "tasks.*.codes.*",
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy*", "trainer.benchmark"),
    *("trainer.enable_*", "trainer.log_every_n_steps", "trainer.num_sanity_val_steps"),
    *("inference.device", "inference.window_batch", "inference.max_memory_gb", "inference.max_gpu_memory_gb"),
)


@dataclass(frozen=True)
class Crossval:
    """A cross-validation that is at work in its folder.

    Examples:
        >>> def last_fold(crossval: Crossval) -> int:
        ...     return crossval.num_folds - 1
    """

    config: DictConfig
    settings: CrossvalSettings
    folder: CrossvalFolder
    datasets: Sequence[Dataset]
    num_folds: int

    @classmethod
    def of(cls, config: DictConfig) -> "Crossval":
        """Checked before any work.

        Raises:
            InputError: data that are not there, not prepared or not in folds; a base that was trained on a case that is
                to be scored; a dry run.
        """
        if config.init.dry_run:
            raise InputError("init.dry_run", "true", "false", "uniseg train tells what would become of every tensor")
        settings, sources = settings_from(CrossvalSettings, config), sources_of(config)
        require_datasets(sources)
        segmentations = tasks_of(config).segmentations
        if not segmentations:
            raise InputError("task", "pretext tasks alone", "a task with labels", "add one")
        datasets = find_datasets(TaskSet(segmentations), sources)
        num_folds = count_folds(datasets)
        crossval = cls(config, settings, CrossvalFolder(Path(config.run_dir)), datasets, num_folds)
        unknown = [number for number in settings.folds or () if number >= num_folds]
        if unknown:
            raise InputError("folds", str(unknown[0]), f"0 to {num_folds - 1}", "correct folds=[...]")
        for number in range(num_folds):
            check_patients({each.task.name: each.splits for each in datasets}, number)
            data = make_data(crossval.fold_config(number), tasks_of(config).names)
            require_folds_of(datasets, {cache.task.name: cache.splits for cache in data.caches}, config.paths.cache)
        if not OmegaConf.is_missing(config.init, "checkpoint") and config.init.checkpoint is not None:
            crossval._refuse_seen()
        return crossval

    def begin(self) -> None:
        """Write down what it is begun with.

        Raises:
            InputError: the folder was begun with other settings.
        """
        settings = recorded_settings(self.config, self.datasets)
        begin(self.folder, CrossvalRecord(self.config.name, self.num_folds, settings, uniseg_version()))

    @property
    def numbers(self) -> Sequence[int]:
        """The folds that this call works on."""
        return range(self.num_folds) if self.settings.folds is None else self.settings.folds

    @property
    def scorer(self) -> Scorer:
        return Scorer(settings_from(ScoringRules, self.config.rules), make_metrics())

    def fold_config(self, number: int) -> DictConfig:
        """The configuration of a training of that fold, in a folder of its own, where it is resumed if it was begun."""
        config = deepcopy(self.config)
        with open_dict(config):
            config.data.fold, config.run_dir = number, str(self.folder.fold(number).path)
            config.ckpt_path, config.overwrite = "last", False
        return config

    def weights(self, number: int) -> str | None:
        """Hash of the checkpoint of a fold that is trained to its end."""
        return fold_weights(self.folder, number)

    def mark_trained(self, number: int, step: int) -> None:
        weights = checkpoint_hash(self.folder.fold(number).checkpoint)
        write_json(self.folder.trained(number), {"checkpoint": weights, "step": step})

    def evaluate(self, number: int, say: Callable[[str], None]) -> Summary:
        """The scores of the cases that a fold held out; read where they are there already.

        Raises:
            InputError: a case cannot be predicted or scored.
        """
        run, weights = self.folder.fold(number), self.weights(number)
        output, checkpoint = run.evaluation(VAL), str(run.checkpoint)
        if output.metrics.exists() and (summary := Summary.read(output.metrics)).checkpoint == weights:
            say(f"Fold {number}: evaluated before, {_dice_of(summary)}.")
            return summary
        predictor = make_predictor(checkpoint, (), self.config.inference)
        evaluation = evaluate_run(
            predictor,
            self.datasets,
            self.scorer,
            split=VAL,
            fold=number,
            output=output,
            checkpoint=checkpoint,
            title=f"evaluate fold {number}",
        )
        summary = evaluation.summary
        say(f"Fold {number}: evaluated, {_dice_of(summary)}.")
        return summary

    def _refuse_seen(self) -> None:
        path = str(self.config.init.checkpoint)
        data = open_source(path).provenance.data
        for number in range(self.num_folds):
            for dataset in self.datasets:
                refuse_seen(data, dataset, number, VAL, path)


def count_folds(datasets: Sequence[Dataset]) -> int:
    """
    Raises:
        InputError: tasks with different numbers of folds, fewer than two, or one that leaves nothing to train on or to
            score.
    """
    counts = {dataset.task.name: len(dataset.splits.folds) for dataset in datasets}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{number} of {name}" for name, number in counts.items())
        raise InputError("folds", found, "as many of every task", "give source.splits with as many folds")
    name, number = next(iter(counts.items()))
    if number < FEWEST_FOLDS:
        fix = "give source.splits with folds, as nnU-Net's splits_final.json, or without val"
        raise InputError(f"task '{name}'", "one division into train and val", "folds", fix)
    for dataset in datasets:
        for fold in range(number):
            dataset.splits.fold(dataset.task.name, fold)
    return number


def require_folds_of(datasets: Sequence[Dataset], prepared: Mapping[str, SplitTable], cache_dir: str) -> None:
    """
    Raises:
        InputError: the cache was prepared with other folds than the task's file has now.
    """
    for dataset in datasets:
        folds, before = ([set(fold) for fold in table.folds] for table in (dataset.splits, prepared[dataset.task.name]))
        if folds != before:
            found = f"{len(before)} folds of {dataset.task.name} that are not those of its file, which has {len(folds)}"
            raise InputError(cache_dir, found, "the same folds", PREPARE_AGAIN)


def recorded_settings(config: DictConfig, datasets: Sequence[Dataset]) -> dict[str, object]:
    """By dotted key, all that would make the folds differ; of each task a digest of which case is in which fold."""
    values: Mapping = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    flat = flatten({key: values[key] for key in RECORDED if key in values})
    if average := (values.get("callbacks") or {}).get(AVERAGE):
        flat |= flatten({"callbacks": {AVERAGE: average}})
    kept = {key: value for key, value in flat.items() if not any(fnmatch(key, pattern) for pattern in FREE)}
    return kept | {f"cases of {dataset.task.name}": _digest(dataset) for dataset in datasets}


def _digest(dataset: Dataset) -> str:
    table = dataset.splits
    content = [sorted(table.rest), *map(sorted, table.folds)]
    number = sum(map(len, content))
    return f"{number} ({hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]})"


def _dice_of(summary: Summary) -> str:
    cases = sum(task.num_cases for task in summary.tasks.values())
    return f"val Dice {summary.mean_dice:.3f} of {cases} cases (majority vote {summary.baseline_mean_dice:.3f})"
