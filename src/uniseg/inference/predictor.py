"""Prediction: a scan in, one label map per task out."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from uniseg.errors import InputError
from uniseg.images.volume import Volume
from uniseg.inference.accumulators import Carrier, make_carrier
from uniseg.inference.memory import Need, share_out, voxels
from uniseg.inference.postprocessing import Cleanings, clean
from uniseg.inference.restore import SLAB_VOXELS, Restored, Restorer, Wanted
from uniseg.inference.settings import require_settings, usable_device
from uniseg.inference.stopwatch import Stopwatch
from uniseg.inference.task_selection import fitting_tasks, guessed_tasks
from uniseg.inference.window_pass import WindowPass
from uniseg.models.uniseg import UniSegModel
from uniseg.preprocessing.modality import Guess, guess
from uniseg.preprocessing.preprocess import nonzero_box, preprocess, require_extent
from uniseg.preprocessing.resample import target_shape
from uniseg.task import Task

LABELS_ALONE = Wanted()
PER_PROBABILITY = 3  # how much more a probability takes than a label, compressed


class Predictor:
    """Keeps a model warm over any number of scans.

    Without ``skip_empty`` and ``gate`` every window is computed for every task; what is shared between tasks changes
    nothing but rounding.

    Attributes:
        models: the ensemble; ``model`` is its first, whose tasks and patch size are those of all.
        stopwatch: seconds by stage since the Predictor was made.

    Args:
        models: one as ``load_model`` returns it, or several of the same tasks whose scores are averaged, as of folds.
        overlap: of neighbouring windows, 0 to below 1.
        window_batch: windows computed at a time.
        mirror_axes: test-time mirroring, of (0, 1, 2) = (z, y, x).
        skip_empty: leave out windows that hold only air.
        gate: ask a task only near windows where a first, sparse pass found something of it.
        max_memory_gb: of RAM for one scan (10^9 bytes), reading excluded; None: no limit.
        device: where the network runs.
        cleanings: what is taken away from each class, as ``read_cleanings`` returns it.
        fingerprint: of the checkpoint, written beside every prediction.

    Raises:
        InputError: networks of different tasks or patch sizes; a setting that cannot be; a device that is not there.
    """

    def __init__(
        self,
        models: UniSegModel | Sequence[UniSegModel],
        *,
        overlap: float = 0.5,
        window_batch: int = 1,
        mirror_axes: Sequence[int] = (),
        skip_empty: bool = False,
        gate: bool = False,
        max_memory_gb: float | None = None,
        device: str | torch.device = "cpu",
        cleanings: Cleanings | None = None,
        fingerprint: str = "",
    ) -> None:
        require_settings(overlap, window_batch, mirror_axes, max_memory_gb)
        self.overlap, self.window_batch, self.mirror_axes = overlap, window_batch, tuple(mirror_axes)
        self.skip_empty, self.gate, self.max_memory_gb = skip_empty, gate, max_memory_gb
        self.device = usable_device(device)
        self.models = [
            model.eval().to(self.device) for model in ([models] if isinstance(models, UniSegModel) else models)
        ]
        if not self.models:
            raise InputError("models", "none", "one network or more", "load a checkpoint")
        self.model = self.models[0]
        for number, model in enumerate(self.models[1:], 1):
            if model.tasks.to_list() != self.model.tasks.to_list() or tuple(model.patch_size) != tuple(
                self.model.patch_size
            ):
                raise InputError(
                    f"network {number} of the ensemble",
                    "other tasks or another patch size",
                    "those of the first",
                    "train the folds alike",
                )
        self.stopwatch = Stopwatch()
        self.cleanings, self.fingerprint = cleanings or {}, fingerprint

    @property
    def settings(self) -> dict[str, Any]:
        """What changes a prediction beside the weights, as plain containers."""
        return {
            "overlap": self.overlap,
            "mirror_axes": list(self.mirror_axes),
            "skip_empty": self.skip_empty,
            "gate": self.gate,
            "cleanings": {
                task: {name: asdict(own) for name, own in classes.items()} for task, classes in self.cleanings.items()
            },
        }

    def fitting_tasks(self, modalities: Sequence[str]) -> list[str]:
        """Names of the tasks that ask for these modalities; those that a task declares optional may be lacking.

        Raises:
            InputError: there is none.
        """
        return fitting_tasks(self.model.tasks, modalities)

    @torch.inference_mode()
    def predict(self, volume: Volume, task_names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Label map ``[Z,Y,X]`` in the volume's grid per task; tasks that see the same input share every window's
        encoding.

        Args:
            volume: as ``read_volume`` or ``Volume.of_array`` makes it.
            task_names: None: all that fit what the scan looks like.

        Raises:
            InputError: an unknown task, or one that wants another number of modalities; no task fits.
        """
        if task_names is None:
            task_names = guessed_tasks(self.model.tasks, guesses_of(volume), "scan")
        found = self.restored([volume], task_names)
        return {name: self.unpacked(name, found[name], volume.voxel_ml) for name in task_names}

    def unpacked(self, task_name: str, found: Restored, voxel_ml: float) -> np.ndarray:
        """The label map ``[Z,Y,X]`` of a task, cleaned."""
        return clean(found.label[:], self.task(task_name), self.cleanings.get(task_name, {}), voxel_ml)

    @torch.inference_mode()
    def restored(
        self, held: list[Volume], task_names: Sequence[str], wanted: Wanted = LABELS_ALONE
    ) -> dict[str, Restored]:
        """Segmentations of one scan, compressed.

        Args:
            held: the scan alone; taken out as soon as it is not needed any more, so that its memory is free if nobody
                else holds it.

        Raises:
            InputError: as of ``predict``.
        """
        volume = held[0]
        groups: dict[tuple, list[int]] = {}
        for name in task_names:
            task = self.task(name)
            if task.num_modalities != len(volume.array):
                expected = f"{task.num_modalities} ({', '.join(task.modalities)})"
                raise InputError(
                    f"task '{name}'",
                    f"{len(volume.array)} channels",
                    expected,
                    "give one image per modality, in this order",
                )
            lacking = [
                m
                for m, here in zip(task.modalities, volume.present, strict=True)
                if not here and m not in task.optional
            ]
            if lacking:
                raise InputError(
                    f"task '{name}'",
                    f"a scan without {', '.join(lacking)}",
                    "every modality that is not optional",
                    "give the file",
                )
            position = self.model.tasks.position(name)
            groups.setdefault((task.spacing_mm, task.normalization, self.model.stem_of(position)), []).append(position)
        found: dict[str, Restored] = {}
        del volume
        for number, positions in enumerate(groups.values(), 1):
            found |= self._predict_group(held, positions, wanted, is_last=number == len(groups))
        return {name: found[name] for name in task_names}

    def _predict_group(
        self, held: list[Volume], positions: Sequence[int], wanted: Wanted, *, is_last: bool
    ) -> dict[str, Restored]:
        """Tasks that see one input; what they will hold is counted ahead of making it."""
        first = self.model.tasks[positions[0]]
        volume = held.pop() if is_last else held[0]
        shape, spacing_mm = volume.array.shape[1:], volume.spacing_mm
        carriers = [
            make_carrier(self.models, p, features_allowed=not (self.skip_empty or self.gate)) for p in positions
        ]
        box = nonzero_box((volume.array != 0).any(0))
        inside = [stop - start for start, stop in box]
        size = target_shape(inside, spacing_mm, first.spacing_mm)
        require_extent("scan", [n * mm for n, mm in zip(inside, spacing_mm, strict=True)], first)
        need = self._need(volume, carriers, inside, size, wanted, is_last=is_last)
        share = share_out(need, inside[1], size[1] / inside[1], self.window_batch, self.max_memory_gb)
        with self.stopwatch("resample"):
            prepared = preprocess(volume, first)
        del volume
        if not np.isfinite([prepared.image.min(), prepared.image.max()]).all():
            found, fix = "NaN or infinity in the prepared scan", "repair the scan, or the task's normalisation"
            raise InputError(f"task '{first.name}'", found, "finite numbers", fix)
        restorers = [
            Restorer(
                carrier.scores,
                carrier.task.num_labels,
                box=prepared.box,
                shape=shape,
                size=size,
                spacing_mm=spacing_mm,
                task_spacing_mm=first.spacing_mm,
                wanted=wanted,
            )
            for carrier in carriers
        ]
        windows = WindowPass(
            self.models,
            torch.from_numpy(prepared.image),
            carriers,
            overlap=self.overlap,
            window_batch=share.window_batch,
            mirror_axes=self.mirror_axes,
            skip_empty=self.skip_empty,
            gate=self.gate,
            device=self.device,
            stopwatch=self.stopwatch,
        )
        for rows in share.blocks:
            for restorer in restorers:
                restorer.begin(rows)
            for parts in windows.planes(restorers[0].source_rows(rows)):
                with self.stopwatch("restore"):
                    for restorer, part in zip(restorers, parts, strict=True):
                        restorer.add(part)
        return {carrier.task.name: restorer.restored for carrier, restorer in zip(carriers, restorers, strict=True)}

    def _need(
        self,
        volume: Volume,
        carriers: Sequence[Carrier],
        inside: Sequence[int],
        size: Sequence[int],
        wanted: Wanted,
        *,
        is_last: bool,
    ) -> Need:
        """
        Args:
            inside: (z, y, x) of the crop in the scan.
            size: of the crop at the task's spacing.
        """
        shape, num_modalities, window = volume.array.shape[1:], len(volume.array), self.model.patch_size
        image, halfway = num_modalities * voxels(size), size[0] * inside[1] * inside[2]
        beside = wanted.confidence * PER_PROBABILITY
        return Need(
            volume=0 if is_last else volume.array.size,
            packed=voxels(shape)
            * sum(1 + beside + wanted.probabilities * PER_PROBABILITY * own.task.num_labels for own in carriers),
            label=voxels(shape),
            image=image,
            weights=sum(p.numel() for model in self.models for p in model.parameters()),
            window=voxels(window) * max(self.model.decoder.channels[0], *(own.channels for own in carriers)),
            ring_row=(sum(own.channels for own in carriers) + len(carriers)) * window[0] * max(size[2], window[2]),
            slab=SLAB_VOXELS,
            preparing=volume.array.size + num_modalities * voxels(inside) + image + max(image, halfway),
        )

    def task(self, name: str) -> Task:
        """
        Raises:
            InputError: the network does not know it.
        """
        return self.model.tasks[self.model.tasks.position(name)]


def guesses_of(volume: Volume) -> list[Guess]:
    """What each channel looks like."""
    return [guess(values, stated) for values, stated in zip(volume.array, volume.stated, strict=True)]
