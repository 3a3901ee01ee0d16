"""A file of what one added task brought: shared where its scans cannot be, loaded onto the same base."""

from collections.abc import Iterable
from pathlib import Path

from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.models.added import AddedTask
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task
from uniseg.weights.assign import assign, without_numbers
from uniseg.weights.described import read_described, write_described
from uniseg.weights.description import require_added, require_facts
from uniseg.weights.hashing import state_hash
from uniseg.weights.reading import reading
from uniseg.weights.seen import merge_data

KIND = "uniseg task"
FIELDS = {"base": str, "task": dict, "added": dict, "data": dict}
GIVE = "give a file that uniseg.export added_task=<name> wrote"
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
    files = {Path(path): read_described(path, KIND, FIELDS, GIVE) for path in paths}
    if not files:
        return
    base, names = base_hash(model), list(model.tasks.names)
    new: list[tuple[Task, AddedTask, int]] = []
    data = {}
    for path, (description, tensors) in files.items():
        if description["base"] != base:
            found = f"a task of the network {description['base'][:16]}"
            raise InputError(path, found, f"one of {base[:16]}, which is loaded", "load the network that the task was added to")
        with reading(path, "a task that this version wrote", "fetch the file again"):
            task, adapter_channels = Task.from_dict(description["task"]), require_added(description["added"], path)["adapter_channels"]
            data[task.name] = require_facts(description["data"], task.name, path)
            with without_numbers():
                added = model.make_added(task, adapter_channels=adapter_channels)
        if task.name in names:
            raise InputError(path, f"task '{task.name}', which the network has", "a task of another name", "leave the file out")
        assign(added, tensors, path, "fetch the file again")
        names.append(task.name)
        new.append((task, added, adapter_channels))
    for task, added, adapter_channels in new:
        model.append_added(task, added.to(model.device), adapter_channels=adapter_channels)
    model.origin = model.origin | {"data": merge_data(model.origin.get("data", {}), data)}
