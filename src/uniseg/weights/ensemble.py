"""Networks that predict together, such as the folds of a cross-validation: several checkpoints or one folder."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from uniseg.errors import InputError
from uniseg.files import new_folder, read_json, require_file_name, write_bytes, write_json
from uniseg.models.pretexts import without_pretexts
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.checkpoint import load_model
from uniseg.weights.folder import save_model
from uniseg.weights.hashing import checkpoint_hash
from uniseg.weights.hub import local_path

MEMBERS = "ensemble.json"
KIND = "uniseg ensemble"
FIX = "fetch the folder again"
FORMAT = 1
POSTPROCESSING = "postprocessing.json"  # beside the list, of its members together


def load_ensemble(
    paths: str | Path | Sequence[str | Path],
    task_files: Iterable[str | Path] = (),
    site_file: str | Path | None = None,
) -> list[UniSegModel]:
    """One network per checkpoint or model folder, without its pretext tasks; a folder of ``save_ensemble`` stands for
    its members.

    Raises:
        InputError: as of ``load_model`` and ``without_pretexts``; the list of an ensemble folder is malformed.
    """
    task_files = list(task_files)
    return [without_pretexts(load_model(path, task_files, site_file=site_file)) for path in members(paths)]


def save_ensemble(
    models: Sequence[UniSegModel], folder: str | Path, names: Sequence[str] = (), postprocessing: bytes | None = None
) -> Path:
    """A folder with one model folder per network; it appears complete or not at all.

    Args:
        names: of the model folders; empty: member0, member1, ...
        postprocessing: content of the file that prediction with this ensemble applies.

    Raises:
        InputError: ``folder`` exists.
        OSError: with the name of the folder.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(folder, "a folder or file that exists", "a new folder", "choose another output")
    names = list(names) or [f"member{number}" for number in range(len(models))]
    with new_folder(folder) as part:
        for name, model in zip(names, models, strict=True):
            save_model(model, part / name)
        brings = {} if postprocessing is None else {"postprocessing": POSTPROCESSING}
        if postprocessing is not None:
            write_bytes(part / POSTPROCESSING, postprocessing)
        write_json(part / MEMBERS, {"kind": KIND, "format": FORMAT, "members": names, **brings})
    return folder


def postprocessing_of(paths: str | Path | Sequence[str | Path]) -> Path | None:
    """The file that an ensemble's folder names for all that it predicts; None for checkpoints and other folders.

    Raises:
        InputError: the list of the ensemble is malformed.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    folder = local_path(given[0]) if len(given) == 1 else None
    if folder is None or not (folder / MEMBERS).is_file():
        return None
    name = _read_list(folder).get("postprocessing")
    return None if name is None else folder / require_file_name(folder / MEMBERS, "postprocessing", name)


def members(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The checkpoints and model folders that ``paths`` stand for.

    Raises:
        InputError: ``paths`` is empty, or the list of an ensemble folder is malformed.
    """
    given = [local_path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    paths = [member for path in given for member in (_listed(path) if (path / MEMBERS).is_file() else [path])]
    if not paths:
        raise InputError("checkpoint", "an empty list", "one checkpoint or more", "give checkpoint=[a,b]")
    return paths


def _read_list(folder: Path) -> dict:
    path, expected = folder / MEMBERS, "the list of an ensemble's members"
    content = read_json(path, expected, FIX)
    if content.get("kind") != KIND or content.get("format") != FORMAT:
        raise InputError(path, f"kind {content.get('kind')!r:.60}, format {content.get('format')!r:.60}", expected, FIX)
    return content


def _listed(folder: Path) -> list[Path]:
    path, names = folder / MEMBERS, _read_list(folder).get("members")
    if not isinstance(names, list) or not names:
        raise InputError(path, f"members {names!r:.60}", "folders beside the list", FIX)
    paths = [folder / require_file_name(path, "member", name) for name in names]
    if len(set(paths)) < len(paths):
        raise InputError(path, f"members {names!r:.60}", "different folders beside the list", FIX)
    return paths


def ensemble_hash(
    paths: str | Path | Sequence[str | Path],
    task_files: Iterable[str | Path] = (),
    site_file: str | Path | None = None,
) -> str:
    """Which weights made a prediction: the hashes of all members, then of task files, then of the site file."""
    *others, last = members(paths)
    hashes = [*(checkpoint_hash(path) for path in others), checkpoint_hash(last, task_files)]
    return "+".join([*hashes, *([] if site_file is None else [checkpoint_hash(site_file)])])
