"""A file of what one added task brought: shared where its scans cannot be, loaded onto the same base."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.models.added import AddedTask
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task, TaskSet
from uniseg.weights.assign import assign, without_numbers
from uniseg.weights.description import require_added, require_facts
from uniseg.weights.hashing import state_hash
from uniseg.weights.reading import reading
from uniseg.weights.safetensors_file import read_described, write_described
from uniseg.weights.seen import merge_data

KIND = "uniseg task"
FIELDS = {"base": str, "task": dict, "added": dict, "data": dict}
GIVE = "give a file that uniseg.export added_task=<name> wrote"
ADDED = "added."


@dataclass(frozen=True)
class _NewTask:
    """A task with its weights, the width of its adapters, and what is known of its data."""

    task: Task
    weights: AddedTask
    adapter_channels: int
    facts: dict


def base_hash(model: UniSegModel) -> str:
    """Of the tensors that the network was made with, whatever was added to it since."""
    return state_hash({name: tensor for name, tensor in model.state_dict().items() if not name.startswith(ADDED)})


def save_task(model: UniSegModel, name: str, path: str | Path) -> Path:
    """Write what the added task ``name`` brought; the file appears whole or not at all.

    Raises:
        InputError: the network has no such task, or was made with it.
    """
    task_index = model.tasks.position(name)
    if task_index < model.num_base:
        fix = "share the whole model: leave added_task=... out"
        raise InputError(f"task '{name}'", "a task that the network was made with", "one that was added to it", fix)
    index = task_index - model.num_base
    description = {
        "base": base_hash(model),
        "task": model.tasks[task_index].to_dict(),
        "added": model.config["added"][index],
        "data": dict(model.provenance.data.get(name, {})),
        "uniseg": uniseg_version(),
    }
    return write_described(path, KIND, description, model.added[index].state_dict())


def read_task_file(path: str | Path) -> tuple[Task, dict]:
    """The task of a file with the facts on its data, without its weights.

    Raises:
        InputError: no task file.
    """
    description, _ = read_described(path, KIND, FIELDS, GIVE)
    with reading(path, "a task that this version wrote", "fetch the file again"):
        task = Task.from_dict(description["task"])
        return task, require_facts(description["data"], task.name, path)


def load_tasks(model: UniSegModel, paths: Iterable[str | Path]) -> None:
    """Add the tasks of the files; what ``model`` could do before, it does bit for bit as before.

    Raises:
        InputError: a file is no task file, or of another base; the network has its task; tensors do not fit. ``model``
            is as it was.
    """
    files = {Path(path): read_described(path, KIND, FIELDS, GIVE) for path in paths}
    if not files:
        return
    base, names = base_hash(model), list(model.tasks.names)
    new = []
    for path, (description, tensors) in files.items():
        if description["base"] != base:
            found = f"a task of the network {description['base'][:16]}"
            expected = f"one of {base[:16]}, which is loaded"
            raise InputError(path, found, expected, "load the network that the task was added to")
        new.append(_read_task(model, description, tensors, path))
        name = new[-1].task.name
        if name in names:
            found = f"task '{name}', which the network has"
            raise InputError(path, found, "a task of another name", "leave the file out")
        names.append(name)
    TaskSet([*model.tasks, *(each.task for each in new)])
    for each in new:
        model.append_added(each.task, each.weights.to(model.device), adapter_channels=each.adapter_channels)
    data = {each.task.name: each.facts for each in new}
    model.provenance = replace(model.provenance, data=merge_data(model.provenance.data, data))


def _read_task(model: UniSegModel, description: Mapping, tensors: Mapping[str, Tensor], path: Path) -> _NewTask:
    """The task of a file, not yet added to ``model``."""
    with reading(path, "a task that this version wrote", "fetch the file again"):
        task = Task.from_dict(description["task"])
        facts = require_facts(description["data"], task.name, path)
        adapter_channels = require_added(description["added"], path)["adapter_channels"]
        with without_numbers():
            weights = model.make_added(task, adapter_channels=adapter_channels)
    assign(weights, tensors, path, "fetch the file again")
    return _NewTask(task, weights, adapter_channels, facts)
