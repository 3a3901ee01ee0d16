"""Folders in which a model is shared: safetensors, JSON, model card."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from uniseg.errors import InputError
from uniseg.files import new_folder, read_json, write_bytes, write_json
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.card import model_card
from uniseg.weights.description import require_plain
from uniseg.weights.hashing import TENSORS
from uniseg.weights.reading import reading, require_tensors

FORMAT = 1
DESCRIPTION, CARD = "model.json", "README.md"
KIND = "uniseg model"
KEYS = {"kind": str, "format": int, "tasks": list, "config": dict, "origin": dict, "sha256": str}
GIVE = "give a folder that uniseg.export wrote"


@dataclass(frozen=True)
class StoredModel:
    """What rebuilds a model: plain containers with the tensors of its state dict.

    Examples:
        >>> StoredModel(tasks=[], config={}, provenance={"commit": "a1b2c3"}, state={}).provenance["commit"]
        'a1b2c3'
    """

    tasks: list[dict]
    config: dict
    provenance: dict
    state: dict[str, Tensor]


def save_model(model: UniSegModel, folder: str | Path) -> Path:
    """Write a folder that ``load_model`` takes; it appears complete or not at all, instead of a model folder that was
    there.

    Raises:
        InputError: ``folder`` holds something else.
        OSError: with the name of the folder; what was there is still there.
    """
    folder = Path(folder)
    _refuse_other(folder)
    tensors = save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()})
    description = {
        "kind": KIND,
        "format": FORMAT,
        "tasks": model.tasks.to_list(),
        "config": model.config,
        "origin": model.provenance.to_dict(),
        "sha256": hashlib.sha256(tensors).hexdigest(),
    }
    with new_folder(folder) as part:
        for name, content in ((TENSORS, tensors), (CARD, model_card(model).encode())):
            write_bytes(part / name, content)
        write_json(part / DESCRIPTION, description)
    return folder


def read_folder(folder: str | Path) -> StoredModel:
    """Read what ``save_model`` wrote.

    Raises:
        InputError: it is no such folder, has a newer format, or its tensors have changed since.
    """
    folder = Path(folder)
    content = _read_description(folder / DESCRIPTION)
    tensors = folder / TENSORS
    with reading(tensors, "the tensors of the model", GIVE):
        data = tensors.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != content["sha256"]:
            expected = f"{content['sha256'][:16]}, as {DESCRIPTION} says"
            raise InputError(tensors, f"SHA-256 {digest[:16]}, {len(data)} bytes", expected, "fetch the folder again")
    with reading(tensors, "a complete safetensors file", "fetch the folder again"):
        state = require_tensors(load(data), tensors)
    return StoredModel(content["tasks"], content["config"], content["origin"], state)


def _read_description(path: Path) -> dict:
    content = read_json(path, "the description of a model", GIVE)
    if content.get("kind") != KIND:
        raise InputError(path, "a file of something else", "the description of a model", GIVE)
    if content.get("format") != FORMAT:
        raise InputError(
            path, f"format {content.get('format')!r:.60}", f"format {FORMAT}", "use the version of uniseg that wrote it"
        )
    wrong = [key for key, kind in KEYS.items() if not isinstance(content.get(key), kind)]
    if wrong:
        raise InputError(path, f"no usable {', '.join(wrong)}", f"keys {', '.join(KEYS)}", GIVE)
    require_plain(content, path)
    return content


def _refuse_other(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        _read_description(folder / DESCRIPTION)
    except InputError as error:
        raise InputError(
            folder, "something that is no model folder", "a new folder, or an earlier export", "choose another output"
        ) from error
    if any(path.name not in (TENSORS, DESCRIPTION, CARD) for path in folder.iterdir()):
        raise InputError(
            folder,
            "a model folder with other files",
            "a new folder, or an earlier export",
            "move the other files or choose another output",
        )
