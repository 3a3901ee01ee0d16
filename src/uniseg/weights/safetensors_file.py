"""One safetensors file with a description: what task files and deltas have in common."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from uniseg.errors import InputError
from uniseg.files import write_bytes
from uniseg.weights.description import require_plain
from uniseg.weights.hashing import state_hash
from uniseg.weights.reading import SAFETENSORS, kind_of, reading, require_tensors

FORMAT = 1
KEY = "uniseg"


def write_described(path: str | Path, kind: str, description: Mapping, tensors: Mapping[str, Tensor]) -> Path:
    """The file appears whole or not at all.

    Raises:
        OSError: with the name of the file; what was there is still there.
    """
    path = Path(path)
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    metadata = {"kind": kind, "format": FORMAT, "sha256": state_hash(plain), **description}
    # save_file straight to a full disk is an error without errno
    write_bytes(path, save(plain, {KEY: json.dumps(metadata)}))
    return path


def read_described(path: str | Path, kind: str, fields: Mapping[str, type], fix: str) -> tuple[dict, dict[str, Tensor]]:
    """The description, with ``fields`` of these types, and the tensors.

    Raises:
        InputError: the file is missing, of another kind or format, or damaged.
    """
    path, expected = Path(path), f"a file of kind '{kind}'"
    with reading(path, expected, fix):
        file_kind = kind_of(path)
        if file_kind != SAFETENSORS:
            raise InputError(path, file_kind, expected, fix)
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
        description = json.loads(text) if text else {}
        if not isinstance(description, dict) or description.get("kind") != kind:
            raise InputError(path, "a file of something else", expected, fix)
        if description.get("format") != FORMAT:
            fix_format = "use the version of uniseg that wrote it"
            raise InputError(path, f"format {description.get('format')!r:.60}", f"format {FORMAT}", fix_format)
        require_plain(description, path)
        wrong = [name for name, type_ in fields.items() if not isinstance(description.get(name), type_)]
        if wrong:
            raise InputError(path, f"no usable {', '.join(wrong)}", f"fields {', '.join(fields)}", fix)
        tensors = require_tensors(tensors, path) if tensors else {}
        if "sha256" in description and description["sha256"] != state_hash(tensors):  # older files have none
            raise InputError(path, "damaged tensors", "those of the SHA-256 that stands in it", "fetch the file again")
        return description, tensors
