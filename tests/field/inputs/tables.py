"""Manifests as spreadsheets and scripts save them."""

from collections.abc import Sequence
from pathlib import Path

from field.inputs.balls import ball, save

NUMBER = 6
HEADER = ("case", "CT", "label")
ROWS = tuple((f"case{k}", f"../data/image{k}.nii.gz", f"../data/label{k}.nii.gz") for k in range(NUMBER))


def write_tables(folder: Path) -> Path:
    """``<folder>/<name>/manifest.csv``, all of the same scans."""
    for k in range(NUMBER):
        image, label = ball(k)
        save(folder / f"data/image{k}.nii.gz", image)
        save(folder / f"data/label{k}.nii.gz", label)
    first, *others = ROWS
    tables = {
        "plain": _text(),
        "semicolon": _text(separator=";"),
        "tabs": _text(separator="\t"),
        "windows": _text([[cell.replace("/", "\\") for cell in row] for row in ROWS]),
        "trailing": _text([[*row, ""] for row in ROWS], (*HEADER, "")),
        "twice": _text([*ROWS, first]),
        "capitals": _text(header=("Case", "CT", "Label")),
        "index": _text([(str(k), *row) for k, row in enumerate(ROWS)], ("", *HEADER)),
        "spaces": _text([(f" {case} ", f" {image} ", label) for case, image, label in ROWS]),
        "nan": _text([(first[0], "nan", first[2]), *others]),
    }
    content = {name: text.encode() for name, text in tables.items()}
    content["latin"] = _text([("Müller", *first[1:]), *others]).encode("cp1252")
    content["utf16"] = _text().encode("utf-16")
    content["bom"] = _text().encode("utf-8-sig")
    for name, data in content.items():
        (folder / name).mkdir()
        (folder / name / "manifest.csv").write_bytes(data)
    return folder


def _text(rows: Sequence[Sequence[str]] = ROWS, header: Sequence[str] = HEADER, separator: str = ",") -> str:
    return "".join(separator.join(row) + "\r\n" for row in (header, *rows))
