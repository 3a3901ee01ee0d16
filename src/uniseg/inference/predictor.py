"""Prediction: a scan in, one label map per task out."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from uniseg.errors import InputError
from uniseg.images.orientation import turn
from uniseg.images.volume import CANONICAL_AXES, Volume
from uniseg.inference.compute import Compute, out_of_memory
from uniseg.inference.postprocessing import Postprocessing, postprocess, read_postprocessing
from uniseg.inference.restore import CompressedSegmentation, OutputOptions, turned_back
from uniseg.inference.settings import AUTO, CANONICAL, FILE, InferenceSettings
from uniseg.inference.stopwatch import Stopwatch
from uniseg.inference.task_group import group_tasks, prepare_group, segment_group
from uniseg.inference.task_selection import fitting_tasks, guessed_tasks
from uniseg.inference.window_network import BatchSizes
from uniseg.models.pretexts import without_pretexts
from uniseg.models.uniseg import UniSegModel
from uniseg.preprocessing.modality import Guess, guess
from uniseg.task import Task, TaskSet
from uniseg.weights.ensemble import ensemble_hash, load_ensemble, postprocessing_of
from uniseg.weights.site_file import read_site_tasks
from uniseg.weights.task_hub import with_installed

AnyPath = str | os.PathLike


class Predictor:
    """Keeps a model warm over any number of scans.

    Without ``skip_empty`` and ``gate`` every window is computed for every task; what is shared between tasks changes
    nothing but rounding.

    Attributes:
        models: the ensemble; ``model`` is its first, whose tasks and patch size are those of all.
        device: where they compute.
        stopwatch: seconds by stage since the Predictor was made.

    Args:
        models: one as ``load_model`` returns it, or several of the same tasks whose scores are averaged, as of folds.
            Their pretext tasks are left out.
        settings: how; the defaults are those of the command line.
        postprocessing: what is removed from each class, as ``read_postprocessing`` returns it.
        checkpoint_hash: written beside every prediction.
        site_tasks: those that the networks are adapted for; None: all.

    Raises:
        InputError: networks of different tasks or patch sizes, or of pretext tasks alone; a device that is not there.

    Examples:
        >>> from uniseg import Normalization, Task, UniSegModel
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> predictor = Predictor(UniSegModel.from_preset("uniseg_tiny", [liver]), InferenceSettings(device="cpu"))
        >>> volume = Volume.of_array(np.random.default_rng(0).normal(size=(20, 40, 36)), spacing_mm=(2, 1, 1))
        >>> predictor.predict(volume, ["liver"])["liver"].shape
        (20, 40, 36)
    """

    def __init__(
        self,
        models: UniSegModel | Sequence[UniSegModel],
        settings: InferenceSettings = InferenceSettings(),
        postprocessing: Postprocessing | None = None,
        checkpoint_hash: str = "",
        site_tasks: Sequence[str] | None = None,
    ) -> None:
        models = [models] if isinstance(models, UniSegModel) else models
        if settings.mirror_axes == AUTO:
            settings = replace(settings, mirror_axes=models[0].provenance.mirror_axes if models else ())
        self.settings, self.compute = settings, Compute.of(settings)
        self.device = self.compute.device
        self.models = [self.compute.place(without_pretexts(model)) for model in models]
        if not self.models:
            raise InputError("models", "none", "one network or more", "load a checkpoint")
        self.model = self.models[0]
        for number, model in enumerate(self.models[1:], 1):
            same_tasks = model.tasks == self.model.tasks
            if not same_tasks or tuple(model.patch_size) != tuple(self.model.patch_size):
                found = "other tasks or another patch size"
                raise InputError(
                    f"network {number} of the ensemble", found, "those of the first", "train the folds alike"
                )
        self.stopwatch, self.sizes = Stopwatch(), BatchSizes()
        self.postprocessing, self.checkpoint_hash = postprocessing or {}, checkpoint_hash
        self.site_tasks = None if site_tasks is None else tuple(site_tasks)

    @classmethod
    def from_pretrained(
        cls,
        path: AnyPath | Sequence[AnyPath],
        task_files: Iterable[AnyPath] = (),
        settings: InferenceSettings = InferenceSettings(),
        postprocessing: AnyPath | None = AUTO,
        site_file: AnyPath | None = None,
    ) -> "Predictor":
        """The networks of files.

        Args:
            path: a checkpoint, an exported folder with the tasks beside it, or a list of either: an ensemble.
            task_files: of tasks that are added to the network.
            postprocessing: the file that ``uniseg.evaluate`` wrote; ``auto``: that which an ensemble's folder brings;
                None: label maps as they are.
            site_file: that ``uniseg.adapt`` wrote for the scans' site; its tasks alone are predicted.

        Raises:
            InputError: a file cannot be read, or does not fit; as of ``Predictor``.
        """
        task_files = with_installed(path, task_files)
        postprocessing = postprocessing_of(path) if postprocessing == AUTO else postprocessing
        return cls(
            load_ensemble(path, task_files, site_file),
            settings,
            None if postprocessing is None else read_postprocessing(postprocessing),
            ensemble_hash(path, task_files, site_file),
            None if site_file is None else read_site_tasks(site_file),
        )

    @property
    def recorded_settings(self) -> dict[str, Any]:
        """What changes a prediction beside the weights, as plain containers; stands in the JSON beside it.

        Precision is named where it is not float32, windows and orientation where they are not the default: older
        predictions were made so without saying it.
        """
        settings = self.settings
        precision = {} if self.compute.precision == "32" else {"precision": self.compute.precision}
        given = {"windows": settings.windows, "orientation": settings.orientation}
        other = {key: value for key, value in given.items() if value != getattr(InferenceSettings, key)}
        recorded = {
            "overlap": settings.overlap,
            "mirror_axes": list(settings.mirror_axes),
            "skip_empty": settings.skip_empty,
            "gate": settings.gate,
            "cleanings": {
                task: {name: asdict(rule) for name, rule in classes.items()}
                for task, classes in self.postprocessing.items()
            },
        }
        return precision | other | recorded

    def task(self, name: str) -> Task:
        """
        Raises:
            InputError: the network does not know it.
        """
        return self.model.tasks[self.model.tasks.position(name)]

    @property
    def tasks(self) -> TaskSet:
        """What it predicts."""
        tasks = self.model.tasks
        return tasks if self.site_tasks is None else TaskSet(self.task(name) for name in self.site_tasks)

    def require_adapted(self, names: Iterable[str]) -> None:
        """
        Raises:
            InputError: the site file is not for one of the tasks.
        """
        for name in names:
            if self.site_tasks is not None and name not in self.site_tasks:
                expected = f"one of {', '.join(self.site_tasks)}, which the site file is for"
                raise InputError("tasks", f"'{name}'", expected, "correct tasks=, or leave site_file= out")

    def fitting_tasks(self, modalities: Sequence[str]) -> list[str]:
        """Names of the tasks of these modalities; those that a task declares optional may be missing.

        Raises:
            InputError: no task has these modalities.
        """
        return fitting_tasks(self.tasks, modalities)

    def predict(self, volume: Volume, task_names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Label map ``[Z,Y,X]`` in the volume's grid per task; tasks that see the same input share every window's
        encoding.

        Args:
            volume: as ``read_volume`` or ``Volume.of_array`` makes it.
            task_names: None: all that fit what the scan looks like.

        Raises:
            InputError: an unknown task, or one of another number of modalities; no task fits.
        """
        if task_names is None:
            task_names = guessed_tasks(self.tasks, guess_modalities(volume), "scan")
        self.require_adapted(task_names)
        segmentations = self.segment(volume, task_names)
        return {name: self.decompress(name, each, volume.voxel_ml) for name, each in segmentations.items()}

    def decompress(self, task_name: str, segmentation: CompressedSegmentation, voxel_ml: float) -> np.ndarray:
        """The label map ``[Z,Y,X]`` of a task, postprocessed."""
        rules = self.postprocessing.get(task_name, {})
        return postprocess(segmentation.label[:], self.task(task_name), rules, voxel_ml)

    @torch.inference_mode()
    def segment(
        self,
        volume: Volume | Callable[[], Volume],
        task_names: Sequence[str],
        options: OutputOptions = OutputOptions(),
    ) -> dict[str, CompressedSegmentation]:
        """Segmentations of one scan by task, compressed, without postprocessing.

        Args:
            volume: the scan, or a function that hands it over: if that keeps none itself, the scan's memory is free
                while the last windows are computed.

        Raises:
            InputError: as of ``predict``; NaN or infinity in the network; more memory would be needed.
        """
        try:
            return self._segment(volume, task_names, options)
        except torch.OutOfMemoryError as error:  # beside the windows, whose number it lowers
            reason = str(error)
        torch.cuda.empty_cache()
        raise out_of_memory(reason, "room for this scan")

    def _segment(
        self, volume: Volume | Callable[[], Volume], task_names: Sequence[str], options: OutputOptions
    ) -> dict[str, CompressedSegmentation]:
        scan = volume() if callable(volume) else volume
        del volume
        axes = self._axes(scan)
        scan = turn(scan, axes)
        groups = group_tasks(self.model, task_names, scan)
        segmentations: dict[str, CompressedSegmentation] = {}
        for number, group in enumerate(groups, 1):
            is_last = number == len(groups)
            with self.stopwatch("resample"):
                where = (self.settings, self.compute, options)
                prepared = prepare_group(self.models, group, scan, *where, keeps_volume=not is_last)
            if is_last:
                del scan
            how = (self.settings, self.compute, self.stopwatch, self.sizes)
            segmentations |= segment_group(self.models, prepared, *how, part=(number - 1, len(groups)))
            del prepared
        return {name: turned_back(segmentations[name], axes) for name in task_names}

    def _axes(self, scan: Volume) -> str:
        """The axes in which the network sees the scan."""
        orientation = self.settings.orientation
        return {CANONICAL: CANONICAL_AXES, FILE: scan.axes}.get(orientation, orientation)


def guess_modalities(volume: Volume) -> list[Guess]:
    """What each channel looks like."""
    return [guess(values, stated) for values, stated in zip(volume.array, volume.stated, strict=True)]
