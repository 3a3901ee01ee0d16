"""One safetensors file with a description: what task files and deltas have in common."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from uniseg.errors import InputError
from uniseg.files import write_atomically

FORMAT = 1
KEY = "uniseg"


def write_described(path: str | Path, kind: str, description: Mapping, tensors: Mapping[str, Tensor]) -> Path:
    """The file appears whole or not at all."""
    path = Path(path)
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with write_atomically(path) as part:
        save_file(plain, part, {KEY: json.dumps({"kind": kind, "format": FORMAT, **description})})
    return path


def read_described(path: str | Path, kind: str, fix: str) -> tuple[dict, dict[str, Tensor]]:
    """
    Raises:
        InputError: missing, not of this kind, of another format, truncated.
    """
    expected = f"a file of kind '{kind}'"
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except OSError as error:
        raise InputError(path, error.strerror or "no such file", expected, fix) from error
    except SafetensorError as error:
        raise InputError(path, " ".join(str(error).split()), expected, fix) from error
    description = json.loads(text) if text else {}
    if description.get("kind") != kind:
        raise InputError(path, "a file of something else", expected, fix)
    if description["format"] != FORMAT:
        raise InputError(path, f"format {description['format']}", f"format {FORMAT}", "use the version of uniseg that wrote it")
    return description, tensors
