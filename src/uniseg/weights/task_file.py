"""A file of what one added task brought: shared where its scans cannot be, loaded onto the same base."""

from collections.abc import Iterable
from pathlib import Path

from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task
from uniseg.weights.described import read_described, write_described
from uniseg.weights.hashing import state_hash
from uniseg.weights.seen import merge_data

KIND = "uniseg task"
ADDED = "added."


def base_hash(model: UniSegModel) -> str:
    """Of the tensors that the network was made with, whatever was added to it since."""
    return state_hash({name: tensor for name, tensor in model.state_dict().items() if not name.startswith(ADDED)})


def save_task(model: UniSegModel, name: str, path: str | Path) -> Path:
    """Write what the added task ``name`` brought; the file appears whole or not at all.

    Raises:
        InputError: no such task, or one that the network was made with.
    """
    position = model.tasks.position(name)
    if position < model.num_base:
        fix = "share the whole model: leave added_task=... out"
        raise InputError(f"task '{name}'", "a task that the network was made with", "one that was added to it", fix)
    index = position - model.num_base
    description = {
        "base": base_hash(model),
        "task": model.tasks[position].to_dict(),
        "added": model.config["added"][index],
        "data": model.origin.get("data", {}).get(name, {}),
        "uniseg": uniseg_version(),
    }
    return write_described(path, KIND, description, model.added[index].state_dict())


def load_tasks(model: UniSegModel, paths: Iterable[str | Path]) -> None:
    """Add the tasks of the files; what ``model`` could do before, it does bit for bit as before.

    Raises:
        InputError: no task file, one of another base, a task that the network has, tensors that do not fit; ``model`` is as it was.
    """
    files = {Path(path): read_described(path, KIND, "give a file that uniseg.export added_task=<name> wrote") for path in paths}
    if not files:
        return
    base, names = base_hash(model), list(model.tasks.names)
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
        model.extend([Task.from_dict(description["task"])], **description["added"])
        try:
            model.added[-1].load_state_dict(tensors)
        except RuntimeError as error:
            model.retract(len(model.tasks) - num_before)
            raise InputError(path, " ".join(str(error).split()), "the tensors of its own description", "fetch the file again") from error
    data = {description["task"]["name"]: description["data"] for description, _ in files.values()}
    model.origin = model.origin | {"data": merge_data(model.origin.get("data", {}), data)}
