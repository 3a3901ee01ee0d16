"""Scans with mutated headers and voxels, of every format, to predict."""

import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pydicom
import SimpleITK

from field.base import TASK
from field.inputs import dicom
from field.inputs.balls import ball, save
from field.mutate import damage_bytes
from field.trial import Trial
from field.world import World

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".seg.nrrd", "dicom")
FIELDS = {  # of a NIfTI-1 header: offset, format
    "sizeof_hdr": (0, "<i"), "dim0": (40, "<h"), "dim1": (42, "<h"), "dim2": (44, "<h"), "dim3": (46, "<h"),
    "dim4": (48, "<h"), "datatype": (70, "<h"), "bitpix": (72, "<h"), "pixdim0": (76, "<f"), "pixdim1": (80, "<f"),
    "pixdim2": (84, "<f"), "pixdim3": (88, "<f"), "vox_offset": (108, "<f"), "scl_slope": (112, "<f"),
    "scl_inter": (116, "<f"), "xyzt_units": (123, "<B"), "qform_code": (252, "<h"), "sform_code": (254, "<h"),
    "quatern_b": (256, "<f"), "qoffset_x": (268, "<f"), "srow_x": (280, "<f"), "srow_y": (300, "<f"),
    "srow_z": (320, "<f"), "srow_z3": (324, "<f"), "magic": (344, "<i"), "extension": (348, "<i"),
    "extension_size": (352, "<i"),
}  # fmt: skip
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    16,
    255,
    512,
    1000,
    32767,
    -32768,
    2**31 - 1,
    1e-30,
    1e-3,
    1e5,
    1e9,
    3e38,
    float("nan"),
    float("inf"),
    -2.0,
)
WORDS = (
    "", "0", "-1", "1", "2", "3 3", "1 2 3 4", "99999 99999 99999", "1e9 1e9 1e9", "nan nan nan", "0 0 0",
    "(0,0,0) (0,0,0) (0,0,0)", "none", "../scan.nii", "/etc/passwd", "LOCAL", "LIST", "scan%03d.raw 1 9 1", "gzip",
    "double", "block", "MET_DOUBLE_ARRAY", "True", "x" * 3000, "ä", "1e-9 1e-9 1e-9", "1000 1000 1000",
)  # fmt: skip
TAGS = (
    "Rows", "Columns", "PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient",
    "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "PixelData", "SeriesInstanceUID", "Modality", "InstanceNumber", "SOPClassUID",
    "NumberOfFrames", "SpacingBetweenSlices", "PixelPaddingValue",
)  # fmt: skip


def make(world: World, scratch: Path, rng: Random) -> Trial:
    ending = rng.choice(ENDINGS)
    path = _write(scratch / "scans", ending)
    damage = rng.choice(DAMAGES.get(ending, (_fields_of_text, _bytes, _voxels, _ending)))
    change, path = damage(path, rng)
    given = path if rng.random() < 0.7 else path.parent
    who = ("modality=[CT]", f"tasks=[{TASK}]") if rng.random() < 0.7 else ()
    predict = (
        "predict",
        f"checkpoint={world.base.checkpoint}",
        f"input='{given}'",
        "output=out",
        *who,
        "inference.device=cpu",
    )
    if rng.random() < 0.15:
        predict = (
            *predict,
            rng.choice(
                ("merge=true", "probabilities=true", "inference.max_memory_gb=0.1", "inference.skip_empty=true")
            ),
        )
    return Trial(f"{ending}: {change}", (predict,))


def _write(folder: Path, ending: str) -> Path:
    image, label = ball(77)
    if ending == "dicom":
        return dicom.write_series(folder / "series")
    path = folder / f"scan{ending}"
    if ending.startswith(".nii"):
        return save(path, image)
    folder.mkdir(parents=True)
    array = label if ending == ".seg.nrrd" else image
    stored = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    stored.SetSpacing((2, 2, 3))
    if ending == ".seg.nrrd":
        stored.SetMetaData("Segment0_LabelValue", "1")
        stored.SetMetaData("Segment0_Layer", "0")
    SimpleITK.WriteImage(stored, str(path), useCompression=ending == ".seg.nrrd")
    return path


def _unpacked(path: Path) -> bytearray:
    content = path.read_bytes()
    return bytearray(gzip.decompress(content) if path.name.endswith(".gz") else content)


def _pack(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)


def _fields_of_nifti(path: Path, rng: Random) -> tuple[str, Path]:
    content, changes = _unpacked(path), []
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice([*FIELDS])
        offset, kind = FIELDS[name]
        value = rng.choice(NUMBERS)
        size = struct.calcsize(kind)
        if kind == "<f":
            content[offset : offset + size] = struct.pack(kind, value)
        else:
            whole = 0 if value != value or abs(value) == float("inf") else int(value)
            content[offset : offset + size] = (whole & (256**size - 1)).to_bytes(size, "little")
        changes.append(f"{name}={value:g}")
    _pack(path, content)
    return ", ".join(changes), path


def _bytes_inside(path: Path, rng: Random) -> tuple[str, Path]:
    content = _unpacked(path)
    limit = rng.choice((352, len(content)))
    for _ in range(rng.choice((1, 2, 8))):
        content[rng.randrange(limit)] ^= 1 << rng.randrange(8)
    _pack(path, content)
    return "bits flipped inside", path


