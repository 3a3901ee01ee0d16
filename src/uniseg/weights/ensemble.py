"""Networks that answer together, such as the folds of a cross-validation: several checkpoints, or one folder that holds them."""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.checkpoint import file_hash, load_model
from uniseg.weights.shared import save_model

MEMBERS = "ensemble.json"
KIND = "uniseg ensemble"


def load_ensemble(paths: str | Path | Sequence[str | Path], task_files: Iterable[str | Path] = ()) -> list[UniSegModel]:
    """One network per checkpoint or model folder; a folder of ``save_ensemble`` stands for its members.

    Raises:
        InputError: as of ``load_model``; a malformed ensemble folder.
    """
    task_files = list(task_files)
    return [load_model(path, task_files) for path in members(paths)]


def save_ensemble(models: Sequence[UniSegModel], folder: str | Path) -> Path:
    """A folder with one model folder per network; it appears complete or not at all.

    Raises:
        InputError: there is something at ``folder``.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(folder, "a folder or file that exists", "a new folder", "choose another output")
    part = folder.with_name(f".part{os.getpid()}_{folder.name}")
    names = [f"member{number}" for number in range(len(models))]
    try:
        for name, model in zip(names, models, strict=True):
            save_model(model, part / name)
        (part / MEMBERS).write_text(json.dumps({"kind": KIND, "format": 1, "members": names}, indent=1))
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def members(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Checkpoints and model folders behind ``paths``.

    Raises:
        InputError: none, or a malformed ensemble folder.
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    found = [own for path in given for own in (_listed(path) if (path / MEMBERS).is_file() else [path])]
    if not found:
        raise InputError("checkpoint", "an empty list", "one checkpoint or more", "give checkpoint=[a,b]")
    return found


def _listed(folder: Path) -> list[Path]:
    path = folder / MEMBERS
    try:
        content = json.loads(path.read_bytes())
        if content["kind"] != KIND or content["format"] != 1:
            raise ValueError(f"kind {content['kind']}, format {content['format']}")
        return [folder / Path(name).name for name in content["members"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"{type(error).__name__}: {error}", "the list of an ensemble's members", "fetch the folder again") from error


def ensemble_hash(paths: str | Path | Sequence[str | Path], task_files: Iterable[str | Path] = ()) -> str:
    """Which weights made a prediction: the hashes of all members, then of task files."""
    *others, last = members(paths)
    return "+".join([*(file_hash(path) for path in others), file_hash(last, task_files)])
