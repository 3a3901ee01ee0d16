"""Segmentations of a case -> label maps in files, each with a JSON that says where it comes from."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.images.files import reference_path, write_label_map, write_probabilities
from uniseg.images.segmentation_files import write_segments
from uniseg.images.segments import Segment, SegmentTable, make_segments
from uniseg.inference.case_reader import CaseJob
from uniseg.inference.merge import merge, merged_values, write_tables
from uniseg.inference.outputs import MERGED, NIFTI, OutputLayout, json_path, probabilities_path
from uniseg.inference.predictor import Predictor
from uniseg.inference.restore import CompressedSegmentation
from uniseg.task import Task


@dataclass(frozen=True)
class CaseSegmentations:
    """By task: the segmentation, the volume of a voxel of its grid.

    Examples:
        >>> CaseSegmentations({}, {"liver": 0.003}).voxel_ml["liver"]
        0.003
    """

    by_task: Mapping[str, CompressedSegmentation]
    voxel_ml: Mapping[str, float]


class CaseWriter:
    """Writes the files of a case; a label map that exists is complete.

    Examples:
        >>> paths = CaseWriter(predictor, layout).write(job, segmentations)  # doctest: +SKIP
    """

    def __init__(self, predictor: Predictor, layout: OutputLayout) -> None:
        self.predictor, self.layout = predictor, layout

    def write(self, job: CaseJob, segmentations: CaseSegmentations) -> list[Path]:
        """The label maps of the case, those that were there already included.

        Raises:
            OSError: a file cannot be written; it names the file.
        """
        with self.predictor.stopwatch("write"):
            if self.layout.merge:
                if segmentations.by_task:
                    self._write_merged(job, segmentations)
                return [self.layout.label_path(MERGED, job.case_id)]
            # compression leaves Python's lock alone
            with ThreadPoolExecutor(self.predictor.compute.writers, "compress") as writers:
                list(writers.map(partial(self._write_task, job, segmentations), segmentations.by_task))
            return [self.layout.label_path(name, job.case_id) for name in job.images]

    def _write_task(self, job: CaseJob, segmentations: CaseSegmentations, name: str) -> None:
        segmentation, voxel_ml = segmentations.by_task[name], segmentations.voxel_ml[name]
        task = self.predictor.task(name)
        label = self.predictor.decompress(name, segmentation, voxel_ml)
        like = reference_path(job.images[name], task.reference_position)
        path = self.layout.label_path(name, job.case_id)
        with self._claimed(path):
            if segmentation.probabilities is not None:
                write_probabilities(segmentation.probabilities[:], like, probabilities_path(path))
            segments = make_segments(task.classes[1:], task.class_values, task.codes)
            self._write_map(label, like, path, name, segments)
            write_json(json_path(path), job.records[name] | _description(task, label, voxel_ml))

    def _write_merged(self, job: CaseJob, segmentations: CaseSegmentations) -> None:
        tasks = [self.predictor.task(name) for name in job.images]
        values, voxel_ml = merged_values(tasks), next(iter(segmentations.voxel_ml.values()))
        label = merge({name: self._postprocessed(name, segmentations) for name in job.images}, values)
        voxels = _counts(label, len(values) + 1)
        path = self.layout.label_path(MERGED, job.case_id)
        rows = [
            {"value": v.value, "name": v.name, "volume_ml": round(float(voxels[v.value]) * voxel_ml, 3)} for v in values
        ]
        with self._claimed(path):
            like = reference_path(job.images[tasks[0].name], tasks[0].reference_position)
            self._write_map(label, like, path, MERGED, tuple(each.segment() for each in values))
            write_tables(values, path.parent)
            write_json(json_path(path), job.records[MERGED] | {"values": rows, "uniseg": uniseg_version()})

    def _write_map(self, label: np.ndarray, like: Path, path: Path, title: str, segments: tuple[Segment, ...]) -> None:
        if self.layout.format == NIFTI:
            write_label_map(label, like, path)
        else:
            table = SegmentTable(title, segments, self.predictor.checkpoint_hash)
            write_segments(label, like, path, table, self.layout.segmentation_type)

    @contextmanager
    def _claimed(self, label: Path) -> Iterator[None]:
        """Says in the JSON whose the label map will be, not of which scan: what a kill leaves is ours, unfinished."""
        path, checkpoint_hash = json_path(label), self.predictor.checkpoint_hash
        write_json(path, {"checkpoint": checkpoint_hash, "uniseg": uniseg_version(), "unfinished": True})
        try:
            yield
        except (OSError, InputError):
            if not label.exists() and not probabilities_path(label).exists():
                path.unlink(missing_ok=True)
            raise

    def _postprocessed(self, name: str, segmentations: CaseSegmentations) -> CompressedSegmentation:
        segmentation = segmentations.by_task[name]
        if not self.predictor.postprocessing.get(name):
            return segmentation
        label = self.predictor.decompress(name, segmentation, segmentations.voxel_ml[name])
        return replace(segmentation, label=label)


def _description(task: Task, label: np.ndarray, voxel_ml: float) -> dict[str, Any]:
    """Which values the label map holds, how much of each class."""
    voxels = _counts(label, task.num_labels)
    values = {name: list(each) for name, each in zip(task.classes[1:], task.class_values, strict=True)}
    return {
        "classes": list(task.classes),
        "values": values,
        "volumes_ml": {name: round(float(voxels[each].sum()) * voxel_ml, 3) for name, each in values.items()},
        "uniseg": uniseg_version(),
    }


def _counts(label: np.ndarray, num_values: int) -> np.ndarray:
    """Voxels of each value; NumPy's makes eight bytes of each."""
    return torch.from_numpy(label).reshape(-1).bincount(minlength=num_values).numpy()
