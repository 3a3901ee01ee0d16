"""Makes three unlike datasets out of real scans, as a researcher might find them: nnU-Net's, DICOM with Slicer's
labels, a table.

    python make_data.py /path/to/scans

``raw/Dataset010_AbdomenMR``: nnU-Net's layout. ``raw/liver_dicom``: one DICOM series, its label a cropped
``.seg.nrrd``. ``raw/sarcoma_ct_pet``: CT with PET on a coarser grid of its own, listed in ``manifest.csv``.
"""

import csv
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK

SEGMENTS = {"spleen": 1, "liver": 5, "stomach": 6}


def write_chaos(scans: Path, raw: Path) -> None:
    shutil.copytree(scans / "chaos_t2_abdomen", raw / "Dataset010_AbdomenMR")


def write_dicom(scans: Path, raw: Path) -> None:
    folder = raw / "liver_dicom"
    shutil.copytree(scans / "totalsegmentator_ct" / "dicom_series", folder / "series")
    label = SimpleITK.Cast(
        SimpleITK.ReadImage(str(scans / "totalsegmentator_ct" / "dicom_series_seg.nii.gz")), SimpleITK.sitkInt16
    )
    keep = SimpleITK.ChangeLabel(
        label,
        {
            value: 0
            for value in np.unique(SimpleITK.GetArrayViewFromImage(label)).tolist()
            if value not in SEGMENTS.values()
        },
    )
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.Execute(keep > 0)
    x, y, z, *size = shape.GetBoundingBox(1)
    part = SimpleITK.Cast(keep[x : x + size[0], y : y + size[1], z : z + size[2]], SimpleITK.sitkUInt8)
    for number, (name, value) in enumerate(SEGMENTS.items()):
        for key, text in {"ID": f"Segment_{number}", "Name": name, "LabelValue": str(value), "Layer": "0"}.items():
            part.SetMetaData(f"Segment{number}_{key}", text)
    SimpleITK.WriteImage(part, str(folder / "liver.seg.nrrd"), useCompression=True)
    write_manifest(folder, ["CT"], [["abdomen", "series", "liver.seg.nrrd"]])


def write_sarcoma(scans: Path, raw: Path) -> None:
    folder, rows = raw / "sarcoma_ct_pet", []
    for label in sorted((scans / "sts_ct" / "labelsTr").iterdir()):
        case = label.name.removesuffix(".nii.gz")
        images = [scans / dataset / "imagesTr" / f"{case}_0000.nii.gz" for dataset in ("sts_ct", "sts_pet")]
        for path, name in zip((*images, label), ("ct", "pet", "tumour"), strict=True):
            (folder / case).mkdir(parents=True, exist_ok=True)
            nib.save(nib.load(path), folder / case / f"{name}.nii.gz")
        rows.append([case, f"{case}/ct.nii.gz", f"{case}/pet.nii.gz", f"{case}/tumour.nii.gz"])
    write_manifest(folder, ["CT", "PET"], rows)


def write_manifest(folder: Path, modalities: list[str], rows: list[list[str]]) -> None:
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["case", *modalities, "label"], *rows])


if __name__ == "__main__":
    for write in (write_chaos, write_dicom, write_sarcoma):
        write(Path(sys.argv[1]), Path("raw"))
