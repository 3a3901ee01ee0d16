"""Scans with the names that scans have."""

import shutil
from pathlib import Path

from field.inputs.balls import ball, save

ODD = ("a b", "a=1", "a(1)", "a,b", "a%b", "a#b", "Ärzte_ß", "1.2.840.113", "a'b", "a[1]", "a&b", "a+b", "a@b", "a|b")
FOUR_DIGITS = (1, 4, 5)  # of AMOS22
JUNK = {
    ".DS_Store": b"\0\0\0\1Bud1",
    "._scan.nii.gz": b"\0\5\26\7",
    "dataset.json": b"{}",
    "Thumbs.db": b"\xd0\xcf",
    "notes.txt": b"x",
}


def write_odd(folder: Path) -> Path:
    """One scan under many names."""
    scan = save(folder / f"{ODD[0]}.nii.gz", ball()[0])
    for name in ODD[1:]:
        shutil.copy(scan, folder / f"{name}.nii.gz")
    return folder


def write_amos(folder: Path) -> Path:
    """Case numbers of four digits, which stand where nnU-Net has the channel."""
    for number in FOUR_DIGITS:
        save(folder / f"amos_{number:04d}.nii.gz", ball(number)[0])
    return folder


def write_pancreas(folder: Path) -> Path:
    """Case numbers from 0 on; the prediction of the first is perfect, those of the other two are empty."""
    for number in range(3):
        image, label = ball(number)
        found = {"images": image, "labels": label, "predictions": label * (number == 0)}
        for part, array in found.items():
            save(folder / part / f"pancreas_{number:04d}.nii.gz", array)
    return folder


def write_junk(folder: Path) -> Path:
    """A scan among what computers leave beside it; another whose ending is written in capitals."""
    scan = save(folder / "scan.nii.gz", ball()[0])
    shutil.copy(scan, folder / "LOUD.NII.GZ")
    for name, content in JUNK.items():
        (folder / name).write_bytes(content)
    return folder
