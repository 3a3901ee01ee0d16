"""What is taken away from a segmentation again: all but the largest component, small components; chosen on dev cases."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import label as components

from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.metrics.lesions import TOUCHING
from uniseg.metrics.overlap import count_classes
from uniseg.metrics.surface import bounding_box
from uniseg.task import Task

FILE = "postprocessing.json"
SIZES_ML = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Cleaning:
    """Of one class: components (26 neighbours) below ``least_ml`` become background; with ``largest`` all but the largest do."""

    largest: bool = False
    least_ml: float = 0.0


@dataclass(frozen=True)
class Choice:
    """What the dev cases of one class say: mean Dice without and with the best cleaning, over ``num_cases``."""

    task: str
    class_name: str
    cleaning: Cleaning
    before: float
    after: float
    num_cases: int


Cleanings = Mapping[str, Mapping[str, Cleaning]]  # by task, by class
CANDIDATES = (Cleaning(), Cleaning(largest=True), *(Cleaning(least_ml=size) for size in SIZES_ML))


def clean(label: np.ndarray, task: Task, cleanings: Mapping[str, Cleaning], spacing_mm: Sequence[float]) -> np.ndarray:
    """``label [Z,Y,X]`` of label values, cleaned class by class in the task's order; itself where there is nothing to do."""
    for name, values in zip(task.classes[1:], task.class_values, strict=True):
        if cleanings.get(name, Cleaning()) != Cleaning():
            label = _clean_class(label, values, cleanings[name], float(np.prod(spacing_mm)) / 1000)
    return label


def _clean_class(label: np.ndarray, values: Sequence[int], cleaning: Cleaning, voxel_ml: float) -> np.ndarray:
    mask = np.isin(label, values)
    if not mask.any():
        return label
    box = bounding_box(mask)
    parts, count = components(mask[box], TOUCHING)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    kept = sizes * voxel_ml >= cleaning.least_ml
    if cleaning.largest:
        kept &= np.arange(count) == sizes.argmax()
    out = label.copy()
    out[box][(parts > 0) & ~np.concatenate([[True], kept])[parts]] = 0
    return out


def choose(task: Task, cases: Iterable[Callable[[], tuple[np.ndarray, np.ndarray, Sequence[float]]]]) -> list[Choice]:
    """The cleaning of each class, one after the other, with the highest mean Dice of the task over dev cases; none unless it is strictly better.

    As nnU-Net chooses its largest components (Isensee et al. 2021); a class that prediction and reference lack counts 1.

    Args:
        cases: each call reads prediction and reference ``[Z,Y,X]`` (label values; negative: ignored) with spacing_mm.
    """
    cases, chosen, choices = list(cases), {}, []
    for k, name in enumerate(task.classes[1:]):
        dice = np.array([[_dice(task, read(), {**chosen, name: own}) for own in CANDIDATES] for read in cases])  # [N, candidates, K-1]
        best = int(dice.mean((0, 2)).argmax())
        chosen[name] = CANDIDATES[best]
        before, after = dice[:, [0, best], k].mean(0)
        choices.append(Choice(task.name, name, CANDIDATES[best], float(before), float(after), len(cases)))
    return choices


def _dice(task: Task, case: tuple[np.ndarray, np.ndarray, Sequence[float]], cleanings: Mapping[str, Cleaning]) -> list[float]:
    predicted, reference, spacing_mm = case
    cleaned = clean(predicted, task, cleanings, spacing_mm)
    return count_classes(torch.from_numpy(cleaned), torch.from_numpy(reference), task.membership).dice().nan_to_num(1.0).tolist()


def write_cleanings(choices: Sequence[Choice], checkpoint: str, path: Path) -> None:
    """JSON with what was chosen and what it gained on dev cases; appears whole or not at all."""
    content = {"kind": "uniseg postprocessing", "checkpoint": checkpoint, "choices": [asdict(choice) for choice in choices]}
    write_json(path, content)


def read_cleanings(path: str | Path) -> Cleanings:
    """
    Raises:
        InputError: not a file of ``write_cleanings``.
    """
    expected, fix = f"{FILE} of uniseg.evaluate side=dev postprocessing=choose", "give that file"
    try:
        content = json.loads(Path(path).read_bytes())
        found: dict[str, dict[str, Cleaning]] = {}
        for own in content["choices"]:
            found.setdefault(own["task"], {})[own["class_name"]] = Cleaning(**own["cleaning"])
    except OSError as error:
        raise InputError(path, error.strerror, expected, fix) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, "a file of something else", expected, fix) from error
    return found
