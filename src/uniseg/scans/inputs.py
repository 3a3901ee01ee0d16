"""Scans to predict: a file, a DICOM series, a case of several channel files, a folder of these."""

import re
from collections.abc import Sequence
from pathlib import Path

from uniseg.errors import InputError
from uniseg.scans.case import Case
from uniseg.scans.io import ENDINGS, case_id_of

CHANNEL = re.compile(r"_(\d{4})$")


def find_inputs(given: str | Sequence[str]) -> list[Case]:
    """Cases without label.

    A list of files is one case, one file per modality. In a folder, files that differ in their ``_0000`` ending are the
    modalities of one case. A folder of DICOM slices is one image; within a folder each of them is a case of its own.

    Raises:
        InputError: nothing there, no image in a folder, a channel is missing between others, or two images have one name.
    """
    if not isinstance(given, str):
        return [_case([Path(path) for path in given])]
    path = Path(given)
    if not path.is_dir() or case_id_of(path) is not None:
        return [_case([path])]
    groups: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()):
        stem = case_id_of(file)
        if stem is not None:
            groups.setdefault(stem if file.is_dir() else CHANNEL.sub("", stem), []).append(file)
    if not groups:
        raise InputError(path, "no image", f"{', '.join(ENDINGS)} files or DICOM series", "check the folder")
    for stem, files in groups.items():
        if len(files) > 1 and not all(file.is_file() and CHANNEL.search(case_id_of(file)) for file in files):
            raise InputError(files[1], f"a second image named '{stem}' beside {files[0].name}", "one", "rename one, or move it away")
    return [_case(files) for files in groups.values()]


def _case(paths: Sequence[Path]) -> Case:
    stems = [_stem(path) for path in paths]
    numbers = [int(match.group(1)) for path, stem in zip(paths, stems, strict=True) if path.is_file() and (match := CHANNEL.search(stem))]
    if numbers and sorted(numbers) != list(range(sum(path.is_file() for path in paths))):
        raise InputError(paths[0], f"channels {sorted(numbers)}", f"0 to {max(numbers)}, each once", "restore the missing channel file")
    case_id = CHANNEL.sub("", stems[0]) if paths[0].is_file() else stems[0]
    return Case(case_id, case_id, tuple(paths), None)


def _stem(path: Path) -> str:
    if not path.exists():
        raise InputError(path, "no such file", "an image", "check input=")
    stem = case_id_of(path)
    if stem is None:
        raise InputError(path, "neither an image file nor a DICOM series", f"one of {', '.join(ENDINGS)}, or a folder of slices", "convert it")
    return stem
