"""Scans to predict: a file, a case of several channel files, a folder of either."""

import re
from collections.abc import Sequence
from pathlib import Path

from uniseg.errors import InputError
from uniseg.scans.case import Case
from uniseg.scans.io import case_id_of

CHANNEL = re.compile(r"_(\d{4})$")


def find_inputs(given: str | Sequence[str]) -> list[Case]:
    """Cases without label.

    A list of files is one case, one file per modality. In a folder, files that differ in their ``_0000`` ending are the
    modalities of one case.

    Raises:
        InputError: nothing there, no image in a folder, or a channel is missing between others.
    """
    if not isinstance(given, str):
        return [_case([Path(path) for path in given])]
    path = Path(given)
    if not path.is_dir():
        return [_case([path])]
    groups: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()):
        stem = case_id_of(file)
        if stem is not None:
            groups.setdefault(CHANNEL.sub("", stem), []).append(file)
    if not groups:
        raise InputError(path, "no image file", "NIfTI files", "check the folder")
    return [_case(files) for files in groups.values()]


def _case(paths: Sequence[Path]) -> Case:
    for path in paths:
        if not path.is_file():
            raise InputError(path, "no such file", "an image", "check input=")
    stem = case_id_of(paths[0])
    if stem is None:
        raise InputError(paths[0], "an unknown file ending", ".nii.gz or .nii", "convert the file")
    numbers = [int(m.group(1)) for p in paths if (m := CHANNEL.search(case_id_of(p) or ""))]
    if numbers and sorted(numbers) != list(range(len(paths))):
        raise InputError(paths[0], f"channels {sorted(numbers)}", f"0 to {max(numbers)}, each once", "restore the missing channel file")
    case_id = CHANNEL.sub("", stem)
    return Case(case_id, case_id, tuple(paths), None)
