"""Statistics of the training cases of a prepared task: what ``uniseg adapt`` holds a scan of another site against."""

from collections.abc import Sequence
from math import prod

import numpy as np

from uniseg.cache.store import TaskCache
from uniseg.preprocessing.histogram import histogram_knots, sample_image
from uniseg.preprocessing.task_statistics import TaskStatistics, class_ranges, measure_label

MOST_CASES = 24  # read whole, evenly spread


def task_statistics(cache: TaskCache, case_ids: Sequence[str]) -> TaskStatistics:
    """Of these cases, of at most ``MOST_CASES`` of them.

    Raises:
        InputError: a cached case is damaged.
    """
    case_ids = list(case_ids)[:: max(1, -(-len(case_ids) // MOST_CASES))]
    samples: list[list[np.ndarray]] = [[] for _ in cache.task.modalities]
    sizes, voxel_ml = [], prod(cache.task.spacing_mm) / 1000
    for case_id in case_ids:
        image, label = cache.read_box(case_id, (0, 0, 0), cache.entries[case_id].shape)
        for values, channel in zip(samples, image, strict=True):
            if channel.any():  # else the case lacks the modality
                values.append(sample_image(channel))
        sizes.append(measure_label(label, cache.task, voxel_ml))
    return TaskStatistics(tuple(map(histogram_knots, samples)), class_ranges(sizes))
