"""A file of what one added task brought: shared where its scans cannot be, loaded onto the same base."""

import hashlib
import json
import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task

FORMAT = 1
KIND = "uniseg task"
EXPECTED, GIVE = "a task file", "give a file that uniseg.export added_task=<name> wrote"
ADDED = "added."


def base_hash(model: UniSegModel) -> str:
    """The SHA-256 of the tensors that the network was made with, whatever was added to it since."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(ADDED):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_task(model: UniSegModel, name: str, path: str | Path) -> Path:
    """Write what the added task ``name`` brought; the file appears whole or not at all.

    Raises:
        InputError: no such task, or one that the network was made with.
    """
    path, position = Path(path), model.tasks.position(name)
    if position < model.num_base:
        raise InputError(
            f"task '{name}'", "a task that the network was made with", "one that was added to it", "share the whole model: leave added_task=... out"
        )
    index = position - model.num_base
    description = {
        "kind": KIND,
        "format": FORMAT,
        "base": base_hash(model),
        "task": model.tasks[position].to_dict(),
        "added": model.config["added"][index],
        "data": model.origin.get("data", {}).get(name, {}),
        "uniseg": version("uniseg"),
    }
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in model.added[index].state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part{os.getpid()}_{path.name}")
    try:
        save_file(tensors, part, {"uniseg": json.dumps(description)})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def load_tasks(model: UniSegModel, paths: Iterable[str | Path]) -> None:
    """Add the tasks of the files; what ``model`` could do before, it does bit for bit as before.

    Raises:
        InputError: no task file, one of another base, a task that the network has, tensors that do not fit; ``model`` is as it was.
    """
    base = base_hash(model)
    files = {Path(path): _read(Path(path)) for path in paths}
    names = list(model.tasks.names)
    for path, (description, _) in files.items():
        if description["base"] != base:
            found = f"a task of the network {description['base'][:16]}"
            raise InputError(path, found, f"one of {base[:16]}, which is loaded", "load the network that the task was added to")
        name = description["task"]["name"]
        if name in names:
            raise InputError(path, f"task '{name}', which the network has", "a task of another name", "leave the file out")
        names.append(name)
    num_before = len(model.tasks)
    for path, (description, tensors) in files.items():
        task = Task.from_dict(description["task"])
        model.extend([task], **description["added"])
        try:
            model.added[-1].load_state_dict(tensors)
        except RuntimeError as error:
            model.retract(len(model.tasks) - num_before)
            raise InputError(path, " ".join(str(error).split()), "the tensors of its own description", "fetch the file again") from error
    data = {description["task"]["name"]: description["data"] for description, _ in files.values()}
    model.origin = model.origin | {"data": model.origin.get("data", {}) | data} if data else model.origin


def _read(path: Path) -> tuple[dict, dict]:
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("uniseg")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except OSError as error:
        raise InputError(path, error.strerror or "no such file", EXPECTED, GIVE) from error
    except SafetensorError as error:
        raise InputError(path, " ".join(str(error).split()), EXPECTED, GIVE) from error
    description = json.loads(text) if text else {}
    if description.get("kind") != KIND:
        raise InputError(path, "a file of something else", EXPECTED, GIVE)
    if description["format"] != FORMAT:
        raise InputError(path, f"format {description['format']}", f"format {FORMAT}", "use the version of uniseg that wrote it")
    return description, tensors
