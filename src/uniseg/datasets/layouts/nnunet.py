"""The layout of nnU-Net v1, v2, the Medical Segmentation Decathlon, read in place."""

import os
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.datasets.channels import CHANNEL
from uniseg.datasets.layouts.base import LayoutCase
from uniseg.errors import InputError
from uniseg.files import read_json
from uniseg.images.files import ENDINGS, case_id_of

ROOT_HOLDS = "dataset.json, imagesTr, labelsTr"

REPAIR = "correct dataset.json"
CHANNEL_KEY = re.compile("[0-9]{1,4}")


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``imagesTr/<case>_0000.nii.gz`` or, for the Decathlon, one ``imagesTr/<case>.nii.gz`` (4-D for several
    modalities).

    Labels lie in ``labelsTr``. Cases of ``imagesTs`` that have a label in ``labelsTs`` are for test. Where
    ``dataset.json`` lists the files under ``dataset``, the list holds instead. Any format that can be read will do: the
    one that ``file_ending`` in ``dataset.json`` names, or else whatever lies there. An image without a label may be
    named by its full name or, where it is a channel, under its case's.

    Raises:
        InputError: ``dataset.json`` is missing, unreadable, names another number of channels or an unknown
            ``file_ending``, or a case has two labels.
    """
    values = read_description(root)
    channels = channel_names(root, values)
    if len(channels) != len(modalities):
        expected = f"{len(modalities)} for {list(modalities)}"
        raise InputError(
            root / "dataset.json", f"{len(channels)} channels {channels}", expected, "correct the task's modalities"
        )
    if "dataset" in values:
        yield from _listed(root, values["dataset"])
        return
    ending = values.get("file_ending")
    if ending not in (None, *ENDINGS):
        raise InputError(
            root / "dataset.json",
            f"file_ending {reprlib.repr(ending)}",
            f"one of {', '.join(ENDINGS)}",
            "convert the files",
        )
    endings = ENDINGS if ending is None else (ending,)
    yield from _folder(root / "imagesTr", root / "labelsTr", len(modalities), endings, None)
    yield from _folder(root / "imagesTs", root / "labelsTs", len(modalities), endings, "test")


def dataset_warnings(root: Path, cases: Sequence[Case]) -> Iterator[tuple[Path, str, str]]:
    """A ``numTraining`` that is not the number of training cases."""
    stated, counted = (
        read_description(root).get("numTraining"),
        sum(case.split != "test" and case.label_path is not None for case in cases),
    )
    if stated is not None and stated != counted:
        yield root / "dataset.json", f"numTraining {stated}", f"{counted}, the labelled cases that lie there"


def read_description(root: Path) -> Mapping:
    """The content of ``dataset.json``.

    Raises:
        InputError: ``dataset.json`` is missing or not a JSON object.
    """
    return read_json(root / "dataset.json", "a readable dataset.json, a JSON object", "restore or correct the file")


def channel_names(root: Path, description: Mapping) -> list[str]:
    """Names in channel order: ``channel_names`` in v2, ``modality`` before.

    Raises:
        InputError: neither is there, or it is no mapping from channel numbers.
    """
    channels = description.get("channel_names", description.get("modality"))
    numbers = [int(key) for key in channels if CHANNEL_KEY.fullmatch(key)] if isinstance(channels, Mapping) else []
    is_numbered = bool(numbers) and len(set(numbers)) == len(channels)
    if not is_numbered or not all(isinstance(name, str | int | float) for name in channels.values()):
        found = f"channel_names: {reprlib.repr(channels)}"
        raise InputError(root / "dataset.json", found, "a mapping from channel number to name", REPAIR)
    return [str(channels[key]) for key in sorted(channels, key=int)]


def _folder(
    images: Path, labels: Path, num_modalities: int, endings: Sequence[str], split: str | None
) -> Iterator[LayoutCase]:
    label_paths = _labels(labels, endings)
    for case_id, label in label_paths.items():
        yield LayoutCase(case_id, _images(images, case_id, num_modalities, endings), label, split=split)
    stems = {stem for path in images.glob("*") if path.is_file() and (stem := case_id_of(path))}
    cases = {match["case"] for stem in stems if (match := CHANNEL.fullmatch(stem))}
    for case_id in sorted((stems | cases) - label_paths.keys()):
        paths = _images(images, case_id, num_modalities, endings)
        if any(path.exists() for path in paths):
            yield LayoutCase(case_id, paths, None, split=split)


def _labels(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    labels: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        case_id = case_id_of(path) if path.is_file() and path.name.lower().endswith(tuple(endings)) else None
        if case_id in labels:
            raise InputError(
                path, f"a second label of case '{case_id}' beside {labels[case_id].name}", "one", "move one away"
            )
        if case_id is not None:
            labels[case_id] = path
    return labels


def _images(folder: Path, case_id: str, num_modalities: int, endings: Sequence[str]) -> tuple[Path, ...]:
    whole = _existing(folder, case_id, endings)
    return (
        (whole,)
        if whole.exists()
        else tuple(_existing(folder, f"{case_id}_{channel:04d}", endings) for channel in range(num_modalities))
    )


def _existing(folder: Path, stem: str, endings: Sequence[str]) -> Path:
    paths = [folder / f"{stem}{spelling}" for ending in endings for spelling in (ending, ending.upper())]
    return next((path for path in paths if path.exists()), paths[0])


def _listed(root: Path, dataset: object) -> Iterator[LayoutCase]:
    where = str(root / "dataset.json")
    if not isinstance(dataset, Mapping):
        raise InputError(where, f"dataset: {reprlib.repr(dataset)}", "a mapping from case to its files", REPAIR)
    for case_id, files in dataset.items():
        images, label = (files.get("images"), files.get("label")) if isinstance(files, Mapping) else (None, None)
        if not isinstance(images, list) or not images or not all(isinstance(path, str) for path in (*images, label)):
            found = f"case '{case_id:.60}': {reprlib.repr(files)}"
            raise InputError(where, found, "images, a list, with label, a path", REPAIR)
        paths = [root / os.path.expandvars(path) for path in (*images, label)]
        yield LayoutCase(case_id, tuple(paths[:-1]), paths[-1], where=where)
