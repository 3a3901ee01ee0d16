"""Reads what strangers may have written: whatever goes wrong there ends in one line that names the file."""

import os
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from uniseg.errors import InputError

START = 512  # bytes of a file that are looked at
ZIP, PICKLE, SAFETENSORS, UNKNOWN = "a zip archive", "a pickle", "a safetensors file", "data of an unknown kind"
# How the files begin that people give for weights by mistake.
KINDS = (
    (b"PK\x03\x04", ZIP),
    (b"\x80", PICKLE),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"NRRD", "an NRRD image"),
    (b"%PDF", "a PDF file"),
    (b"7z\xbc\xaf", "a 7z archive"),
)


@contextmanager
def reading(path: str | os.PathLike, expected: str, fix: str) -> Iterator[None]:
    """Wraps the interpretation of one file's content, and nothing else of ours.

    Args:
        expected: what the file should be, for the message.
        fix: what to do where it is not.

    Raises:
        InputError: whatever error comes up; the file's name is put in front of one that names something else.
    """
    try:
        yield
    except InputError as error:
        if error.where == str(path) or error.where.startswith((f"{path}:", f"{path}{os.sep}")):
            raise
        raise InputError(f"{path}: {error.where}", error.found, error.expected, fix) from error
    except OSError as error:
        raise InputError(path, error.strerror or str(error), expected, fix) from error
    except Exception as error:
        found = f"{type(error).__name__} ({' '.join(str(error).split())[:200]})"
        raise InputError(path, found, expected, fix) from error


def kind_of(path: Path) -> str:
    """What a file seems to be by its first bytes, for a message."""
    if path.is_dir():
        return "a folder"
    with path.open("rb") as file:
        start = file.read(START)
    if not start:
        return "an empty file"
    kind = next((kind for begins, kind in KINDS if start.startswith(begins)), None)
    if kind:
        return kind
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return SAFETENSORS
    if start[344:348] in (b"n+1\0", b"ni1\0"):
        return "a NIfTI image"
    if start[128:132] == b"DICM":
        return "a DICOM image"
    try:
        text = getincrementaldecoder("utf-8")().decode(start).lstrip().lower()  # the last letter may be cut
    except UnicodeDecodeError:
        return UNKNOWN
    if text.startswith(("<!doctype", "<html")):
        return "a web page"
    return "text" if all(character.isprintable() or character.isspace() for character in text) else UNKNOWN


def require_tensors(tensors: object, path: str | os.PathLike) -> dict[str, Tensor]:
    """``tensors``, if they map names to plain tensors of finite numbers, all of which lie in the file.

    Raises:
        InputError: another container, another kind of tensor, NaN or inf; the first is named.
    """
    fix = "give the file as it was written"
    if not isinstance(tensors, Mapping) or not tensors:
        raise InputError(path, f"{type(tensors).__name__} without tensors", "names with tensors", fix)
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise InputError(path, f"{name!r:.100} of type {type(tensor).__name__}", "a name with a tensor", fix)
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if (
            not dense
            or tensor.is_complex()
            or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        ):
            expected = "a dense tensor of real numbers, each in the file"
            raise InputError(
                path, f"'{name}' of shape {tuple(tensor.shape)}, {tensor.dtype}, {tensor.layout}", expected, fix
            )
        if not torch.isfinite(tensor).all():
            raise InputError(
                path, f"NaN or inf in '{name}'", "finite numbers", "give weights of a training that did not diverge"
            )
    return dict(tensors)
