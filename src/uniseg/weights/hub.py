"""Models by name on a hub: ``user/name`` -> the folder that Hugging Face's client keeps of it, and the way there."""

import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.folder import save_model

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILE_ENDINGS = (".ckpt", ".pt", ".pth", ".model", ".safetensors", ".bin")
PATIENCE_S = 10  # for a hub's first answer
# Of a folder, an ensemble, tasks beside a base: nothing that is unpickled.
FILES = ("*.json", "*.safetensors", "README.md")  # a star takes folders in too


def is_hub_name(path: str | os.PathLike) -> bool:
    """Whether this is ``user/name``, and no file or folder here, nor something in a folder that is here."""
    text = os.fspath(path)
    named = NAME.fullmatch(text) is not None and not text.lower().endswith(FILE_ENDINGS)
    return named and not os.path.lexists(path) and not os.path.lexists(text.partition("/")[0])


def local_path(path: str | os.PathLike) -> Path:
    """``path`` itself, or where a model of a hub was put, fetched where it is not there yet.

    Raises:
        InputError: the hub has no such model, or cannot be reached; its client is not installed.
    """
    if not is_hub_name(path):
        return Path(path)
    name = os.fspath(path)
    expected = "a checkpoint, a folder, or a model of a hub"
    if find_spec("huggingface_hub") is None:
        raise InputError(name, "No such file or directory", expected, _install("models of a hub"))
    try:
        return _fetch(name)
    except Exception as error:  # of the client, of the network, of the disk
        said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        reason = f"no such file, and the hub says {said}"
        raise InputError(name, reason, expected, "correct the name, or look at the connection") from error


def _fetch(name: str) -> Path:
    """The folder of the client's cache; where the hub does not answer, as it was fetched before.

    Raises:
        Exception: what the client says of a name or a network.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        HfApi().repo_info(name, timeout=PATIENCE_S)  # snapshot_download waits without an end
    except Exception as error:
        try:
            return Path(snapshot_download(name, allow_patterns=list(FILES), local_files_only=True))
        except Exception:
            raise error from None
    return Path(snapshot_download(name, allow_patterns=list(FILES)))


def push_to_hub(model: UniSegModel, name: str, *, private: bool = True, message: str = "Upload a uniseg model") -> str:
    """Put a model onto the hub as ``user/name``, with its card; returns its address there.

    Raises:
        InputError: another kind of name, or the client is not installed.
    """
    if not NAME.fullmatch(name):
        raise InputError(name, "a name without its user", "user/name", "give the name of your account before it")
    if find_spec("huggingface_hub") is None:
        raise InputError(name, "no package huggingface_hub", "the client of the hub", _install("the hub"))
    from huggingface_hub import HfApi

    api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        written = save_model(model, Path(folder) / "model")
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=str(written), commit_message=message))


def _install(what: str) -> str:
    return f"check the path, or pip install 'uniseg[hub]' for {what}"
