"""Corrupted scans of every format: one clear line, or a finite array; nothing else.

Made from small valid files: deliberate damage must be refused; a flipped bit may leave a valid file.
"""

import gzip
import random
import shutil
import struct
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK

from samples import save_nifti
from scan_files import dicom_slice, save_itk, save_segmentation, save_series
from uniseg.errors import InputError
from uniseg.images.files import read_label, read_volume

AFFINE = np.array([[-1.5, 0, 0, 40], [0, -2.0, 0, 30], [0, 0, 3.0, -20], [0, 0, 0, 1]])
ARRAY = np.random.default_rng(0).integers(1, 1000, (4, 5, 6)).astype(np.int16)
LABEL = (ARRAY > 500).astype(np.uint8)
FLIPS = 40
PEAK_BYTES = 64 << 20
WORDS = ("a\\b", "x")  # where DICOM has numbers
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class Corrupted:
    """One bad input: the image, or the label on a good image;

    ``must_fail`` unless the damage may leave a valid file.
    """

    name: str
    path: Path
    is_label: bool = False
    must_fail: bool = True


def good(folder: Path, ending: str, is_packed: bool = False) -> Path:
    """A valid file, or series, of the format in a folder of its own."""
    path = folder / f"scan{ending}"
    if ending == "":
        return save_series(path, ARRAY, AFFINE)
    if ending.startswith(".nii"):
        return save_nifti(path, ARRAY, AFFINE)
    if ending == ".seg.nrrd":
        return save_segmentation(path, LABEL, AFFINE, (1,))
    return save_itk(path, ARRAY, AFFINE, is_packed=is_packed)


def header_bytes(path: Path) -> int:
    content = path.read_bytes()
    if path.name.endswith((".nii", ".nii.gz")):
        return min(348, len(content))
    if path.suffix in (".mha", ".mhd"):
        return content.index(b"\n", content.index(b"ElementDataFile"))
    return content.index(b"\n\n") if path.suffix == ".nrrd" else len(content)


def flipped(content: bytes, limit: int, seed: int) -> bytes:
    rng, out = random.Random(seed), bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        out[rng.randrange(limit)] ^= 1 << rng.randrange(8)
    return bytes(out)


def unpacked_flip(content: bytes, seed: int) -> bytes:
    return gzip.compress(flipped(gzip.decompress(content), 348, seed))