def _bytes(path: Path, rng: Random) -> tuple[str, Path]:
    change, content = damage_bytes(path.read_bytes(), rng)
    path.write_bytes(content)
    return change, path


def _voxels(path: Path, rng: Random) -> tuple[str, Path]:
    """Well-formed, with voxels, sizes or spacings that are none of a scan's."""
    image, _ = ball(77)
    arrays: dict[str, Callable[[], np.ndarray]] = {
        "one voxel": lambda: image[4:5, 4:5, 4:5],
        "one row": lambda: image[:, 4:5, 4:5],
        "constant": lambda: np.full_like(image, 7),
        "nan": lambda: np.where(image > 100, np.nan, image.astype(np.float32)),
        "inf": lambda: np.where(image > 100, np.inf, image.astype(np.float32)),
        "large values": lambda: image.astype(np.float32) * 1e34,
        "2-D": lambda: image[:, :, 4],
        "4-D": lambda: np.stack([image] * rng.choice((2, 3)), -1),
        "5-D": lambda: image[..., None, None],
        "long": lambda: np.zeros((2, 2, 3000), np.int16),
        "empty": lambda: image[:0],
        "bool": lambda: (image > 0).astype(np.uint8),
    }
    name = rng.choice([*arrays])
    spacing = rng.choice(((2, 2, 3), (2, 2, 3), (1e-3, 1e-3, 1e-3), (1000, 1000, 1000), (0.1, 0.1, 50), (2, 2, 1e6)))
    if path.name.endswith((".nii", ".nii.gz")):
        save(path, arrays[name](), np.diag([*spacing, 1.0]))
    else:
        array = arrays[name]()
        if array.size and array.ndim in (2, 3):
            stored = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
            stored.SetSpacing([float(s) for s in spacing[: array.ndim]])
            SimpleITK.WriteImage(stored, str(path))
    return f"{name}, spacing {spacing}", path


def _ending(path: Path, rng: Random) -> tuple[str, Path]:
    """Under another ending."""
    ending = rng.choice(
        (
            ".nii",
            ".nii.gz",
            ".nrrd",
            ".mha",
            ".NII.GZ",
            ".NII",
            ".dcm",
            ".img",
            ".txt",
            "",
            ".nii.gz.part",
            ".json",
            ".png",
        )
    )
    other = path.with_name(f"other{ending}")
    shutil.move(path, other)
    return f"as {other.name}", other


def _fields_of_text(path: Path, rng: Random) -> tuple[str, Path]:
    """A line of the header of NRRD or MetaImage is replaced, doubled or removed."""
    content = path.read_bytes()
    is_nrrd = path.name.endswith((".nrrd", ".nhdr"))
    end = content.find(b"\n\n") if is_nrrd else content.find(b"\n", content.find(b"ElementDataFile"))
    end = len(content) if end < 0 else end
    lines = content[:end].split(b"\n")
    position = rng.randrange(len(lines))
    kind, word = rng.choice(("value", "value", "value", "remove", "double")), rng.choice(WORDS)
    if kind == "value":
        separator = b":" if is_nrrd else b"="
        key = lines[position].partition(separator)[0]
        lines[position] = key + separator + b" " + word.encode()
    elif kind == "remove":
        del lines[position]
    else:
        lines.insert(position, lines[position])
    path.write_bytes(b"\n".join(lines) + content[end:])
    return f"{kind} line {position} {word[:30]!r}", path


def _tags(folder: Path, rng: Random) -> tuple[str, Path]:
    """Of one slice, or of all."""
    keyword = rng.choice(TAGS)
    paths = sorted(folder.iterdir())
    some = paths if rng.random() < 0.5 else [rng.choice(paths)]
    value = rng.choice(
        (
            None,
            0,
            1,
            65535,
            -1,
            1e9,
            float("nan"),
            "",
            "text",
            [0, 0],
            [1, 0, 0, 1, 0, 0],
            [0, 0, 0],
            [1e9] * 3,
            b"",
            "1.2.840.10008.5.1.4.1.1.66.4",
        )
    )
    change = f"{keyword} {value!r:.30} in {len(some)}"
    for path in some:
        slice_ = pydicom.dcmread(path)
        try:
            if value is None:
                delattr(slice_, keyword)
            else:
                setattr(slice_, keyword, value)
            slice_.save_as(path)
        except (ValueError, TypeError, AttributeError, OSError, KeyError, struct.error):
            change = f"{keyword} of {len(some)} slices cut"
            path.write_bytes(path.read_bytes()[: rng.randrange(2000)])
    return change, folder


def _slice_bytes(folder: Path, rng: Random) -> tuple[str, Path]:
    path = rng.choice(sorted(folder.iterdir()))
    change, content = damage_bytes(path.read_bytes(), rng)
    path.write_bytes(content)
    return change, folder


DAMAGES = {
    ".nii": (_fields_of_nifti, _fields_of_nifti, _bytes_inside, _bytes, _voxels, _ending),
    ".nii.gz": (_fields_of_nifti, _fields_of_nifti, _bytes_inside, _bytes, _bytes, _voxels, _ending),
    "dicom": (_tags, _tags, _slice_bytes),
}
