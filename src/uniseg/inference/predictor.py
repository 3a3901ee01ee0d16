"""Prediction: a scan in, one label map per task out."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from uniseg.errors import InputError
from uniseg.inference.carriers import make_carrier
from uniseg.inference.memory import Need, share_out, voxels
from uniseg.inference.merge import merge, merged_values, write_tables
from uniseg.inference.restore import SLAB_VOXELS, Restored, Restorer
from uniseg.inference.stopwatch import Stopwatch
from uniseg.inference.window_pass import WindowPass
from uniseg.models.uniseg import UniSegModel
from uniseg.prepare.preprocess import preprocess
from uniseg.scans.io import read_volume, reference_path, write_label_map
from uniseg.scans.volume import Volume
from uniseg.task import Task


class Predictor:
    """Keeps a model warm over any number of scans.

    Without ``skip_empty`` and ``gate`` every window is computed for every task; what is shared between tasks changes nothing but rounding.

    Attributes:
        stopwatch: seconds by stage since the Predictor was made.

    Args:
        model: as ``load_model`` returns it.
        overlap: of neighbouring windows, 0 to below 1.
        window_batch: windows computed at a time.
        mirror_axes: test-time mirroring, of (0, 1, 2) = (z, y, x).
        skip_empty: leave out windows that hold only air.
        gate: ask a task only near windows where a first, sparse pass found something of it.
        max_memory_gb: of RAM for one scan (10^9 bytes), reading excluded; None: no limit.
        device: where the network runs.
        fingerprint: of the checkpoint, written beside every prediction.
    """

    def __init__(
        self,
        model: UniSegModel,
        *,
        overlap: float = 0.5,
        window_batch: int = 1,
        mirror_axes: Sequence[int] = (),
        skip_empty: bool = False,
        gate: bool = False,
        max_memory_gb: float | None = None,
        device: str | torch.device = "cpu",
        fingerprint: str = "",
    ) -> None:
        self.model = model.eval().to(device)
        self.overlap, self.window_batch, self.mirror_axes = overlap, window_batch, tuple(mirror_axes)
        self.skip_empty, self.gate, self.max_memory_gb = skip_empty, gate, max_memory_gb
        self.device = torch.device(device)
        self.stopwatch = Stopwatch()
        self.fingerprint = fingerprint

    def fitting_tasks(self, modalities: Sequence[str]) -> list[str]:
        """Names of the tasks that ask for these modalities; those that a task declares optional may be lacking.

        Raises:
            InputError: there is none.
        """
        given = set(modalities)
        names = [task.name for task in self.model.tasks if set(task.modalities) - set(task.optional) <= given <= set(task.modalities)]
        if not names:
            known = sorted({"+".join(task.modalities) for task in self.model.tasks})
            raise InputError("modality", "+".join(modalities), f"one of {', '.join(known)}", "correct modality=[...] or choose another checkpoint")
        return names

    @torch.inference_mode()
    def predict(self, volume: Volume, task_names: Sequence[str]) -> dict[str, np.ndarray]:
        """Label map ``[Z,Y,X]`` in the volume's grid per task; tasks that see the same input share every window's encoding.

        Raises:
            InputError: an unknown task, or one that wants another number of modalities.
        """
        return {name: found.label for name, found in self._restored(volume, task_names, confident=False).items()}

    def _restored(self, volume: Volume, task_names: Sequence[str], *, confident: bool) -> dict[str, Restored]:
        groups: dict[tuple, list[int]] = {}
        for name in task_names:
            task = self._task(name)
            if task.num_modalities != len(volume.array):
                expected = f"{task.num_modalities} ({', '.join(task.modalities)})"
                raise InputError(f"task '{name}'", f"{len(volume.array)} channels", expected, "give one image per modality, in this order")
            lacking = [m for m, here in zip(task.modalities, volume.present, strict=True) if not here and m not in task.optional]
            if lacking:
                raise InputError(f"task '{name}'", f"a scan without {', '.join(lacking)}", "every modality that is not optional", "give the file")
            position = self.model.tasks.position(name)
            groups.setdefault((task.spacing_mm, task.normalization, self.model.stem_of(position)), []).append(position)
        found: dict[str, Restored] = {}
        for positions in groups.values():
            found |= self._predict_group(volume, positions, confident)
        return {name: found[name] for name in task_names}

    def _predict_group(self, volume: Volume, positions: Sequence[int], confident: bool) -> dict[str, Restored]:
        first = self.model.tasks[positions[0]]
        with self.stopwatch("resample"):
            prepared = preprocess(volume, first)
        carriers = [make_carrier(self.model, p, features_allowed=not (self.skip_empty or self.gate)) for p in positions]
        shape, size = volume.array.shape[1:], prepared.image.shape[1:]
        restorers = [
            Restorer(
                carrier.scores,
                carrier.task.num_labels,
                box=prepared.box,
                shape=shape,
                size=size,
                spacing_mm=volume.spacing_mm,
                task_spacing_mm=first.spacing_mm,
                confident=confident,
            )
            for carrier in carriers
        ]
        window, num_rows = self.model.patch_size, restorers[0].inside[1]
        held = sum(carrier.channels for carrier in carriers) + len(carriers)
        need = Need(
            volume=volume.array.size,
            labels=len(carriers) * voxels(shape) * (2 if confident else 1),
            image=prepared.image.size,
            weights=sum(p.numel() for p in self.model.parameters()),
            window=voxels(window) * max(self.model.decoder.channels[0], *(carrier.channels for carrier in carriers)),
            ring_row=held * window[0] * max(size[2], window[2]),
            slab=SLAB_VOXELS,
        )
        share = share_out(need, num_rows, size[1] / num_rows, self.window_batch, self.max_memory_gb)
        windows = WindowPass(
            self.model,
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

    def predict_case(self, case_id: str, images: Mapping[str, Sequence[Path | None]], output: Path) -> list[Path]:
        """Write ``<output>/<task>/<case>.nii.gz`` with a JSON beside it, per task. What exists from the same checkpoint and files is kept.

        Args:
            images: task name -> one file per modality of the task, None for an optional one that the scan lacks.
        """
        paths = {name: output / name / f"{case_id}.nii.gz" for name in images}
        facts = {name: {"images": [p and str(p) for p in own], "checkpoint": self.fingerprint, "task": name} for name, own in images.items()}
        scans: dict[tuple, list[str]] = {}
        for name, own in images.items():
            if not _is_done(paths[name], facts[name]):
                scans.setdefault((tuple(own), self._task(name).reference_position), []).append(name)
        for (files, reference), names in scans.items():
            with self.stopwatch("read"):
                volume = read_volume(files, reference)
            for name, label in self.predict(volume, names).items():
                with self.stopwatch("write"):
                    facts_path = paths[name].with_name(f"{case_id}.json")
                    facts_path.unlink(missing_ok=True)
                    write_label_map(label, reference_path(files, reference), paths[name])
                    _write_json(facts_path, facts[name] | _description(self._task(name), label, volume.spacing_mm))
        return list(paths.values())

    @torch.inference_mode()
    def predict_merged(self, case_id: str, images: Mapping[str, Sequence[Path | None]], output: Path) -> Path:
        """Write one label map of several tasks, ``<output>/merged/<case>.nii.gz``, with a JSON beside it and colour tables. What exists is kept.

        Args:
            images: as of ``predict_case``.

        Raises:
            InputError: scans on more than one grid.
        """
        tasks = [self._task(name) for name in images]
        grids = {reference_path(own, self._task(name).reference_position) for name, own in images.items()}
        if len(grids) > 1:
            raise InputError(case_id, f"{len(grids)} grids", "one scan for all tasks", "choose tasks of the same modality, or leave merge=true out")
        values = merged_values(tasks)
        path = output / "merged" / f"{case_id}.nii.gz"
        facts = {"checkpoint": self.fingerprint, "images": {name: [p and str(p) for p in own] for name, own in images.items()}}
        if _is_done(path, facts):
            return path
        scans: dict[tuple, list[str]] = {}
        for name, own in images.items():
            scans.setdefault((tuple(own), self._task(name).reference_position), []).append(name)
        parts: dict[str, Restored] = {}
        for (files, reference), names in scans.items():
            volume = read_volume(files, reference)
            parts |= self._restored(volume, names, confident=True)
        label = merge({name: parts[name] for name in images}, values)
        voxels, voxel_ml = np.bincount(label.ravel(), minlength=len(values) + 1), float(np.prod(volume.spacing_mm)) / 1000
        beside = path.with_name(f"{case_id}.json")
        beside.unlink(missing_ok=True)
        write_label_map(label, grids.pop(), path)
        write_tables(values, path.parent)
        named = [{"value": v.value, "name": v.name, "volume_ml": round(float(voxels[v.value]) * voxel_ml, 3)} for v in values]
        _write_json(beside, facts | {"values": named, "uniseg": version("uniseg")})
        return path

    def _task(self, name: str) -> Task:
        return self.model.tasks[self.model.tasks.position(name)]


def _description(task: Task, label: np.ndarray, spacing_mm: Sequence[float]) -> dict:
    """Which values the label map holds, how much of each class."""
    voxels = np.bincount(label.ravel(), minlength=task.num_labels)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    return {
        "classes": list(task.classes),
        "values": {name: list(values) for name, values in zip(task.classes[1:], task.class_values, strict=True)},
        "volumes_ml": {name: round(float(voxels[list(values)].sum()) * voxel_ml, 3) for name, values in zip(task.classes[1:], task.class_values, strict=True)},
        "uniseg": version("uniseg"),
    }


def _is_done(path: Path, facts: dict) -> bool:
    beside = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    if not (path.exists() and beside.exists()):
        return False
    return facts.items() <= json.loads(beside.read_text()).items()


def _write_json(path: Path, values: dict) -> None:
    part = path.with_name(f".part{os.getpid()}_{path.name}")
    part.write_text(json.dumps(values, indent=1))
    os.replace(part, path)
