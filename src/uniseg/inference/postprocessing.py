"""Postprocessing: all but the largest component, or small components, become background; chosen on val cases."""

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
from uniseg.metrics.dice import BOTH_EMPTY
from uniseg.metrics.lesions import TOUCHING
from uniseg.metrics.overlap import count_classes
from uniseg.metrics.surface import bounding_box
from uniseg.task import Task

KIND = "uniseg postprocessing"
EXPECTED, FIX = "postprocessing.json of uniseg.evaluate split=val postprocessing=choose", "give that file"
ALL_CLASSES = "*"  # in place of the name of a class, as nnU-Net's first step
SIZES_ML = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class ClassPostprocessing:
    """Of one class: components (26 neighbours) below ``least_ml`` become background; with ``largest`` all but the
    largest do.

    Examples:
        >>> ClassPostprocessing(largest=True).least_ml
        0.0
    """

    largest: bool = False
    least_ml: float = 0.0


@dataclass(frozen=True)
class Choice:
    """What the val cases of one class say: mean Dice without and with the best rule, over ``num_cases``.

    Examples:
        >>> Choice("liver", "tumour", ClassPostprocessing(least_ml=0.1), 0.61, 0.64, 12).after
        0.64
    """

    task: str
    class_name: str
    rule: ClassPostprocessing
    before: float
    after: float
    num_cases: int


Postprocessing = Mapping[str, Mapping[str, ClassPostprocessing]]  # by task, by class
UNCHANGED = ClassPostprocessing()
CANDIDATES = (
    UNCHANGED,
    ClassPostprocessing(largest=True),
    *(ClassPostprocessing(least_ml=size) for size in SIZES_ML),
)


def postprocess(label: np.ndarray, task: Task, rules: Mapping[str, ClassPostprocessing], voxel_ml: float) -> np.ndarray:
    """``label [Z,Y,X]`` of label values, postprocessed: all classes together first (``ALL_CLASSES``), then class by
    class in the task's order; itself where there is nothing to do.
    """
    everything = sorted({value for values in task.class_values for value in values})
    for name, values in ((ALL_CLASSES, everything), *zip(task.classes[1:], task.class_values, strict=True)):
        if rules.get(name, UNCHANGED) != UNCHANGED:
            label = _postprocess_class(label, values, rules[name], voxel_ml)
    return label


def _postprocess_class(
    label: np.ndarray, values: Sequence[int], rule: ClassPostprocessing, voxel_ml: float
) -> np.ndarray:
    mask = np.isin(label, values)
    return _Components(label, mask).filtered(rule, voxel_ml) if mask.any() else label


class _Components:
    """The components of a class in a label map.

    Args:
        mask: ``[Z,Y,X]``, where the class is; not empty.
    """

    def __init__(self, label: np.ndarray, mask: np.ndarray) -> None:
        self.label, self.box = label, bounding_box(mask)
        self.numbers, count = components(mask[self.box], TOUCHING)
        self.sizes = np.bincount(self.numbers.ravel(), minlength=count + 1)[1:]

    def filtered(self, rule: ClassPostprocessing, voxel_ml: float) -> np.ndarray:
        """The label map without what ``rule`` removes; itself where that is nothing."""
        kept = self.sizes * voxel_ml >= rule.least_ml
        if rule.largest:
            kept &= np.arange(len(self.sizes)) == self.sizes.argmax()
        if kept.all():
            return self.label
        out = self.label.copy()
        out[self.box][(self.numbers > 0) & ~np.concatenate([[True], kept])[self.numbers]] = 0
        return out


@dataclass(frozen=True)
class _Pair:
    """Prediction and reference of one case, which wait compressed: some 100 kB where the maps take 300 MB."""

    predicted: bytes
    reference: bytes
    voxel_ml: float

    @classmethod
    def compressed(cls, predicted: np.ndarray, reference: np.ndarray, voxel_ml: float) -> "_Pair":
        return cls(blosc2.pack_array2(predicted), blosc2.pack_array2(reference), voxel_ml)

    def dice(self, task: Task, chosen: Mapping[str, ClassPostprocessing], name: str) -> list[list[float]]:
        """``[candidates][K-1]``: of every candidate for the class ``name``, after the ``chosen`` rules."""
        predicted, reference = (
            blosc2.unpack_array2(self.predicted),
            torch.from_numpy(blosc2.unpack_array2(self.reference)),
        )
        label = postprocess(predicted, task, chosen, self.voxel_ml)
        mask = np.isin(label, dict(zip(task.classes[1:], task.class_values, strict=True))[name])
        plain = _dice(task, label, reference)
        if not mask.any():
            return [plain] * len(CANDIDATES)
        parts = _Components(label, mask)
        filtered = (parts.filtered(rule, self.voxel_ml) for rule in CANDIDATES)
        return [plain if each is label else _dice(task, each, reference) for each in filtered]