def damaged_bytes(root: Path, ending: str, is_packed: bool = False) -> Iterator[Corrupted]:
    """Of one file: truncated, emptied, replaced by text or another format, bits flipped in the header."""
    path = good(root / "good", ending, is_packed)
    kind = f"{ending} packed" if is_packed else ending
    content, header = path.read_bytes(), header_bytes(path)
    body = len(content) - header
    damage = {f"cut at {n}": content[:n] for n in (0, 1, header // 2, header - 1)}
    if body > 100:
        damage |= {f"cut at {n}": content[:n] for n in (header + 2, header + body // 2, len(content) - 12)}
    damage |= {
        "text": b"not a scan\n" * 40,
        "zeros": bytes(len(content)),
        "noise": random.Random(0).randbytes(len(content)),
    }
    damage["other format"] = good(root / "other", ".mha" if "n" in ending[:2] else ".nii").read_bytes()
    for name, data in damage.items():
        yield Corrupted(f"{kind} {name}", rewritten(root, path, name, data))
    for seed in range(FLIPS):
        data = unpacked_flip(content, seed) if ending == ".nii.gz" and seed % 2 else flipped(content, header, seed)
        yield Corrupted(f"{kind} flip {seed}", rewritten(root, path, f"flip {seed}", data), must_fail=False)
    folder = root / f"folder{ending}"
    folder.mkdir()
    yield Corrupted(f"{kind} folder", folder)
    yield Corrupted(f"{kind} missing", root / f"missing{ending}")


def rewritten(root: Path, path: Path, name: str, content: bytes) -> Path:
    """A copy of the file with other content, its data file beside it."""
    folder = root / name
    shutil.copytree(path.parent, folder)
    (folder / path.name).write_bytes(content)
    return folder / path.name


def damaged_data_files(root: Path, ending: str) -> Iterator[Corrupted]:
    """Of a header with its voxels in another file: that file cut, or gone."""
    for name, size in (("empty", 0), ("cut", 100), ("gone", None)):
        path = good(root / f"data {name}", ending)
        data = next(other for other in path.parent.iterdir() if other != path)
        data.unlink() if size is None else data.write_bytes(data.read_bytes()[:size])
        yield Corrupted(f"{ending} data {name}", path)


def damaged_arrays(root: Path, ending: str) -> Iterator[Corrupted]:
    """Valid files with content that is no scan, or no label."""
    values = ARRAY.astype(np.float32)
    arrays = {
        "nan": np.where(ARRAY > 990, np.nan, values),
        "inf": np.where(ARRAY > 990, np.inf, values),
        "overflow": values.astype(np.float64) * 1e300,
    }
    for name, array in arrays.items():
        yield Corrupted(f"{ending} {name}", save(root / name / f"scan{ending}", array))
    labels = {
        "fraction": LABEL + 0.5,
        "huge": LABEL * 1e9,
        "nan": LABEL + np.float32("nan"),
        "infinite": LABEL * 1e39,
        "shape": LABEL[:, :, 1:],
        "flat": LABEL[:1],
    }
    for name, label in labels.items():
        yield Corrupted(f"{ending} label {name}", save(root / f"label {name}" / f"label{ending}", label), is_label=True)
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.7
    for name, affine in {"shift": shifted, "spacing": AFFINE @ np.diag([1, 1, 1.2, 1])}.items():
        yield Corrupted(
            f"{ending} label {name}", save(root / f"label {name}" / f"label{ending}", LABEL, affine), is_label=True
        )


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    return save_nifti(path, array, affine) if ".nii" in path.name else save_itk(path, array, affine)


def damaged_dimensions(root: Path, ending: str) -> Iterator[Corrupted]:
    """Two axes, five axes, values that are no real numbers."""
    root.mkdir(parents=True)
    if ending in ITK_ENDINGS:
        pictures = {"2-D": SimpleITK.GetImageFromArray(ARRAY[0])}
        if ending in (".nrrd", ".nhdr"):
            pictures["complex"] = SimpleITK.GetImageFromArray(ARRAY.astype(np.complex64))
        else:
            pictures["5-D"] = SimpleITK.GetImageFromArray(np.zeros((2, 2, *ARRAY.shape), np.uint8), isVector=False)
        for name, picture in pictures.items():
            SimpleITK.WriteImage(picture, str(root / f"{name}{ending}"))
            yield Corrupted(f"{ending} {name}", root / f"{name}{ending}")
        return
    rgb = np.zeros(ARRAY.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name, array in {
        "2-D": ARRAY[0],
        "5-D": np.zeros((2, 2, *ARRAY.shape)),
        "complex": ARRAY.astype(np.complex64),
        "rgb": rgb,
    }.items():
        nib.save(nib.Nifti1Image(array, AFFINE), root / f"{name}{ending}")
        yield Corrupted(f"{ending} {name}", root / f"{name}{ending}")


def nifti_headers(root: Path, ending: str) -> Iterator[Corrupted]:
    """Numbers in a NIfTI header that describe no grid, or more voxels than there are."""
    path = good(root / "good", ending)
    content = path.read_bytes() if ending == ".nii" else gzip.decompress(path.read_bytes())
    edits: dict[str, list[tuple[str, int, tuple]]] = {
        "pixdim zero": [("<3f", 80, (0, 2, 3)), ("<2h", 252, (0, 0))],
        "pixdim negative": [("<3f", 80, (1.5, -2, 3)), ("<2h", 252, (1, 0))],
        "pixdim nan": [("<3f", 80, (float("nan"), 2, 3)), ("<2h", 252, (1, 0))],
        "sform zero": [("<4f", 280, (0, 0, 0, 0))],
        "sform nan": [("<4f", 280, (float("nan"), 0, 0, 0))],
        "sform inf": [("<4f", 280, (float("inf"), 0, 0, 0))],
        "sform singular": [("<4f", 280, (0, -2, 0, 30))],
        "qform nan": [("<2h", 252, (1, 0)), ("<3f", 256, (float("nan"), 0, 0))],
        "wide": [("<4h", 40, (3, 32767, 32767, 32767))],
        "negative size": [("<4h", 40, (3, -6, 5, 4))],
        "zero size": [("<4h", 40, (3, 6, 0, 4))],
        "no axes": [("<h", 40, (0,))],
        "many axes": [("<h", 40, (9,))],
        "dtype": [("<2h", 70, (999, 16))],
        "slope": [("<2f", 112, (3e38, 3e38))],
        "far data": [("<f", 108, (1e9,))],
        "nan data": [("<f", 108, (float("nan"),))],
    }
    for name, steps in edits.items():
        out = bytearray(content)
        for form, offset, numbers in steps:
            struct.pack_into(form, out, offset, *numbers)
        data = bytes(out) if ending == ".nii" else gzip.compress(bytes(out))
        yield Corrupted(f"{ending} {name}", rewritten(root, path, name, data))


def text_headers(root: Path, ending: str) -> Iterator[Corrupted]:
    """The same in the text of a NRRD or MetaImage."""
    path = good(root / "good", ending)
    nrrd = {
        "spacing": (
            b"(1.5,0,0)",
            [
                b"(0,0,0)",
                b"(nan,0,0)",
                b"(nan,nan,nan)",
                b"(inf,0,0)",
                b"(0,2,0)",
                b"none",
                b"(1.5,0)",
                b"(1e300,0,0)",
                b"(1e-300,0,0)",
            ],
        ),
        "sizes": (
            b"sizes: 6 5 4",
            [
                b"sizes: 9999 9999 9999",
                b"sizes: -6 5 4",
                b"sizes: 0 5 4",
                b"sizes: 6 5",
                b"sizes: 4294967297 5 4",
                b"sizes: 6 5 x",
            ],
        ),
        "type": (b"type: short", [b"type: double", b"type: block", b"type: word"]),
        "space": (b"left-posterior-superior", [b"scanner-xyz", b"somewhere"]),
        "origin": (b"space origin: (", [b"space origin: (nan", b"space origin: (1e999"]),
        "encoding": (b"encoding: raw", [b"encoding: gzip", b"encoding: bzip2", b"encoding: hex", b"encoding: odd"]),
    }
    meta = {
        "spacing": (
            b"ElementSpacing = 1.5",
            [
                b"ElementSpacing = 0",
                b"ElementSpacing = -1.5",
                b"ElementSpacing = nan",
                b"ElementSpacing = inf",
                b"Elementspac = 1",
            ],
        ),
        "sizes": (
            b"DimSize = 6",
            [b"DimSize = 99999", b"DimSize = -6", b"DimSize = 0", b"DimSize = 4294967302", b"DimSize = x"],
        ),
        "type": (b"MET_SHORT", [b"MET_DOUBLE", b"MET_STRING", b"MET_ODD"]),
        "matrix": (
            b"TransformMatrix = 1 0 0",
            [b"TransformMatrix = 0 0 0", b"TransformMatrix = nan 0 0", b"TransformMatrix = 0 1 0"],
        ),
        "origin": (b"Offset = ", [b"Offset = nan", b"Offset = 1e999"]),
        "packing": (b"CompressedData = False", [b"CompressedData = True"]),
        "axes": (b"NDims = 3", [b"NDims = 2", b"NDims = 9", b"NDims = -3", b"NDims = 99999"]),
    }
    for name, (old, news) in (nrrd if "n" in ending else meta).items():
        for number, new in enumerate(news):
            content = path.read_bytes()
            assert old in content, content
            yield Corrupted(
                f"{ending} {name} {number}", rewritten(root, path, f"{name} {number}", content.replace(old, new))
            )


def segmentations(root: Path) -> Iterator[Corrupted]:
    """Segments that share voxels, lie between voxels, lie beyond the scan, or have no number."""
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.7
    beyond = AFFINE.copy()
    beyond[2, 3] += 9
    yield Corrupted(
        "segments in layers",
        save_segmentation(root / "1.seg.nrrd", np.stack([LABEL, LABEL], -1), AFFINE, (1,), is_vector=True),
        is_label=True,
    )
    yield Corrupted("segments between", save_segmentation(root / "2.seg.nrrd", LABEL, shifted, (1,)), is_label=True)
    yield Corrupted(
        "segments beyond", save_segmentation(root / "3.seg.nrrd", np.ones_like(LABEL), beyond, (1,)), is_label=True
    )
    yield Corrupted("segments unnamed", save_segmentation(root / "4.seg.nrrd", LABEL, AFFINE, (2,)), is_label=True)
    path = save_segmentation(root / "5.seg.nrrd", LABEL, AFFINE, (1,))
    path.write_bytes(path.read_bytes().replace(b"LabelValue:=1", b"LabelValue:=x"))
    yield Corrupted("segments unnumbered", path, is_label=True)


def damaged_series(root: Path) -> Iterator[Corrupted]:
    """Slices that are missing, twice there, of another series, or damaged."""

    def series(name: str, edit: Callable[[Path], None]) -> Corrupted:
        folder = good(root / name, "")
        edit(folder)
        return Corrupted(f"DICOM {name}", folder)

    def tagged(name: str, **values) -> Corrupted:
        def edit(folder: Path) -> None:
            dataset = dicom_slice(ARRAY[1], AFFINE, 1)
            for tag, value in values.items():
                if value is None:
                    delattr(dataset, tag)
                elif value in WORDS:
                    dataset.add_new(tag, "LO", value)
                else:
                    setattr(dataset, tag, value)
            dataset.save_as(folder / "slice_003.dcm", enforce_file_format=True)

        return series(name, edit)

    yield series("missing slice", lambda folder: (folder / "slice_002.dcm").unlink())
    yield series("slice twice", lambda folder: shutil.copy(folder / "slice_002.dcm", folder / "more.dcm"))
    yield series("no slice", lambda folder: [path.unlink() for path in folder.iterdir()])
    for tag in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "Rows",
        "Columns",
        "PixelData",
        "BitsAllocated",
        "PixelRepresentation",
    ):
        yield tagged(f"without {tag}", **{tag: None})
    with pydicom.config.disable_value_validation():
        yield tagged("mixed series", SeriesInstanceUID="1.2.3")
        yield tagged("mixed orientation", ImageOrientationPatient=[0, 1, 0, 1, 0, 0])
        yield tagged("mixed shape", Rows=6, Columns=5)
        yield tagged("huge shape", Rows=65535, Columns=65535)
        yield tagged("zero spacing", PixelSpacing=[0, 0])
        yield tagged("nan spacing", PixelSpacing=["nan", "nan"])
        yield tagged("word for spacing", PixelSpacing="a\\b")
        yield tagged("nan position", ImagePositionPatient=["nan", "0", "0"])
        yield tagged("nan slope", RescaleSlope="nan")
        yield tagged("infinite slope", RescaleSlope="1e39")
        yield tagged("word for slope", RescaleSlope="x")
        yield tagged("frames", NumberOfFrames=3)
        yield tagged("colour", SamplesPerPixel=3)
        yield tagged("bits", BitsAllocated=7)
        yield tagged("short pixels", PixelData=b"1234")
        yield tagged("PET without tags", Modality="PT")
    one = (good(root / "one", "") / "slice_003.dcm").read_bytes()
    damage = {f"cut at {n}": one[:n] for n in (0, 1, 100, 131, 200, 400, len(one) - 100, len(one) - 30)}
    damage |= {
        "text": b"not a slice\n" * 40,
        "zeros": bytes(len(one)),
        "other format": good(root / "nifti", ".nii").read_bytes(),
    }
    for name, data in damage.items():
        yield series(name, lambda folder, data=data: (folder / "slice_003.dcm").write_bytes(data))
    for seed in range(2 * FLIPS):
        folder = good(root / f"flip {seed}", "")
        (folder / "slice_003.dcm").write_bytes(flipped(one, len(one) - ARRAY[1].nbytes, seed))
        yield Corrupted(f"DICOM flip {seed}", folder, must_fail=False)


def all_corrupted(root: Path) -> Iterator[Corrupted]:
    for ending in (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".seg.nrrd"):
        yield from damaged_bytes(root / f"bytes{ending}", ending)
    for ending in (".nrrd", ".mha"):
        yield from damaged_bytes(root / f"bytes{ending} packed", ending, is_packed=True)
    for ending in (".nhdr", ".mhd"):
        yield from damaged_data_files(root / f"data{ending}", ending)
    for ending in (".nii", ".nii.gz", *ITK_ENDINGS):
        yield from damaged_arrays(root / f"arrays{ending}", ending)
        yield from damaged_dimensions(root / f"dimensions{ending}", ending)
    for ending in (".nii", ".nii.gz"):
        yield from nifti_headers(root / f"headers{ending}", ending)
    for ending in ITK_ENDINGS:
        yield from text_headers(root / f"headers{ending}", ending)
    yield from segmentations(root / "segmentations")
    yield from damaged_series(root / "series")


def outcome(case: Corrupted, image: Path) -> str:
    """``refused`` or ``valid``; anything else is what went wrong."""
    tracemalloc.reset_peak()
    try:
        array = read_label(case.path, [image]) if case.is_label else read_volume([case.path]).array
    except InputError as error:
        text = str(error)
        if "\n" in text or case.path.name not in text:
            return f"a message that does not name it in one line: {text}"
        verdict = "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    else:
        is_sound = np.isfinite(array).all() and array.ndim == (3 if case.is_label else 4) and array.size <= ARRAY.size
        verdict = "valid" if is_sound and not case.must_fail else f"read as {array.shape}"
    peak = tracemalloc.get_traced_memory()[1]
    return verdict if peak < PEAK_BYTES else f"{peak} bytes at once"


def test_corrupted_inputs_are_refused_or_sound(tmp_path, capfd, record_testsuite_property):
    image = good(tmp_path / "image", ".nii.gz")
    cases = list(all_corrupted(tmp_path))
    tracemalloc.start()
    try:
        outcomes = {case.name: outcome(case, image) for case in cases}
    finally:
        tracemalloc.stop()
    assert len(outcomes) == len(cases)
    assert capfd.readouterr() == ("", "")
    assert {name: said for name, said in outcomes.items() if said not in ("refused", "valid")} == {}
    counts = Counter(outcomes.values())
    record_testsuite_property("refused", counts["refused"])
    record_testsuite_property("valid", counts["valid"])
    assert counts["refused"] >= 200


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", *ITK_ENDINGS, ".seg.nrrd", ""])
def test_what_the_damage_starts_from_is_read(tmp_path, ending):
    path = good(tmp_path, ending)
    np.testing.assert_array_equal(read_volume([path]).array[0], LABEL if ending == ".seg.nrrd" else ARRAY)
