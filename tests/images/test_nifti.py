"""NIfTI: units, both affines, gzip's checksum, files that are something else."""

import gzip
import random
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from samples import save_nifti
from uniseg.errors import InputError
from uniseg.images.files import read_geometry, read_label, read_volume, write_label_map, write_probabilities

ARRAY = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
AFFINE = np.array([[-1.5, 0, 0, 40], [0, -2.0, 0, 30], [0, 0, 3.0, -20], [0, 0, 0, 1]])
TURNED = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -9], [0, 0, 3, 11], [0, 0, 0, 1]])
LABEL = (ARRAY > 0).astype(np.uint8)


def save(path, sform=None, sform_code=0, qform=None, qform_code=0, unit="mm", kind=nib.Nifti1Image, **header):
    """The array with these affines, for lengths in ``unit``."""
    image = kind(np.ascontiguousarray(ARRAY.T), None)
    image.header["pixdim"][1:4] = 1.5, 2, 3
    image.header.set_xyzt_units(unit)
    image.set_sform(sform, sform_code)
    image.set_qform(qform, qform_code)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def scaled(affine, factor):
    return np.diag([factor, factor, factor, 1]) @ affine


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("unknown", 1), ("meter", 1e-3), ("micron", 1e3)])
def test_any_unit_is_read_and_written_in_mm(tmp_path, unit, factor):
    path = save(tmp_path / "a.nii.gz", scaled(AFFINE, factor), 1, scaled(AFFINE, factor), 2, unit)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, AFFINE[:, [2, 1, 0, 3]], rtol=1e-6)
    assert volume.spacing_mm == pytest.approx((3, 2, 1.5))
    np.testing.assert_array_equal(read_label(save_nifti(tmp_path / "label.nii.gz", LABEL, AFFINE), path), LABEL)
    write_label_map(LABEL, path, tmp_path / "out.nii.gz")
    out = nib.load(tmp_path / "out.nii.gz").header
    assert out.get_xyzt_units()[0] == "mm"
    for affine, code, expected in ((*out.get_sform(coded=True), 1), (*out.get_qform(coded=True), 2)):
        np.testing.assert_allclose(affine, AFFINE, atol=1e-4)
        assert code == expected


def test_a_unit_that_the_numbers_deny_is_refused(tmp_path):
    for unit in ("meter", "micron"):
        with pytest.raises(InputError, match=r"a\.nii\.gz: found 6 x 5 x 4 voxels of .* unit"):
            read_geometry(save(tmp_path / "a.nii.gz", AFFINE, 1, unit=unit))


@pytest.mark.parametrize(
    ("forms", "best", "note"),
    [
        ((AFFINE, 1, AFFINE, 1), AFFINE, None),
        ((AFFINE, 2, None, 0), AFFINE, None),
        ((None, 0, TURNED, 1), TURNED, None),
        ((AFFINE, 1, TURNED, 3), AFFINE, "an sform unlike the qform"),
        ((None, 0, None, 0), None, "no orientation"),
    ],
)
def test_what_is_written_carries_both_affines_of_its_scan(tmp_path, forms, best, note):
    path = save(tmp_path / "a.nii.gz", *forms)
    notes = read_geometry(path).notes
    assert (note is None and notes == ()) or (len(notes) == 1 and note in notes[0])
    assert read_volume([path]).notes == notes
    write_label_map(read_volume(path).array[0] > 0, path, tmp_path / "label.nii.gz")
    write_probabilities(np.zeros((2, *read_geometry(path).array.shape[1:]), np.uint8), path, tmp_path / "p.nii.gz")
    scan = nib.load(path)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "label.nii.gz").dataobj), np.asarray(scan.dataobj) > 0)
    for name in ("label.nii.gz", "p.nii.gz"):
        out = nib.load(tmp_path / name)
        np.testing.assert_allclose(out.affine, scan.affine if best is None else best, atol=1e-5)
        np.testing.assert_allclose(out.header["pixdim"][1:4], scan.header["pixdim"][1:4], rtol=1e-6)
        for form in ("get_sform", "get_qform"):
            (affine, code), (expected, expected_code) = (getattr(one.header, form)(coded=True) for one in (out, scan))
            assert code == expected_code
            if expected is not None:
                np.testing.assert_allclose(affine, expected, atol=1e-5)


