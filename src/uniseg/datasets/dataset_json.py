"""What nnU-Net's ``dataset.json`` says about a task, in the words of a task file."""

import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from uniseg.datasets.layouts.nnunet import REPAIR, channel_names, read_description
from uniseg.errors import InputError, printable
from uniseg.images.files import ENDINGS
from uniseg.task import LARGEST_LABEL

MISSING = "???"  # is no value in a configuration
NORMALIZATION = {"ct": "fingerprint"}  # by nnU-Net's channel name in lower case; any other name: zscore
WHOLE = re.compile(r"-?[0-9]{1,18}(\.0+)?")
UNKNOWN_NORMALIZATION = ("nonorm", "rescale_to_0_1", "rgb_to_0_1")


@dataclass(frozen=True)
class Labels:
    """The classes of a dataset.

    Attributes:
        classes: background first.
        label_map: label value in the file -> class index, where they differ.
        regions: class -> label values, where classes overlap.
        ignore: label value of voxels that do not count.

    Examples:
        >>> read_labels(Path("dataset.json"), {"background": 0, "liver": 1, "tumour": 3})
        Labels(classes=('background', 'liver', 'tumour'), label_map={1: 1, 3: 2}, regions={}, ignore=None)
    """

    classes: tuple[str, ...]
    label_map: Mapping[int, int] = field(default_factory=dict)
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore: int | None = None


@dataclass(frozen=True)
class Description:
    """What a task file takes from a ``dataset.json``; ``normalization`` is a mode per modality.

    Examples:
        >>> labels = Labels(("background", "liver"))
        >>> Description(("CT",), ("fingerprint",), labels, "", "CC0").modalities
        ('CT',)
    """

    modalities: tuple[str, ...]
    normalization: tuple[str, ...]
    labels: Labels
    homepage: str
    licence: str


def describe(root: Path) -> Description:
    """The description of the dataset in folder ``root``.

    Raises:
        InputError: a ``dataset.json`` that is unreadable or malformed, asks for another normalisation than z-score or
            CT, or names a file format that cannot be read.
    """
    values, where = read_description(root), root / "dataset.json"
    ending = values.get("file_ending", ".nii.gz")
    if ending not in ENDINGS:
        raise InputError(where, f"file_ending {reprlib.repr(ending)}", "a format of 3D scans", "convert the files")
    if not isinstance(values.get("labels"), Mapping):
        raise InputError(where, f"labels: {reprlib.repr(values.get('labels'))}", "a mapping", REPAIR)
    names = [_name(where, "channel", name) for name in channel_names(root, values)]
    unknown = [name for name in names if name.casefold() in UNKNOWN_NORMALIZATION]
    if unknown:
        raise InputError(
            where,
            f"the channel '{unknown[0]}'",
            "one that nnU-Net normalises by CT values or z-score",
            "write the task file by hand",
        )
    modes = tuple(NORMALIZATION.get(name.casefold(), "zscore") for name in names)
    homepage, licence = _text(values.get("reference")), _text(values.get("licence") or values.get("license"))
    return Description(_unique(names), modes, read_labels(where, values["labels"]), homepage, licence)


def task_name(folder: str) -> str:
    """``Dataset004_Hippocampus``, ``Task04_Hippocampus`` -> ``hippocampus``.

    Lower case; letters lose their accents, other characters become underscores: Hydra takes no others unquoted.
    """
    number = re.match(r"(?:Dataset|Task)([0-9]+)_", folder)
    plain = (
        unicodedata.normalize("NFKD", folder[number.end() :] if number else folder).encode("ascii", "ignore").decode()
    )
    name = re.sub(r"\W+", "_", plain.lower()).strip("_") or (number[1] if number else "")
    return name if re.match(r"[a-z_]", name) else f"task_{name}"


def read_labels(where: Path, labels: Mapping) -> Labels:
    """Classes from nnU-Net's ``labels``: name -> value or region in v2, value -> name before.

    Raises:
        InputError: values that are no whole numbers, a repeated one, or no background of value 0.
    """
    if all(str(key).isdigit() for key in labels):
        named = [(_name(where, "label", name), value) for value, name in labels.items()]
    else:
        named = [(_name(where, "label", name), value) for name, value in labels.items()]
    values = {name: _values(where, name, value) for name, value in named}
    if len(values) < len(named):
        raise InputError(where, f"labels {[name for name, _ in named]!r:.80}", "different names", REPAIR)
    ignored = values.pop("ignore", ())
    background = [name for name, numbers in values.items() if set(numbers) == {0}]
    foreground = {name: numbers for name, numbers in values.items() if name not in background}
    if len(background) != 1 or len(ignored) > 1 or any(0 in each for each in foreground.values()) or not foreground:
        raise InputError(
            where, f"labels {dict(named)!r:.80}", "a background of value 0, then classes of other values", REPAIR
        )
    ignore = ignored[0] if ignored else None
    if any(len(numbers) > 1 for numbers in foreground.values()):
        return Labels((*background, *foreground), regions=foreground, ignore=ignore)
    single = sorted((numbers[0], name) for name, numbers in foreground.items())
    numbers = [value for value, _ in single]
    if len({*numbers, ignore}) <= len(numbers):
        raise InputError(where, f"label values {[*numbers, *ignored]}", "each once", REPAIR)
    label_map = {value: index for index, value in enumerate(numbers, start=1)}
    consecutive = all(value == index for value, index in label_map.items())
    return Labels((*background, *(name for _, name in single)), {} if consecutive else label_map, ignore=ignore)


def _values(where: Path, name: str, value) -> tuple[int, ...]:
    given, found = value if isinstance(value, list) else [value], f"the label '{name}': {reprlib.repr(value)}"
    if not given or not all(WHOLE.fullmatch(str(v)) and not isinstance(v, bool) for v in given):
        raise InputError(where, found, "a whole number or a list of them", REPAIR)
    values = tuple(int(float(v)) for v in given)
    if min(values) < 0 or max(values) > LARGEST_LABEL:
        raise InputError(where, found, f"0 or more, up to {LARGEST_LABEL}", REPAIR)
    return values


def _name(where: Path, what: str, name: object) -> str:
    """Of a class or channel, as text."""
    if (
        not isinstance(name, str | int | float)
        or not str(name).strip()
        or name == MISSING
        or str(name) != printable(str(name))
    ):
        raise InputError(where, f"a {what} called {reprlib.repr(name)}", "printable names", REPAIR)
    return str(name)


def _text(value: object) -> str:
    """For people to read: in one line, empty where it says nothing."""
    text = " ".join(str(value or "").split()) if isinstance(value, str | int | float | None) else reprlib.repr(value)
    return "" if text == MISSING else printable(text)


def _unique(names: list[str]) -> tuple[str, ...]:
    """``MRI, MRI`` -> ``MRI_0, MRI_1``."""
    number = Counter(names)
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        unique.append(f"{name}_{seen[name]}" if number[name] > 1 else name)
        seen[name] += 1
    return tuple(unique)
