"""What a network can segment, what it learnt from, what a prediction takes: for people and for programs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniseg.datasets.split_file import SPLITS
from uniseg.environment import uniseg_version
from uniseg.inference.accumulators import make_accumulator
from uniseg.inference.card import ON_A_PROCESSOR
from uniseg.inference.memory import GB
from uniseg.inference.restore import CropGeometry, OutputOptions
from uniseg.inference.task_group import estimate_memory
from uniseg.models.uniseg import UniSegModel
from uniseg.preprocessing.resample import target_shape
from uniseg.task import Task
from uniseg.weights.card import split_hash
from uniseg.weights.ensemble import ensemble_hash, load_ensemble
from uniseg.weights.licences import strictest
from uniseg.weights.task_hub import record_installed, with_installed

FORMAT = 1  # of the JSON; keys are only ever added
PARTS = ("encoder", "conditioning", "decoder", "head")


@dataclass(frozen=True)
class ScanSize:
    """A scan for which memory is stated.

    Attributes:
        shape: (z, y, x) voxels of one modality.
        spacing_mm: (z, y, x).

    Examples:
        >>> ScanSize((300, 512, 512), (1.5, 0.8, 0.8)).extent_mm
        (450.0, 409.6, 409.6)
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]

    @property
    def extent_mm(self) -> tuple[float, ...]:
        return tuple(n * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True))


def describe(checkpoint: str | Path | Sequence[str], task_files: Iterable[str | Path], scan: ScanSize) -> dict:
    """Plain containers about the networks of ``checkpoint``, as ``uniseg info`` writes them in JSON.

    Raises:
        InputError: as of ``load_ensemble``.
    """
    task_files = with_installed(checkpoint, task_files)
    models = load_ensemble(checkpoint, task_files)
    model = models[0]
    record_installed(model, checkpoint)
    provenance = model.provenance
    licences = [provenance.data.get(name, {}).get("licence", "") for name in {*model.tasks.names, *provenance.data}]
    return {
        "format": FORMAT,
        "uniseg": uniseg_version(),
        "checkpoint": ensemble_hash(checkpoint, task_files),
        "num_networks": len(models),
        "num_parameters": sum(each.numel() for each in model.parameters()),
        "patch_size": list(model.patch_size),
        "parts": {part: _class_name(model.config[part]) for part in PARTS if part in model.config},
        "licence": strictest(licences),
        "licence_of_weights": provenance.licence or None,
        "citations": list(provenance.cited),
        "commit": provenance.commit or None,
        "scan": {"shape": list(scan.shape), "spacing_mm": list(scan.spacing_mm)},
        "tasks": [_task(models, index, scan) for index in range(len(model.tasks))],
        "data": {name: _data(facts) for name, facts in provenance.data.items()},
    }


def _class_name(config: Mapping[str, Any]) -> str:
    return config["_target_"].rpartition(".")[2]


def _task(models: Sequence[UniSegModel], index: int, scan: ScanSize) -> dict:
    model = models[0]
    task = model.tasks[index]
    least, whole = memory_bytes(models, index, scan)
    return {
        "name": task.name,
        "modalities": list(task.modalities),
        "optional": list(task.optional),
        "classes": list(task.classes),
        "label_values": {name: list(each) for name, each in zip(task.classes[1:], task.class_values, strict=True)},
        "spacing_mm": list(task.spacing_mm),
        "added": index >= model.num_base,
        "scores": dict(model.provenance.scores.get(task.name, {})) or None,
        "memory_gb": round(whole / GB, 2),
        "least_memory_gb": round(least / GB, 2),
    }


def _data(facts: Mapping[str, Any]) -> dict:
    counts = {split: len(facts.get(split, ())) for split in SPLITS}
    texts = {key: facts.get(key) or None for key in ("licence", "homepage")}
    return texts | {"cases": counts, "split_hash": split_hash(facts)}


def memory_bytes(models: Sequence[UniSegModel], task_index: int, scan: ScanSize) -> tuple[float, float]:
    """RAM of a prediction of one task on a processor: at the least, with a few rows at a time, and in one go."""
    task: Task = models[0].tasks[task_index]
    shape = target_shape(scan.shape, scan.spacing_mm, task.spacing_mm)
    box = tuple((0, n) for n in scan.shape)
    crop = CropGeometry(box, scan.shape, scan.spacing_mm, shape, task.spacing_mm)
    accumulator = make_accumulator(models, task_index, features_allowed=True)
    estimate = estimate_memory(models, [accumulator], crop, task.num_modalities, OutputOptions(), keeps_volume=False)
    return estimate.least_bytes(), estimate.bytes_of_rows(shape[1], ON_A_PROCESSOR)


def as_text(info: Mapping[str, Any]) -> str:
    """What ``describe`` gave, for a person."""
    networks = f"{info['num_networks']} networks of " if info["num_networks"] > 1 else ""
    parts = ", ".join(f"{part} {name}" for part, name in info["parts"].items())
    lines = [
        f"{len(info['tasks'])} tasks; {networks}{info['num_parameters'] / 1e6:.2f} million parameters; {parts}",
        f"patch {_by(info['patch_size'])} voxels; weights {info['checkpoint']}; commit {info['commit'] or 'unknown'}",
        f"strictest licence of the training data: {info['licence']}",
        *([f"licence of the weights: {info['licence_of_weights']}"] if info["licence_of_weights"] else []),
    ]
    for task in info["tasks"]:
        lines += ["", *_task_lines(task, info)]
    others = [name for name in info["data"] if name not in {task["name"] for task in info["tasks"]}]
    lines += ["", f"its weights also saw the data of {', '.join(others)}"] if others else []
    lines += ["", *(f"cite: {citation}" for citation in info["citations"])] if info["citations"] else []
    size = f"{_by(info['scan']['shape'])} voxels of {_by(info['scan']['spacing_mm'])} mm"
    return "\n".join([*lines, "", f"Memory: RAM on a processor for a scan of {size}; time is not measured."])


def _task_lines(task: Mapping[str, Any], info: Mapping[str, Any]) -> list[str]:
    data = info["data"].get(task["name"])
    optional = f" (may lack {', '.join(task['optional'])})" if task["optional"] else ""
    head = f"{task['name']}{', added' if task['added'] else ''}: {' + '.join(task['modalities'])}{optional}"
    lines = [f"{head} -> {', '.join(task['classes'][1:])}, at {_by(task['spacing_mm'])} mm"]
    if data:
        cases = ", ".join(f"{number} {split}" for split, number in data["cases"].items())
        lines.append(
            f"  data: {cases}; licence {data['licence'] or 'not recorded'}; {data['homepage'] or 'no homepage'}"
        )
    dice = (task["scores"] or {}).get("dice")
    lines.append(f"  test Dice: {'not recorded' if dice is None else f'{dice:.3f}'}")
    return [*lines, f"  memory: {task['memory_gb']:.1f} GB, at the least {task['least_memory_gb']:.1f}"]


def _by(values: Iterable[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