def test_a_qform_that_is_no_rotation_is_noted_beside_an_sform(tmp_path):
    path = save(tmp_path / "a.nii", AFFINE, 1, AFFINE, 1)
    content = bytearray(path.read_bytes())
    struct.pack_into("<3f", content, 256, 5, 5, 5)
    path.write_bytes(content)
    assert read_volume(path).notes == ("a qform that is no rotation; the sform is taken",)
    write_label_map(LABEL, path, tmp_path / "out.nii.gz")
    assert nib.load(tmp_path / "out.nii.gz").header["qform_code"] == 0


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", "<>")
def test_both_versions_in_both_byte_orders(tmp_path, kind, order):
    image = kind(np.ascontiguousarray(ARRAY.T).astype(f"{order}i2"), AFFINE, kind.header_class(endianness=order))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array[0], ARRAY)


def test_scaling_of_the_header_counts(tmp_path):
    image = nib.Nifti1Image(ARRAY.T.astype(np.float32) * 0.5 + 3, AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").header["scl_slope"] != 1
    np.testing.assert_array_equal(
        read_volume(tmp_path / "a.nii.gz").array[0],
        np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj).T.astype(np.float32),
    )


def test_no_flipped_bit_of_a_packed_file_changes_voxels(tmp_path):
    array = np.random.default_rng(0).normal(0, 100, (12, 30, 30)).astype(np.int16)
    path = save_nifti(tmp_path / "a.nii.gz", array, AFFINE)
    content = path.read_bytes()
    refused = 0
    for seed in range(150):
        rng, damaged = random.Random(seed), bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read_volume(path).array[0]
        except InputError:
            refused += 1
        else:
            np.testing.assert_array_equal(found, array)
    assert refused >= 145  # the time and the name in gzip's own header may change
    for cut in (1, 4, 8, 9):  # within the checksum, then within the voxels
        path.write_bytes(content[:-cut])
        with pytest.raises(InputError, match="packed voxels end"):
            read_volume(path)


def test_gzip_in_several_members_is_read(tmp_path):
    path = save_nifti(tmp_path / "a.nii", ARRAY, AFFINE)
    content = path.read_bytes()
    parts = (content[:100], content[100:400], content[400:], b"")
    (tmp_path / "b.nii.gz").write_bytes(b"".join(map(gzip.compress, parts)) + bytes(512))
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii.gz").array[0], ARRAY)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_header_that_claims_much_takes_no_memory(tmp_path, ending):
    """An extension of 1 GB is recognised by its length, and by where the voxels begin."""
    content = bytearray(save_nifti(tmp_path / "good.nii", ARRAY, AFFINE).read_bytes())
    struct.pack_into("<f", content, 108, 2.0**30)
    struct.pack_into("<4B2i", content, 348, 1, 0, 0, 0, 2**30 - 352, 6)
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="claims 1073742064 bytes"):
            read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def pair(folder):
    nib.save(nib.Nifti1Pair(ARRAY.T, AFFINE), folder / "a.img")
    return (folder / "a.hdr").rename(folder / "header.nii"), "the header of a pair of files", "convert the pair"


def unpacked(folder):
    return save_nifti(folder / "b.nii", ARRAY).rename(folder / "b.nii.gz"), "not packed", "rename it to b.nii"


def packed(folder):
    return save_nifti(folder / "c.nii.gz", ARRAY).rename(folder / "c.nii"), "packed by gzip", "rename it to c.nii.gz"


def pointer(folder):
    (folder / "d.nii.gz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    return folder / "d.nii.gz", "a pointer of git-lfs", "git lfs pull"


def cifti(folder):
    axes = nib.cifti2.SeriesAxis(0, 1, 3), nib.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2)), affine=np.eye(4))
    nib.save(nib.cifti2.Cifti2Image(np.zeros((3, 8), np.float32), axes), folder / "e.dtseries.nii")
    return folder / "e.dtseries.nii", r"shape \(1, 1, 1, 1, 3, 8\)", "one volume"


def colour(folder):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), AFFINE), folder / "f.nii.gz")
    return folder / "f.nii.gz", "voxels of type", "convert the file"


def vectors(folder):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 1, 3), np.float32), AFFINE), folder / "g.nii.gz")
    return folder / "g.nii.gz", r"shape \(4, 4, 4, 1, 3\)", "one volume"


@pytest.mark.parametrize("foreign", [pair, unpacked, packed, pointer, cifti, colour, vectors])
def test_what_is_no_such_file_says_what_to_do(tmp_path, foreign):
    path, found, fix = foreign(tmp_path)
    with pytest.raises(InputError, match=rf"{path.name}: found .*{found}.*; expected .*{fix}") as refusal:
        read_volume(path)
    assert "\n" not in str(refusal.value)
