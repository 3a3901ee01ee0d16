"""Every task predicted on every dataset's test scans, scored against the whole truth."""

from collections.abc import Iterator
from pathlib import Path

import torch
from jobs import Matrix
from omegaconf import DictConfig

from uniseg.commands.builders import make_predictor, sources_of, tasks_of
from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset, find_datasets
from uniseg.images.files import read_label, read_volume, reference_path
from uniseg.metrics.overlap import count_classes
from uniseg.phantom.suite import TASKS

PHANTOMS = {task.dataset: task for task in TASKS}


def score_all_tasks(job: Matrix) -> list[dict]:
    """One row per test case and predicted task: ``dataset, case_id, asked, dice``.

    Dice is the mean over the predicted task's foreground classes; a class that truth and prediction both lack counts 1.
    Predicted are the tasks that want just the modalities of the scan.
    """
    config = job.training.config("evaluate")
    predictor = make_predictor(config.checkpoint, config.task_files, config.inference)
    rows = []
    for dataset, case in _test_cases(config):
        names = predictor.fitting_tasks(dataset.task.modalities)
        reference = dataset.task.reference_position
        predictions = predictor.predict(read_volume(case.image_paths, reference), names)
        like = reference_path(case.image_paths, reference)
        truth = read_label(Path(config.paths.phantoms) / "truth" / f"{case.case_id}.nii.gz", [like])
        for name, prediction in predictions.items():
            task = predictor.model.tasks[predictor.model.tasks.position(name)]
            counts = count_classes(
                torch.from_numpy(prediction), torch.from_numpy(PHANTOMS[name].label(truth)), task.membership
            )
            dice = float(counts.dice().nan_to_num(nan=1.0).mean())
            rows.append({"dataset": dataset.task.name, "case_id": case.case_id, "asked": name, "dice": dice})
    return rows


def _test_cases(config: DictConfig) -> Iterator[tuple[Dataset, Case]]:
    for dataset in find_datasets(tasks_of(config), sources_of(config)):
        for case in dataset.cases_of("test", config.data.fold):
            yield dataset, case
