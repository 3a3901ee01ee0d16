"""Folders in which a model is shared: safetensors, JSON, model card."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.card import model_card

FORMAT = 1
TENSORS, DESCRIPTION, CARD = "model.safetensors", "model.json", "README.md"
KIND = "uniseg model"
KEYS = {"kind": str, "format": int, "tasks": list, "config": dict, "origin": dict, "sha256": str}
GIVE = "give a folder that uniseg.export wrote"


@dataclass(frozen=True)
class Stored:
    """What rebuilds a model: plain containers with the tensors of its state dict."""

    tasks: list[dict]
    config: dict
    origin: dict
    state: dict[str, Tensor]


def save_model(model: UniSegModel, folder: str | Path) -> Path:
    """Write a folder that ``load_model`` takes; it appears complete or not at all, in place of a model folder that was there.

    Raises:
        InputError: there is something else at ``folder``.
    """
    folder = Path(folder)
    _refuse_other(folder)
    tensors = save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()})
    description = {
        "kind": KIND,
        "format": FORMAT,
        "tasks": model.tasks.to_list(),
        "config": model.config,
        "origin": model.origin,
        "sha256": hashlib.sha256(tensors).hexdigest(),
    }
    files = {TENSORS: tensors, DESCRIPTION: json.dumps(description, indent=1).encode(), CARD: model_card(model).encode()}
    part, old = (folder.with_name(f".{what}{os.getpid()}_{folder.name}") for what in ("part", "old"))
    part.mkdir(parents=True)
    try:
        for name, content in files.items():
            _write(part / name, content)
        if folder.exists():
            os.replace(folder, old)  # a folder that is not empty cannot be replaced
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def read_folder(folder: str | Path) -> Stored:
    """
    Raises:
        InputError: not such a folder, of a newer format, or its tensors are not those that it was written with.
    """
    folder = Path(folder)
    content = _read_description(folder / DESCRIPTION)
    tensors = folder / TENSORS
    try:
        data = tensors.read_bytes()
    except OSError as error:
        raise InputError(tensors, error.strerror, "the tensors of the model", GIVE) from error
    found = hashlib.sha256(data).hexdigest()
    if found != content["sha256"]:
        raise InputError(tensors, f"SHA-256 {found[:16]}, {len(data)} bytes", f"{content['sha256'][:16]}, as {DESCRIPTION} says", "fetch the folder again")
    try:
        state = load(data)
    except SafetensorError as error:
        raise InputError(tensors, " ".join(str(error).split()), "a complete safetensors file", "fetch the folder again") from error
    return Stored(content["tasks"], content["config"], content["origin"], state)


def _read_description(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(path, error.strerror, "the description of a model", GIVE) from error
    except ValueError as error:
        raise InputError(path, f"no JSON: {error}", "the description of a model", GIVE) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise InputError(path, "a file of something else", "the description of a model", GIVE)
    if content.get("format") != FORMAT:
        raise InputError(path, f"format {content.get('format')}", f"format {FORMAT}", "use the version of uniseg that wrote it")
    wrong = [key for key, kind in KEYS.items() if not isinstance(content.get(key), kind)]
    if wrong:
        raise InputError(path, f"no usable {', '.join(wrong)}", f"keys {', '.join(KEYS)}", GIVE)
    return content


def _refuse_other(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        _read_description(folder / DESCRIPTION)
    except InputError as error:
        raise InputError(folder, "something that is no model folder", "a new folder, or an earlier export", "choose another output") from error
    if any(path.name not in (TENSORS, DESCRIPTION, CARD) for path in folder.iterdir()):
        raise InputError(folder, "a model folder with other files", "a new folder, or an earlier export", "move the other files or choose another output")


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
