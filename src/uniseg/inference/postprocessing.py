"""Postprocessing: all but the largest component, or small components, are removed; chosen on val cases."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import torch
from scipy.ndimage import label as components
from torch import Tensor

from uniseg.errors import InputError
from uniseg.files import read_json, write_json
from uniseg.metrics.lesions import TOUCHING
from uniseg.metrics.overlap import count_classes
from uniseg.metrics.surface import bounding_box
from uniseg.task import Task

FILE, KIND = "postprocessing.json", "uniseg postprocessing"
SIZES_ML = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Cleaning:
    """Of one class: components (26 neighbours) below ``least_ml`` become background; with ``largest`` all but the
    largest do.
    """

    largest: bool = False
    least_ml: float = 0.0


@dataclass(frozen=True)
class Choice:
    """What the val cases of one class say: mean Dice without and with the best cleaning, over ``num_cases``."""

    task: str
    class_name: str
    cleaning: Cleaning
    before: float
    after: float
    num_cases: int


Cleanings = Mapping[str, Mapping[str, Cleaning]]  # by task, by class
CANDIDATES = (Cleaning(), Cleaning(largest=True), *(Cleaning(least_ml=size) for size in SIZES_ML))


def clean(label: np.ndarray, task: Task, cleanings: Mapping[str, Cleaning], voxel_ml: float) -> np.ndarray:
    """``label [Z,Y,X]`` of label values, cleaned class by class in the task's order; itself where there is nothing to
    do.
    """
    for name, values in zip(task.classes[1:], task.class_values, strict=True):
        if cleanings.get(name, Cleaning()) != Cleaning():
            label = _clean_class(label, values, cleanings[name], voxel_ml)
    return label


def _clean_class(label: np.ndarray, values: Sequence[int], cleaning: Cleaning, voxel_ml: float) -> np.ndarray:
    mask = np.isin(label, values)
    return _Parts(label, mask).cleaned(cleaning, voxel_ml) if mask.any() else label


class _Parts:
    """The components of a class in a label map.

    Args:
        mask: ``[Z,Y,X]``, where the class is; not empty.
    """

    def __init__(self, label: np.ndarray, mask: np.ndarray) -> None:
        self.label, self.box = label, bounding_box(mask)
        self.parts, count = components(mask[self.box], TOUCHING)
        self.sizes = np.bincount(self.parts.ravel(), minlength=count + 1)[1:]

    def cleaned(self, cleaning: Cleaning, voxel_ml: float) -> np.ndarray:
        """The label map without what ``cleaning`` takes away; itself where that is nothing."""
        kept = self.sizes * voxel_ml >= cleaning.least_ml
        if cleaning.largest:
            kept &= np.arange(len(self.sizes)) == self.sizes.argmax()
        if kept.all():
            return self.label
        out = self.label.copy()
        out[self.box][(self.parts > 0) & ~np.concatenate([[True], kept])[self.parts]] = 0
        return out


@dataclass(frozen=True)
class _Pair:
    """Prediction and reference of one case, which wait compressed: some 100 kB where the maps take 300 MB."""

    predicted: bytes
    reference: bytes
    voxel_ml: float

    @classmethod
    def packed(cls, predicted: np.ndarray, reference: np.ndarray, voxel_ml: float) -> "_Pair":
        return cls(blosc2.pack_array2(predicted), blosc2.pack_array2(reference), voxel_ml)

    def dice(self, task: Task, chosen: Mapping[str, Cleaning], name: str) -> list[list[float]]:
        """``[candidates][K-1]``: of every candidate for the class ``name``, behind what ``chosen`` cleans."""
        predicted, reference = (
            blosc2.unpack_array2(self.predicted),
            torch.from_numpy(blosc2.unpack_array2(self.reference)),
        )
        label = clean(predicted, task, chosen, self.voxel_ml)
        mask = np.isin(label, dict(zip(task.classes[1:], task.class_values, strict=True))[name])
        plain = _dice(task, label, reference)
        if not mask.any():
            return [plain] * len(CANDIDATES)
        parts = _Parts(label, mask)
        cleaned = (parts.cleaned(own, self.voxel_ml) for own in CANDIDATES)
        return [plain if own is label else _dice(task, own, reference) for own in cleaned]


def choose(task: Task, cases: Iterable[Callable[[], tuple[np.ndarray, np.ndarray, float]]]) -> list[Choice]:
    """The cleaning of each class, one after the other, with the highest mean Dice of the task over val cases; none
    unless it is strictly better.

    As nnU-Net chooses its largest components (Isensee et al. 2021); a class that prediction and reference lack counts
    1.

    Args:
        cases: each call, made once, reads prediction and reference ``[Z,Y,X]`` (label values; negative: ignored) with
            the ml of a voxel.
    """
    cases, chosen, choices = [_Pair.packed(*read()) for read in cases], {}, []
    for k, name in enumerate(task.classes[1:]):
        dice = np.array([case.dice(task, chosen, name) for case in cases])  # [N, candidates, K-1]
        best = int(dice.mean((0, 2)).argmax())
        chosen[name] = CANDIDATES[best]
        before, after = dice[:, [0, best], k].mean(0)
        choices.append(Choice(task.name, name, CANDIDATES[best], float(before), float(after), len(cases)))
    return choices


def _dice(task: Task, predicted: np.ndarray, reference: Tensor) -> list[float]:
    return count_classes(torch.from_numpy(predicted), reference, task.membership).dice().nan_to_num(1.0).tolist()


def write_cleanings(choices: Sequence[Choice], checkpoint: str, path: Path) -> None:
    """JSON with what was chosen and what it gained on val cases; appears whole or not at all."""
    content = {"kind": KIND, "checkpoint": checkpoint, "choices": [asdict(choice) for choice in choices]}
    write_json(path, content)


def read_cleanings(path: str | os.PathLike) -> Cleanings:
    """
    Raises:
        InputError: not a file of ``write_cleanings``.
    """
    expected, fix = f"{FILE} of uniseg.evaluate split=val postprocessing=choose", "give that file"
    content = read_json(path, expected, fix)
    found: dict[str, dict[str, Cleaning]] = {}
    try:
        if content["kind"] != KIND or not isinstance(content["choices"], list):
            raise ValueError(f"kind {content['kind']!r}")
        for own in content["choices"]:
            found.setdefault(own["task"], {})[own["class_name"]] = _cleaning(**own["cleaning"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, "a file of something else", expected, fix) from error
    return found


def _cleaning(largest: Any = False, least_ml: Any = 0.0) -> Cleaning:
    """
    Raises:
        ValueError: a value of another type, or a size that cannot be.
    """
    is_size = isinstance(least_ml, (int, float)) and isfinite(least_ml) and least_ml >= 0
    if not isinstance(largest, bool) or isinstance(least_ml, bool) or not is_size:
        raise ValueError(f"largest {largest!r}, least_ml {least_ml!r}")
    return Cleaning(largest, float(least_ml))
