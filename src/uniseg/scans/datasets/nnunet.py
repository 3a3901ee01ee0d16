"""The layout of nnU-Net v1, v2, the Medical Segmentation Decathlon, read in place."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from uniseg.errors import InputError
from uniseg.scans.io import ENDINGS, case_id_of


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[tuple[str, list[Path], Path]]:
    """``imagesTr/<case>_0000.nii.gz`` or, for the Decathlon, one ``imagesTr/<case>.nii.gz`` (4-D for several modalities).

    Any format of ``scans.io`` will do: the one that ``file_ending`` in ``dataset.json`` names, or else whatever lies there.

    Raises:
        InputError: ``dataset.json`` is missing, unreadable, names another number of channels or an unknown ``file_ending``, or a case has two labels.
    """
    description = root / "dataset.json"
    try:
        values = json.loads(description.read_text())
    except (OSError, ValueError) as error:
        raise InputError(description, f"{type(error).__name__}", "a readable dataset.json", "restore the file") from error
    channels = values.get("channel_names", values.get("modality", {}))
    if len(channels) != len(modalities):
        expected = f"{len(modalities)} for {list(modalities)}"
        raise InputError(description, f"{len(channels)} channels {list(channels.values())}", expected, "correct the task's modalities")
    ending = values.get("file_ending")
    if ending not in (None, *ENDINGS):
        raise InputError(description, f"file_ending '{ending}'", f"one of {', '.join(ENDINGS)}", "convert the files")
    endings = ENDINGS if ending is None else (ending,)
    for case_id, label in _labels(root / "labelsTr", endings).items():
        whole = _existing(root, case_id, endings)
        yield case_id, [whole] if whole.exists() else [_existing(root, f"{case_id}_{m:04d}", endings) for m in range(len(modalities))], label


def _labels(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    labels: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        case_id = case_id_of(path) if path.is_file() and path.name.endswith(tuple(endings)) else None
        if case_id in labels:
            raise InputError(path, f"a second label of case '{case_id}' beside {labels[case_id].name}", "one", "move one away")
        if case_id is not None:
            labels[case_id] = path
    return labels


def _existing(root: Path, stem: str, endings: Sequence[str]) -> Path:
    """The image of that name in the first format that is there, or else would be first."""
    paths = [root / "imagesTr" / f"{stem}{ending}" for ending in endings]
    return next((path for path in paths if path.exists()), paths[0])
