"""The majority-vote baseline ("location prior"): what can be had without looking at the image."""

from collections.abc import Iterable, Sequence

import numpy as np

from uniseg.datasets.case import Case
from uniseg.datasets.labels import load_label
from uniseg.datasets.source import Source
from uniseg.task import Task

GRID = (48, 48, 48)
DEFINITION = (
    "Majority-vote baseline (location prior): the class that training labels show most often at each place, resized "
    "to the scan; what can be had without looking at the image."
)


def majority_vote(task: Task, source: Source, cases: Iterable[Case]) -> np.ndarray:
    """The most frequent label value at each place over the labels of ``cases``, each resized to ``[48,48,48]``."""
    values = np.arange(task.num_labels)[:, None, None, None]
    votes = np.zeros((task.num_labels, *GRID), np.int32)
    for case in cases:
        votes += resize_nearest(load_label(task, source, case), GRID)[None] == values
    return votes.argmax(0).astype(np.int16)


def resize_nearest(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """``[Z,Y,X]`` to another shape by nearest neighbour."""
    picks = [((np.arange(m) + 0.5) * n / m).astype(int) for n, m in zip(label.shape, shape, strict=True)]
    return label[np.ix_(*picks)]
