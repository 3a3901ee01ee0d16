"""Which image files make up a case: nnU-Net's ``_0000`` endings are channels only where a task has that many."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>[0-9]{4})")


def group_channels(images: Mapping[str, Path], num_channels: Collection[int] | None) -> dict[str, list[Path]]:
    """Case id -> image files in the order of their channels.

    ``<case>_0000`` to ``<case>_{n-1:04d}`` are one case of n channels if a task has n channels and no other number
    follows ``<case>``; every other image is a case under its full name: ``pancreas_0000`` to ``_0002`` are three
    cases of a one-channel task, ``amos_0001`` with ``amos_0004`` are two cases always. Folders of slices are never
    channels, nor are files beside an image called ``<case>``.

    Args:
        images: name without ending -> file or folder of DICOM slices.
        num_channels: the numbers of channels of the tasks. None: unknown; then consecutive numbers from 0
            are channels, and a single ``<case>_0000`` is one if all images have such endings.

    Example:
        >>> group_channels({"a_0000": Path("a_0000.nii"), "a_0001": Path("a_0001.nii")}, [2])
        {'a': [PosixPath('a_0000.nii'), PosixPath('a_0001.nii')]}
    """
    endings = {stem: match for stem, path in images.items() if not path.is_dir() and (match := CHANNEL.fullmatch(stem))}
    numbers: dict[str, set[int]] = {}
    for match in endings.values():
        numbers.setdefault(match["case"], set()).add(int(match["number"]))
    if num_channels is None:
        num_channels = range(1 if len(endings) == len(images) else 2, 1 + len(images))
    complete = {
        case
        for case, present in numbers.items()
        if present == set(range(len(present))) and len(present) in num_channels and case not in images
    }
    cases: dict[str, list[Path]] = {}
    for stem, path in sorted(images.items()):
        match = endings.get(stem)
        cases.setdefault(match["case"] if match and match["case"] in complete else stem, []).append(path)
    return cases
