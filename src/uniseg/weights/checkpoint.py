"""Checkpoints that describe themselves: a model comes back without configuration or data."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from torch import Tensor

from uniseg.errors import InputError
from uniseg.models.provenance import Provenance
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.assign import assign, without_numbers
from uniseg.weights.build import Model, build_model
from uniseg.weights.delta import read_delta
from uniseg.weights.description import require_config, require_plain, require_provenance
from uniseg.weights.folder import StoredModel, read_folder
from uniseg.weights.hashing import state_hash
from uniseg.weights.hub import local_path
from uniseg.weights.pickled import read_pickled
from uniseg.weights.reading import reading, require_tensors
from uniseg.weights.site_file import apply_site
from uniseg.weights.task_file import load_tasks

KEY = "uniseg"
FORMAT = 2
PROVENANCE = tuple(each.name for each in fields(Provenance))
PREFIX = "model."  # of the network's tensors in a training checkpoint
EXPECTED, FIX = "a checkpoint of uniseg.train", "give checkpoint=<run>/checkpoints/last.ckpt"


def describe_model(model: UniSegModel, state: Mapping[str, Tensor]) -> dict:
    """Plain containers that, with the tensors, rebuild ``model``;

    ``state`` are those tensors, as the file holds them.
    """
    return {
        "format": FORMAT,
        "tasks": model.tasks.to_list(),
        "model": model.config,
        "sha256": state_hash(_of_network(state)),
    }


def _of_network(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if str(name).startswith(PREFIX)}


def load_model(
    path: str | os.PathLike,
    task_files: Iterable[str | Path] = (),
    *,
    base: str | Path | None = None,
    site_file: str | Path | None = None,
    cls: type[Model] = UniSegModel,  # type: ignore[assignment]
) -> Model:
    """The network of a training checkpoint or of a folder of ``save_model``, in eval mode on the CPU.

    Args:
        path: of either, or ``user/name`` of a hub; of a delta where ``base`` is given.
        task_files: of tasks that were added to this network; they come after those that it has.
        base: checkpoint or folder that the delta was written against.
        site_file: of a site that the network was adapted to (``uniseg.adapt``).
        cls: what is built.

    Raises:
        InputError: the file cannot be read, is not one of ours, or its tensors do not fit its description; a task file,
            a delta or the site file does not fit it.
    """
    path = local_path(path)
    stored = _read(path) if base is None else read_delta(path, _read(base).state)
    model = _restore(stored, path, cls)
    load_tasks(model, task_files)
    if site_file is not None:
        apply_site(model, site_file)
    return model.eval()


def model_of_checkpoint(content: Mapping, path: str | Path) -> UniSegModel:
    """The network of what ``read_checkpoint`` gave for ``path``.

    Raises:
        InputError: as of ``load_model``.
    """
    return _restore(_stored(content), path, UniSegModel)


def _read(path: str | Path) -> StoredModel:
    return read_folder(path) if Path(path).is_dir() else _stored(read_checkpoint(path))


def _restore(stored: StoredModel, path: str | Path, cls: type[Model]) -> Model:
    fix = "give the original file, or install the package of the part that it names"
    with reading(path, "a description that this version wrote", fix):
        config, provenance = require_config(stored.config, path), require_provenance(stored.provenance, path)
        with without_numbers():
            model = build_model(TaskSet.from_list(stored.tasks), config, cls)
    assign(model, stored.state, path, "give the original file")
    model.provenance = provenance
    return model


def _stored(content: Mapping) -> StoredModel:
    description = content[KEY]
    state = {name.removeprefix(PREFIX): tensor for name, tensor in _of_network(content["state_dict"]).items()}
    provenance = {key: description[key] for key in PROVENANCE if key in description}
    return StoredModel(description["tasks"], description["model"], provenance, state)


def read_checkpoint(path: str | Path) -> dict:
    """A training checkpoint as plain containers and tensors; nothing else is unpickled.

    Raises:
        InputError: the file is missing, damaged or not one of ours, or its weights are NaN or inf.
    """
    content = read_pickled(path, EXPECTED, FIX)
    with reading(path, EXPECTED, FIX):
        description, state = content.get(KEY), content.get("state_dict")
        if not isinstance(description, Mapping) or not isinstance(state, Mapping):
            raise InputError(path, "a file of something else", EXPECTED, FIX)
        require_plain(description, path)
        if description["format"] != FORMAT:
            raise InputError(
                path, f"format {description['format']}", f"format {FORMAT}", "use the version of uniseg that wrote it"
            )
        if not isinstance(description.get("tasks"), list) or not isinstance(description.get("model"), Mapping):
            raise InputError(
                path, "a description without tasks or model", "one that this version wrote", "give the original file"
            )
        tensors = require_tensors(_of_network(state), path)
        if "sha256" in description and description["sha256"] != state_hash(tensors):  # older ones have none
            raise InputError(
                path, "damaged tensors", "those of the SHA-256 that stands in it", "give the original file"
            )
        if not isinstance(content.get("global_step", 0), int):
            raise InputError(path, f"global_step {content['global_step']!r:.60}", "a number of steps", FIX)
        return content
