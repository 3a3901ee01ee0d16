"""Scans to predict: a file, a DICOM series, a case of several channel files, a folder of these; label maps to score."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.datasets.channels import group_channels
from uniseg.errors import InputError
from uniseg.images.dicom import choose_series
from uniseg.images.dicom_file import is_dicom
from uniseg.images.files import ENDINGS, case_id_of

Given = str | os.PathLike | Sequence[str | os.PathLike]
MOST_NAMED = 3
ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar")  # in which archives hand out series


def find_inputs(given: Given, num_channels: Collection[int] | None = None, series: str | None = None) -> list[Case]:
    """Cases without label.

    A list of files is one case, one file per modality. In a folder, files are the channels of one case as
    ``group_channels`` says. A folder of DICOM slices is one image; within a folder each of them is a case of its own.

    Args:
        num_channels: the numbers of channels of the tasks; None: unknown.
        series: number or UID of the one in a folder of DICOM slices.

    Raises:
        InputError: nothing there, no image in a folder, two images have one name, or numbered files may be the channels
            of one case as well as scans of their own.
    """
    if not isinstance(given, (str, os.PathLike)):
        if series is not None:
            raise InputError("series", f"'{series}' with a list of files", "one folder as input=", "leave series= out")
        return [_listed([Path(path) for path in given])]
    path = Path(given)
    if series is not None:
        file, number = choose_series(path, series)
        return [_case(f"{Path(os.path.abspath(path)).name}_series{number}", [file])]
    if not path.is_dir() or case_id_of(path) is not None:
        return [_case(case_id, files) for case_id, files in group_channels({_stem(path): path}, num_channels).items()]
    groups = group_channels(find_images(path), num_channels)
    for files in groups.values():
        if len(files) > 1 and num_channels is not None and 1 in num_channels:
            count = len(files)
            found = f"{files[0].name} to {files[-1].name}, which may be {count} scans or the {count} channels of one"
            fix = f"add modality=[...] with {count} names for channels, with one for scans, or tasks=[...]"
            raise InputError(path, found, "one way to read them", fix)
    return [_case(case_id, files) for case_id, files in groups.items()]


def require_inputs(given: Given, series: str | None = None) -> None:
    """Something is there, at a glance: names are compared, and series chosen, by ``find_inputs``.

    Raises:
        InputError: nothing there, or a folder without an image.
    """
    paths = [Path(given)] if isinstance(given, (str, os.PathLike)) else [Path(path) for path in given]
    for path in paths:
        if not path.exists():
            raise _missing(path)
        if path.is_dir() and series is None and case_id_of(path) is None and not any(map(case_id_of, path.iterdir())):
            find_images(path)  # says what is there instead


def find_images(folder: str | os.PathLike) -> dict[str, Path]:
    """Name without ending -> image file, or folder of DICOM slices; sorted. A path of an image stands for itself.

    Raises:
        InputError: none, or two of one name.
    """
    folder = Path(folder)
    images: dict[str, Path] = {}
    if not folder.is_dir():
        return {_stem(folder): folder}
    for path in sorted(folder.iterdir()):
        stem = case_id_of(path)
        if stem in images:
            raise InputError(
                path, f"a second image named '{stem}' beside {images[stem].name}", "one", "rename one, or move it away"
            )
        if stem is not None:
            images[stem] = path
    if not images:
        there = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())[:MOST_NAMED]
        found = f"no image ({', '.join(there)}{', ...' if len(there) == MOST_NAMED else ''})" if there else "no image"
        raise InputError(folder, found, f"{', '.join(ENDINGS)} files or DICOM series", "check the folder")
    return images


def passed_over(given: Given) -> list[str]:
    """Names of visible files in a folder that are neither images nor JSON or voxel files that belong to one."""
    folder = Path(given) if isinstance(given, (str, os.PathLike)) else None
    if folder is None or not folder.is_dir() or case_id_of(folder) is not None:
        return []
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    stems = {stem for path in files if (stem := case_id_of(path)) is not None}
    return [
        path.name
        for path in files
        if case_id_of(path) is None and path.name.partition(".")[0] not in stems and path.stem not in stems
    ]


def _listed(paths: Sequence[Path]) -> Case:
    stems = [_stem(path) for path in paths]
    if not paths:
        raise InputError("input", "an empty list", "one file per modality", "correct input=")
    groups = group_channels(dict(zip(stems, paths, strict=True)), [len(paths)])
    return _case(next(iter(groups)) if len(groups) == 1 else stems[0], paths)


def _case(case_id: str, paths: Sequence[Path]) -> Case:
    return Case(case_id, case_id, tuple(paths), None)


def _stem(path: Path) -> str:
    if not path.exists():
        raise _missing(path)
    stem = case_id_of(path)
    if stem is None and path.is_file() and is_dicom(path):
        return path.stem
    if stem is None:
        raise InputError(
            path,
            "neither an image file nor a DICOM series",
            f"one of {', '.join(ENDINGS)}, or a folder of slices",
            "unpack it and give the folder" if path.suffix.lower() in ARCHIVES else "convert it",
        )
    return stem


def _missing(path: Path) -> InputError:
    return InputError(path, "no such file", "an image", "check input=")