def choose(task: Task, cases: Iterable[Callable[[], tuple[np.ndarray, np.ndarray, float]]]) -> list[Choice]:
    """The rule of each class, one after the other, with the highest mean Dice of the task over val cases; none
    unless it is strictly better.

    As nnU-Net chooses its largest components (Isensee et al. 2021); a class that prediction and reference lack counts
    1.

    Args:
        cases: each call, made once, reads prediction and reference ``[Z,Y,X]`` (label values; negative: ignored) with
            the ml of a voxel.
    """
    pairs = [_Pair.compressed(*read()) for read in cases]
    chosen: dict[str, Any] = {}
    choices = []
    for k, name in enumerate(task.classes[1:]):
        dice = np.array([pair.dice(task, chosen, name) for pair in pairs])  # [N, candidates, K-1]
        best = int(dice.mean((0, 2)).argmax())
        chosen[name] = CANDIDATES[best]
        before, after = dice[:, [0, best], k].mean(0)
        choices.append(Choice(task.name, name, CANDIDATES[best], float(before), float(after), len(pairs)))
    return choices


def _dice(task: Task, predicted: np.ndarray, reference: Tensor) -> list[float]:
    return count_classes(torch.from_numpy(predicted), reference, task.membership).dice().nan_to_num(BOTH_EMPTY).tolist()


def write_postprocessing(choices: Sequence[Choice], checkpoint_hash: str, path: Path) -> None:
    """JSON with what was chosen and what it gained on val cases; appears whole or not at all."""
    rows = [{"cleaning" if key == "rule" else key: value for key, value in asdict(c).items()} for c in choices]
    write_json(path, {"kind": KIND, "checkpoint": checkpoint_hash, "choices": rows})


def read_choices(path: str | os.PathLike, checkpoint_hash: str) -> list[Choice] | None:
    """What ``write_postprocessing`` wrote for these weights; None where it was for others, or nothing is there.

    Raises:
        InputError: not a file of ``write_postprocessing``.
    """
    if not os.path.exists(path):
        return None
    content, rules = read_json(path, EXPECTED, FIX), read_postprocessing(path)
    if content.get("checkpoint") != checkpoint_hash:
        return None
    names = ("task", "class_name", "before", "after", "num_cases")
    return [
        Choice(rule=rules[row["task"]][row["class_name"]], **{name: row[name] for name in names})
        for row in content["choices"]
    ]


def read_postprocessing(path: str | os.PathLike) -> Postprocessing:
    """By task, by class.

    Raises:
        InputError: not a file of ``write_postprocessing``.
    """
    content = read_json(path, EXPECTED, FIX)
    rules: dict[str, dict[str, ClassPostprocessing]] = {}
    try:
        if content["kind"] != KIND or not isinstance(content["choices"], list):
            raise ValueError(f"kind {content['kind']!r}")
        for choice in content["choices"]:
            rules.setdefault(choice["task"], {})[choice["class_name"]] = _rule(**choice["cleaning"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, "a file of something else", EXPECTED, FIX) from error
    return rules


def _rule(largest: Any = False, least_ml: Any = 0.0) -> ClassPostprocessing:
    """
    Raises:
        ValueError: a value of another type, or a size that cannot be.
    """
    is_size = isinstance(least_ml, (int, float)) and isfinite(least_ml) and least_ml >= 0
    if not isinstance(largest, bool) or isinstance(least_ml, bool) or not is_size:
        raise ValueError(f"largest {largest!r}, least_ml {least_ml!r}")
    return ClassPostprocessing(largest, float(least_ml))
