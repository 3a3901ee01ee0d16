"""Which components of a class are removed, chosen by the Dice of validation cases."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.labels import load_label, reference_image
from uniseg.evaluation.predictions import load_prediction
from uniseg.images.files import read_geometry
from uniseg.inference.outputs import label_path
from uniseg.inference.postprocessing import Choice, choose
from uniseg.run_folder import EvaluationFolder


def choose_postprocessing(datasets: Sequence[Dataset], outputs: Mapping[int, EvaluationFolder]) -> list[Choice]:
    """One choice per class of every task that has validation cases, by the predictions of one fold or of all together.

    Args:
        outputs: fold -> where its validation cases were predicted.
    """
    choices: list[Choice] = []
    for dataset in datasets:
        cases = [
            partial(_read_pair, dataset, case, label_path(output.predictions, dataset.task.name, case.case_id))
            for fold, output in outputs.items()
            for case in dataset.cases_of("val", fold)
        ]
        choices += choose(dataset.task, cases) if cases else []
    return choices


def _read_pair(dataset: Dataset, case: Case, prediction: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Prediction and reference ``[Z,Y,X]``, ml of a voxel."""
    task, source = dataset.task, dataset.source
    voxel_ml = read_geometry(reference_image(task, case)).voxel_ml
    return load_prediction(task, source, case, prediction), load_label(task, source, case), voxel_ml


def choice_table(choices: Sequence[Choice]) -> Table:
    """What was chosen, with the gain on the cases that it was chosen on."""
    heads = ("task", "class", "cases", "kept", "val Dice before", "after")
    table = Table(*heads, caption="Chosen on these validation cases, so the gain is an upper bound.")
    for choice in choices:
        dice = (f"{choice.before:.3f}", f"{choice.after:.3f}")
        table.add_row(escape(choice.task), escape(choice.class_name), str(choice.num_cases), kept(choice), *dice)
    return table


def kept(choice: Choice) -> str:
    """What of a class stays, for a table."""
    if choice.rule.largest:
        return "largest component"
    return f"components from {choice.rule.least_ml} ml" if choice.rule.least_ml else "all"
