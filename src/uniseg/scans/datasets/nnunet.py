"""The layout of nnU-Net v1, v2, the Medical Segmentation Decathlon, read in place."""

import json
from collections.abc import Iterator
from pathlib import Path

from uniseg.errors import InputError
from uniseg.scans.io import ENDINGS, case_id_of


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[tuple[str, list[Path], Path]]:
    """``imagesTr/<case>_0000.nii.gz`` or, for the Decathlon, one ``imagesTr/<case>.nii.gz`` (4-D for several modalities).

    ``.nii`` is accepted beside ``.nii.gz``.

    Raises:
        InputError: ``dataset.json`` is missing, unreadable, or names another number of channels.
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
    labels = {case_id: path for path in sorted((root / "labelsTr").glob("*")) if (case_id := case_id_of(path))}
    for case_id, label in labels.items():
        single = [root / "imagesTr" / f"{case_id}{ending}" for ending in ENDINGS]
        whole = next((path for path in single if path.exists()), None)
        yield case_id, [whole] if whole else [_channel(root, case_id, m) for m in range(len(modalities))], label


def _channel(root: Path, case_id: str, channel: int) -> Path:
    paths = [root / "imagesTr" / f"{case_id}_{channel:04d}{ending}" for ending in ENDINGS]
    return next((path for path in paths if path.exists()), paths[0])
