"""Prediction: a scan in, one label map per task out."""

import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from uniseg.errors import InputError
from uniseg.inference.restore import restore
from uniseg.inference.windows import predict_logits
from uniseg.models.uniseg import UniSegModel
from uniseg.prepare.preprocess import preprocess
from uniseg.scans.io import read_volume, write_label_map
from uniseg.scans.volume import Volume


class Predictor:
    """Keeps a model warm over any number of scans.

    Args:
        model: as ``load_model`` returns it.
        overlap: of neighbouring windows, 0 to below 1.
        window_batch: windows computed at a time.
        mirror_axes: test-time mirroring, of (0, 1, 2) = (z, y, x).
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
        device: str | torch.device = "cpu",
        fingerprint: str = "",
    ) -> None:
        self.model = model.eval().to(device)
        self.overlap, self.window_batch, self.mirror_axes = overlap, window_batch, tuple(mirror_axes)
        self.device = torch.device(device)
        self.fingerprint = fingerprint

    def fitting_tasks(self, modalities: Sequence[str]) -> list[str]:
        """Names of the tasks that ask for exactly these modalities, in this order.

        Raises:
            InputError: there is none.
        """
        names = [task.name for task in self.model.tasks if task.modalities == tuple(modalities)]
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
        groups: dict[tuple, list[int]] = {}
        for name in task_names:
            position = self.model.tasks.position(name)
            task = self.model.tasks[position]
            if task.num_modalities != len(volume.array):
                expected = f"{task.num_modalities} ({', '.join(task.modalities)})"
                raise InputError(f"task '{name}'", f"{len(volume.array)} channels", expected, "give one image per modality, in this order")
            groups.setdefault((task.spacing_mm, task.normalization), []).append(position)
        labels = {}
        for positions in groups.values():
            labels |= self._predict_group(volume, positions)
        return {name: labels[name] for name in task_names}

    def _predict_group(self, volume: Volume, positions: Sequence[int]) -> dict[str, np.ndarray]:
        first = self.model.tasks[positions[0]]
        prepared = preprocess(volume, first)
        image = torch.from_numpy(prepared.image).to(self.device)
        logits = predict_logits(
            self.model, image, positions, overlap=self.overlap, window_batch=self.window_batch, mirror_axes=self.mirror_axes
        )
        shape = volume.array.shape[1:]
        return {
            self.model.tasks[p].name: restore(own, prepared.box, shape, volume.spacing_mm, first.spacing_mm)
            for p, own in zip(positions, logits, strict=True)
        }

    def predict_case(self, case_id: str, image_paths: Sequence[Path], task_names: Sequence[str], output: Path) -> list[Path]:
        """Write ``<output>/<task>/<case>.nii.gz`` with a JSON beside it, per task. What exists from the same checkpoint and files is kept."""
        paths = {name: output / name / f"{case_id}.nii.gz" for name in task_names}
        facts = {name: {"images": [str(p) for p in image_paths], "checkpoint": self.fingerprint, "task": name} for name in task_names}
        todo = [name for name in task_names if not _is_done(paths[name], facts[name])]
        if todo:
            volume = read_volume(image_paths)
            voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
            for name, label in self.predict(volume, todo).items():
                classes = self.model.tasks[self.model.tasks.position(name)].classes
                voxels = np.bincount(label.ravel(), minlength=len(classes))
                volumes_ml = {c: round(float(n) * voxel_ml, 3) for c, n in zip(classes[1:], voxels[1:], strict=True)}
                paths[name].with_name(f"{case_id}.json").unlink(missing_ok=True)
                write_label_map(label, image_paths[0], paths[name])
                _write_json(
                    paths[name].with_name(f"{case_id}.json"),
                    facts[name] | {"classes": list(classes), "volumes_ml": volumes_ml, "uniseg": version("uniseg")},
                )
        return list(paths.values())


def _is_done(path: Path, facts: dict) -> bool:
    beside = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    if not (path.exists() and beside.exists()):
        return False
    return facts.items() <= json.loads(beside.read_text()).items()


def _write_json(path: Path, values: dict) -> None:
    part = path.with_name(f".part{os.getpid()}_{path.name}")
    part.write_text(json.dumps(values, indent=1))
    os.replace(part, path)
