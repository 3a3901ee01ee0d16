"""Checkpoints that describe themselves: a model comes back without configuration or data."""

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.delta import read_delta
from uniseg.weights.shared import TENSORS, Stored, read_folder
from uniseg.weights.task_file import load_tasks

KEY = "uniseg"
FORMAT = 2
PREFIX = "model."  # of the network's tensors in a training checkpoint
TRUSTED = "uniseg.models."  # a checkpoint may name no other code


def describe_model(model: UniSegModel) -> dict:
    """Plain containers that, with the tensors, rebuild ``model``."""
    return {"format": FORMAT, "tasks": model.tasks.to_list(), "model": model.config}


def load_model(path: str | Path, task_files: Iterable[str | Path] = (), *, base: str | Path | None = None) -> UniSegModel:
    """The network of a training checkpoint or of a folder of ``save_model``, in eval mode on the CPU.

    Args:
        path: of either; of a delta where ``base`` is given.
        task_files: of tasks that were added to this network; they come behind its own.
        base: checkpoint or folder that the delta was written against.

    Raises:
        InputError: unreadable, not one of ours, its tensors do not fit its description, or a task file or delta does not fit it.
    """
    stored = _read(path) if base is None else read_delta(path, _read(base).state)
    model = _restored(stored, path)
    load_tasks(model, task_files)
    return model.eval()


def _read(path: str | Path) -> Stored:
    return read_folder(path) if Path(path).is_dir() else _stored(read_checkpoint(path))


def _restored(stored: Stored, path: str | Path) -> UniSegModel:
    try:
        model = build_model(TaskSet.from_list(stored.tasks), stored.config)
    except (KeyError, TypeError, AttributeError, ImportError) as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(path, f"a description that builds no model ({found})", "one that this version wrote", "give the original") from error
    try:
        model.load_state_dict(stored.state)
    except RuntimeError as error:
        raise InputError(path, " ".join(str(error).split()), "the tensors of its own description", "give the original file") from error
    model.origin = stored.origin
    return model


def _stored(content: Mapping) -> Stored:
    own = content[KEY]
    state = {name.removeprefix(PREFIX): tensor for name, tensor in content["state_dict"].items() if name.startswith(PREFIX)}
    return Stored(own["tasks"], own["model"], {key: own[key] for key in ("data", "commit") if key in own}, state)


def read_checkpoint(path: str | Path) -> dict:
    """A training checkpoint as plain containers and tensors; nothing else is unpickled.

    Raises:
        InputError: missing, unreadable, or not one of ours.
    """
    path, expected, fix = Path(path), "a checkpoint of uniseg.train", "give checkpoint=<run>/checkpoints/last.ckpt"
    if not path.is_file():
        raise InputError(path, "no such file", expected, fix)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        raise InputError(path, f"{type(error).__name__} while reading", expected, fix) from error
    if not isinstance(content, Mapping) or KEY not in content:
        raise InputError(path, "a file of something else", expected, fix)
    if content[KEY]["format"] != FORMAT:
        raise InputError(path, f"format {content[KEY]['format']}", f"format {FORMAT}", "use the version of uniseg that wrote it")
    return content


def build_model(tasks: TaskSet, config: Mapping) -> UniSegModel:
    """The network that ``UniSegModel.config`` describes, with new weights; its last tasks may be added ones.

    Raises:
        InputError: it names code outside ``uniseg.models``.
    """
    named = ("encoder", "conditioning", "head", *(["decoder"] if "decoder" in config else []))  # older ones had one decoder
    parts = {name: _factory(config[name]) for name in named}
    num_base = len(tasks) - len(config["added"])
    model = UniSegModel(TaskSet(tasks[:num_base]), patch_size=config["patch_size"], **parts)
    for task, added in zip(tasks[num_base:], config["added"], strict=True):
        model.extend([task], **added)
    return model


def _factory(description: Mapping) -> partial:
    keywords = dict(description)
    target = keywords.pop("_target_")
    if not target.startswith(TRUSTED):
        raise InputError("checkpoint", f"part '{target}'", f"a class of {TRUSTED.rstrip('.')}", "build the model in Python and load its state_dict")
    module, _, name = target.rpartition(".")
    return partial(getattr(import_module(module), name), **keywords)


def file_hash(path: str | Path, task_files: Iterable[str | Path] = ()) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a checkpoint, or of a folder's tensors: which weights made a prediction.

    Those of task files are appended, in the order of their names.
    """
    return "+".join(_digest(Path(each)) for each in (path, *sorted(task_files)))


def _digest(path: Path) -> str:
    with (path / TENSORS if path.is_dir() else path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
