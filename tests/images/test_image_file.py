"""What every format has in common: bounds, trailing axes, notes, what a library raises, packed bytes."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from uniseg.errors import InputError
from uniseg.images.image_file import ImageFile, inflate, refusing


def stored(shape=(24, 28, 20), spacing=(2.0, 2, 3), **values):
    return ImageFile(Path("a.nii.gz"), shape, np.diag([*spacing, 1.0]), lambda: np.zeros(shape), **values)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 40, 40), (1000, 1000, 1000)),
        ((4, 4, 4), (2, 2, 101)),
        ((1700, 10, 10), (3, 3, 3)),
        ((1000, 1000, 1000), (2.1, 2.1, 2.1)),
        ((24, 28, 20), (0.002, 0.002, 0.003)),
    ],
)
def test_what_no_scanner_makes_is_refused(shape, spacing):
    with pytest.raises(
        InputError,
        match=r"a\.nii\.gz: found \d+ x \d+ x \d+ voxels of .* mm; expected .*; repair the spacing, or its unit",
    ):
        stored(shape, spacing)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((512, 512, 1100), (0.98, 0.98, 2)), ((512, 512, 1), (0.4, 0.4, 60)), ((2048, 2048, 1500), (0.1, 0.1, 0.1))],
)
def test_what_scanners_make_is_taken(shape, spacing):
    assert stored(shape, spacing).notes == ()


def test_a_part_of_a_scan_may_be_one_small_voxel():
    assert stored((1, 1, 1), (0.5, 0.5, 0.5), is_extract=True).shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [((4, 5, 6, 1), (4, 5, 6)), ((4, 5, 6, 1, 1), (4, 5, 6)), ((4, 5, 1), (4, 5, 1)), ((4, 5, 6, 2, 1), (4, 5, 6, 2))],
)
def test_trailing_axes_of_one_are_dropped(given, kept):
    image = stored(given)
    assert image.shape == image.voxels().shape == kept


def test_a_tilted_grid_is_noted():
    affine = np.diag([2.0, 2, 3, 1])
    affine[1, 2] = 3 * np.tan(np.deg2rad(20))
    assert ImageFile(Path("a"), (9, 9, 9), affine, lambda: None).notes == (
        "axes 70 degrees apart, as of a tilted gantry; taken as they are",
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (AttributeError("x"), r"AttributeError \(x\); expected it; restore"),
        (KeyError("y"), "KeyError"),
        (
            PermissionError(13, "Permission denied"),
            "found Permission denied; expected it; check the disk and the permissions",
        ),
        (MemoryError(), "more voxels than the memory holds"),
    ],
)
def test_any_error_of_a_library_is_one_line(error, message):
    with pytest.raises(InputError, match=message), refusing(Path("a"), "it"):
        raise error


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_packed_bytes_are_read_to_their_checksum(tmp_path, pack):
    values = np.random.default_rng(0).integers(0, 9, 200_000).astype(np.uint8)
    path = tmp_path / "a"
    path.write_bytes(b"header" + pack(values.tobytes()))
    into = np.zeros(1000, np.uint8)
    assert inflate(path, 6, into, skip=50) == values.size - 50
    np.testing.assert_array_equal(into, values[50:1050])
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(EOFError):
        inflate(path, 6, into)
    last = 5 if pack is gzip.compress else 1  # gzip ends with the length
    path.write_bytes(content[:-last] + bytes([content[-last] ^ 1]) + content[len(content) - last + 1 :])
    with pytest.raises(zlib.error):
        inflate(path, 6, into)
