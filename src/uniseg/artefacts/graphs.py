"""Folders of traced networks, one file per task with one description: ONNX graphs, exported programs."""

import logging
import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from uniseg.artefacts.task_network import BATCH, TaskNetwork, chosen_tasks, example
from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.files import new_folder, read_json, write_json
from uniseg.inference.settings import InferenceSettings
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task
from uniseg.weights.licences import strictest

FORMAT = 1
ONNX_RUNTIME = Path(__file__).with_name("uniseg_onnx.py")
ONNX_FILES = "uniseg_onnx.json"
PROGRAM_FILES = "uniseg_programs.json"
KNOWN_NORMALIZATIONS = ("window", "fingerprint", "zscore")  # to uniseg_onnx.py
Tracer = Callable[[TaskNetwork, Path], None]


def save_onnx(
    models: Sequence[UniSegModel], folder: str | Path, tasks: Iterable[str] | None = None, checkpoint: str = ""
) -> Path:
    """One ONNX graph per task, what surrounds it in JSON, and the runtime that predicts scans with both.

    Args:
        models: one, or an ensemble, whose scores the graph averages.
        tasks: names; None: all.
        checkpoint: hash of the weights.

    Raises:
        InputError: an unknown task, a normalisation of one's own, a network that cannot be traced, a package that is
            not installed, or something else at ``folder``.
    """
    _require_packages("format=onnx", ("onnx", "onnxscript"), "onnx")
    chosen = chosen_tasks(models, tasks)
    for task in (models[0].tasks[index] for index in chosen):
        _require_known(task)
    about = _description(models, chosen, ".onnx", checkpoint)
    return _save(models, chosen, Path(folder), (ONNX_FILES, about), _trace_onnx, [ONNX_RUNTIME])


def save_programs(
    models: Sequence[UniSegModel], folder: str | Path, tasks: Iterable[str] | None = None, checkpoint: str = ""
) -> Path:
    """One program of ``torch.export`` per task, which torch alone loads and runs; as ``save_onnx`` in all else.

    Raises:
        InputError: as of ``save_onnx``.
    """
    chosen = chosen_tasks(models, tasks)
    about = _description(models, chosen, ".pt2", checkpoint)
    return _save(models, chosen, Path(folder), (PROGRAM_FILES, about), _trace_program, [])


def _description(models: Sequence[UniSegModel], chosen: Sequence[int], ending: str, checkpoint: str) -> dict:
    model = models[0]
    provenance = model.provenance
    tasks = [model.tasks[index] for index in chosen]
    return {
        "format": FORMAT,
        "uniseg": uniseg_version(),
        "checkpoint": checkpoint,
        "licence": strictest(facts.get("licence", "") for facts in provenance.data.values()),
        "citations": list(provenance.cited),
        "patch_size": list(model.patch_size),
        "overlap": InferenceSettings().overlap,
        "tasks": {task.name: {"graph": f"{task.name}{ending}"} | _about(task) for task in tasks},
    }


def _about(task: Task) -> dict:
    return {
        "modalities": list(task.modalities),
        "optional": list(task.optional),
        "classes": list(task.classes),
        "label_values": {name: list(each) for name, each in zip(task.classes[1:], task.class_values, strict=True)},
        "spacing_mm": list(task.spacing_mm),
        "normalization": [how.to_dict() for how in task.normalization],
    }


def _save(
    models: Sequence[UniSegModel],
    chosen: Sequence[int],
    folder: Path,
    description: tuple[str, dict],
    trace: Tracer,
    beside: Sequence[Path],
) -> Path:
    name, about = description
    _require_free(folder, name)
    with new_folder(folder) as part, torch.no_grad(), _quiet():
        for index in chosen:
            network = TaskNetwork(models, index).eval()
            _traced(network.task.name, partial(trace, network, part / about["tasks"][network.task.name]["graph"]))
        for path in beside:
            shutil.copyfile(path, part / path.name)
        write_json(part / name, about)
    return folder


def _trace_onnx(network: TaskNetwork, path: Path) -> None:
    names = {"input_names": ["image"], "output_names": ["scores"]}
    shapes = {"dynamic_shapes": {"image": {0: BATCH}}}
    torch.onnx.export(
        network, (example(network),), path, dynamo=True, external_data=False, verbose=False, **names, **shapes
    )


def _trace_program(network: TaskNetwork, path: Path) -> None:
    shapes = {"image": {0: BATCH}}
    torch.export.save(torch.export.export(network, (example(network),), dynamic_shapes=shapes), path)


def _traced(task: str, trace: Callable[[], None]) -> None:
    try:
        trace()
    except OSError:
        raise
    except Exception as error:  # exporters raise of every kind
        reason = f"a network that cannot be traced ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        expected, fix = "one of encoder, conditioning, head that torch.export takes", "choose format=folder"
        raise InputError(f"task '{task}'", reason, expected, fix) from error


@contextmanager
def _quiet():
    """Exporters warn of packages that nobody asked for and of their own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _require_known(task: Task) -> None:
    for how in task.normalization:
        if how.mode not in KNOWN_NORMALIZATIONS or not how.resolved:
            found = f"normalisation {how.mode}{'' if how.resolved else ' without its numbers'}"
            expected = f"one of {', '.join(KNOWN_NORMALIZATIONS)} with its numbers"
            raise InputError(f"task '{task.name}'", found, expected, "choose format=folder or format=bundle")


def _require_packages(where: str, names: Iterable[str], extra: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        fix = f"pip install 'uniseg[{extra}]'"
        raise InputError(where, f"no package {', '.join(missing)}", "what writes this format", fix)


def _require_free(folder: Path, name: str) -> None:
    """An earlier export may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    expected, fix = "a new folder, or an earlier export", "choose another output"
    if not (folder / name).is_file():
        raise InputError(folder, "something else", expected, fix)
    about = read_json(folder / name, expected, fix)
    known = {name, ONNX_RUNTIME.name, *(task.get("graph") for task in about.get("tasks", {}).values())}
    others = [path.name for path in folder.iterdir() if path.name not in known | {"__pycache__"}]
    if others:
        raise InputError(folder, f"{others[0]} beside it", expected, fix)
