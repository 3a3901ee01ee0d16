"""Geometry: what goes in turned comes back turned the same way."""

import itertools
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations as ornt

from samples import save_nifti
from scan_files import save_itk, save_segmentation, save_series
from uniseg.errors import InputError
from uniseg.images.files import case_id_of, read_geometry, read_label, read_volume, write_label_map, write_probabilities

CODES = ["".join(c) for p in itertools.permutations(["RL", "AP", "SI"]) for c in itertools.product(*p)]
SPACING_XYZ = (1.0, 1.5, 3.0)


def reoriented(array_zyx: np.ndarray, code: str) -> nib.Nifti1Image:
    """The same physical scan stored with another axis order."""
    image = nib.Nifti1Image(
        np.ascontiguousarray(array_zyx.T), np.diag([-SPACING_XYZ[0], -SPACING_XYZ[1], SPACING_XYZ[2], 1])
    )
    return image.as_reoriented(ornt.ornt_transform(ornt.io_orientation(image.affine), ornt.axcodes2ornt(tuple(code))))


def test_there_are_48_orientations():
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("code", CODES)
def test_every_orientation_reads_the_same_and_writes_back(code, tmp_path):
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    nib.save(reoriented(array, code), tmp_path / "scan.nii.gz")
    volume = read_volume([tmp_path / "scan.nii.gz"])
    np.testing.assert_array_equal(volume.array[0], array)
    assert volume.spacing_mm == pytest.approx(SPACING_XYZ[::-1])
    np.testing.assert_allclose(volume.affine[:3, 3], [0, 0, 0], atol=1e-6)
    write_label_map((array > 0.5).astype(np.uint8), tmp_path / "scan.nii.gz", tmp_path / "out.nii.gz")
    raw, out = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(out.dataobj), np.asarray(raw.dataobj) > 0.5)
    np.testing.assert_allclose(out.affine, raw.affine)
    np.testing.assert_array_equal(read_label(tmp_path / "out.nii.gz", [tmp_path / "scan.nii.gz"]), array > 0.5)


def test_the_affine_maps_indices_to_ras(tmp_path):
    affine = np.array([[0, 0, 2.0, 5], [-1.0, 0, 0, 7], [0, 3.0, 0, -4], [0, 0, 0, 1]])
    data = np.zeros((3, 4, 5), np.float32)
    data[2, 1, 3] = 1
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "a.nii.gz")
    volume = read_volume([tmp_path / "a.nii.gz"])
    index = np.argwhere(volume.array[0] == 1)[0]
    np.testing.assert_allclose(volume.affine @ [*index, 1], affine @ [2, 1, 3, 1])
    np.testing.assert_allclose(read_geometry(tmp_path / "a.nii.gz").affine, volume.affine)


def test_a_four_dimensional_file_holds_its_modalities(tmp_path):
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    nib.save(nib.Nifti1Image(array.transpose(3, 2, 1, 0), np.diag([-1, -1, 1, 1])), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume([tmp_path / "a.nii.gz"]).array, array)


def write(path, array=None, affine=None):
    return save_nifti(path, np.ones((3, 4, 5), np.float32) if array is None else array, affine)


def truncated(tmp_path):
    path = write(tmp_path / "cut.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)))
    path.write_bytes(path.read_bytes()[:2000])
    return [path], "cut.nii.gz"


def nan(tmp_path):
    array = np.ones((3, 4, 5), np.float32)
    array[0, 0, 0] = np.nan
    return [write(tmp_path / "nan.nii.gz", array)], "1 voxels of NaN"


def other_shape(tmp_path):
    return [write(tmp_path / "a.nii.gz"), write(tmp_path / "b.nii.gz", np.ones((3, 4, 6)))], r"b\.nii\.gz: found shape"


def other_affine(tmp_path):
    return [
        write(tmp_path / "a.nii.gz"),
        write(tmp_path / "b.nii.gz", affine=np.diag([1, 1, 2, 1])),
    ], r"b\.nii\.gz: found affine"


def zero_spacing(tmp_path):
    path = write(tmp_path / "zero.nii")
    image = nib.load(path)
    image.header.set_sform(np.diag([0, 1, 1, 1]), code=1)
    image.header.set_qform(None, code=0)
    path.write_bytes(image.header.binaryblock + bytes(4) + np.ones(60, np.float64).tobytes())
    return [path], "zero.nii: found spacing"


def missing(tmp_path):
    return [tmp_path / "none.nii.gz"], "no such file"


def folder(tmp_path):
    (tmp_path / "dir.nii.gz").mkdir()
    return [tmp_path / "dir.nii.gz"], "no such file"


def garbage(tmp_path):
    (tmp_path / "text.nii.gz").write_bytes(b"hello world" * 50)
    return [tmp_path / "text.nii.gz"], "text.nii.gz"


def empty(tmp_path):
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    return [tmp_path / "empty.nii.gz"], "empty.nii.gz"


def four_dimensional_beside_another(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((5, 4, 3, 2), np.float32), np.eye(4)), tmp_path / "two.nii.gz")
    return [write(tmp_path / "a.nii.gz"), tmp_path / "two.nii.gz"], r"two\.nii\.gz: found shape"


BAD = [
    truncated,
    nan,
    other_shape,
    other_affine,
    zero_spacing,
    missing,
    folder,
    garbage,
    empty,
    four_dimensional_beside_another,
]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_is_refused_in_one_line_that_names_it(bad, tmp_path):
    paths, message = bad(tmp_path)
    with pytest.raises(InputError, match=message) as refusal:
        read_volume(paths)
    assert "\n" not in str(refusal.value)


def test_a_label_of_another_shape_is_refused(tmp_path):
    image = write(tmp_path / "image.nii.gz")
    label = write(tmp_path / "label.nii.gz", np.zeros((3, 4, 4)))
    with pytest.raises(InputError, match=r"label\.nii\.gz: found shape"):
        read_label(label, [image])


def test_a_label_stored_as_float_is_read_but_not_fractions(tmp_path):
    image = write(tmp_path / "image.nii.gz")
    label = write(tmp_path / "label.nii.gz", np.full((3, 4, 5), 2.0))
    assert read_label(label, [image]).max() == 2
    with pytest.raises(InputError, match="not whole numbers"):
        read_label(write(tmp_path / "label.nii.gz", np.full((3, 4, 5), 1.5)), [image])


def test_a_grid_stored_the_other_way_round_is_the_same_grid(tmp_path):
    array = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.float32)
    nib.save(reoriented(array, "LPS"), tmp_path / "scan.nii.gz")
    nib.save(reoriented(array, "PIR"), tmp_path / "label.nii.gz")
    np.testing.assert_array_equal(read_label(tmp_path / "label.nii.gz", [tmp_path / "scan.nii.gz"]), array)
    np.testing.assert_array_equal(
        read_volume([tmp_path / "scan.nii.gz", tmp_path / "label.nii.gz"]).array, [array, array]
    )


AFFINE = np.array([[-1.5, 0, 0, 40], [0, -2.0, 0, 30], [0, 0, 3.0, -20], [0, 0, 0, 1]])


def test_a_case_may_mix_formats(tmp_path):
    array = np.random.default_rng(0).integers(0, 9, (4, 5, 6))
    paths = [
        save_series(tmp_path / "ct", array, AFFINE),
        save_itk(tmp_path / "pet.mha", (array + 1).astype(np.int16), AFFINE),
        save_nifti(tmp_path / "mr.nii.gz", (array + 2).astype(np.int16), AFFINE),
    ]
    label = save_segmentation(tmp_path / "label.seg.nrrd", (array > 4).astype(np.uint8), AFFINE, (1,))
    np.testing.assert_array_equal(read_volume(paths).array, [array, array + 1, array + 2])
    for like in paths:
        np.testing.assert_array_equal(read_label(label, [like]), array > 4)
        write_label_map((array > 4).astype(np.uint8), like, tmp_path / "out.nii.gz")
        np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj).T, array > 4)
        np.testing.assert_allclose(nib.load(tmp_path / "out.nii.gz").affine, AFFINE, atol=1e-5)


def two_grids(tmp_path):
    """A PET of coarse voxels, a CT of fine ones whose value is 10 x mm to the left, over the same place."""
    fine = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    coarse = np.array([[-2.0, 0, 0, -1], [0, -2, 0, -1], [0, 0, 2, 1], [0, 0, 0, 1]])
    ct = np.broadcast_to(10 * np.arange(8, dtype=np.float32), (8, 8, 8))
    return [
        write(tmp_path / "ct.nii.gz", ct, fine),
        save_itk(tmp_path / "pet.nrrd", np.ones((3, 3, 3), np.float32), coarse),
    ]


def test_modalities_are_resampled_onto_the_reference(tmp_path):
    paths = two_grids(tmp_path)
    with pytest.raises(InputError, match=r"pet\.nrrd: found shape"):
        read_volume(paths)
    volume = read_volume(paths, reference=1)
    assert volume.array.shape == (2, 3, 3, 3)
    assert volume.spacing_mm == (2, 2, 2)
    np.testing.assert_allclose(volume.array[0], np.broadcast_to([10, 30, 50], (3, 3, 3)), atol=1e-4)
    assert (volume.array[1] == 1).all()
    back = read_volume(paths, reference=0)
    assert back.array.shape == (2, 8, 8, 8)
    np.testing.assert_array_equal(back.array[0, 0, 0], 10 * np.arange(8))


def test_a_label_belongs_to_the_reference(tmp_path):
    paths = two_grids(tmp_path)
    label = save_itk(
        tmp_path / "label.mha",
        np.full((3, 3, 3), 2, np.uint8),
        np.array([[-2.0, 0, 0, -1], [0, -2, 0, -1], [0, 0, 2, 1], [0, 0, 0, 1]]),
    )
    assert read_label(label, paths, reference=1).shape == (3, 3, 3)
    with pytest.raises(InputError, match=r"label\.mha: found shape"):
        read_label(label, paths)


def test_a_missing_modality_is_a_channel_of_zeros(tmp_path):
    paths = [None, *two_grids(tmp_path)]
    volume = read_volume([*paths[:2], None])
    assert volume.present == (False, True, False)
    assert volume.array.shape == (3, 8, 8, 8)
    assert not volume.array[[0, 2]].any()
    assert volume.array[1].max() == 70
    assert read_volume(paths, reference=2).present == (False, True, True)
    label = write(tmp_path / "label.nii.gz", np.ones((8, 8, 8), np.uint8), np.diag([-1.0, -1, 1, 1]))
    assert read_label(label, paths[:2]).all()
    for given, reference in (([None, None], None), ([], None), (paths, 0), (paths, 3)):
        with pytest.raises(InputError, match="give its file"):
            read_volume(given, reference)


def test_all_modalities_of_a_four_dimensional_file_are_present(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((5, 4, 3, 2), np.float32), np.eye(4)), tmp_path / "two.nii.gz")
    assert read_volume([tmp_path / "two.nii.gz"]).present == (True, True)


class Place(os.PathLike):
    """Something that is no Path but names one."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


@pytest.mark.parametrize("kind", [str, Place])
def test_paths_come_as_text_or_what_names_a_path(tmp_path, kind):
    array = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.int16)
    path, other = write(tmp_path / "a.nii.gz", array, AFFINE), write(tmp_path / "b.nii.gz", array + 1, AFFINE)
    for given in (kind(path), [kind(path)], (kind(path),)):
        np.testing.assert_array_equal(read_volume(given).array, [array])
        np.testing.assert_array_equal(read_label(kind(other), given), array + 1)
    np.testing.assert_array_equal(read_volume([kind(path), None, path]).array, [array, 0 * array, array])
    assert read_geometry(kind(path)).array.shape == (1, 4, 5, 6)
    write_label_map(array, kind(path), kind(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(read_label(tmp_path / "out.nii.gz", path), array)
    write_probabilities(np.zeros((2, 4, 5, 6), np.uint8), kind(path), kind(tmp_path / "p.nii.gz"))
    assert read_volume(str(tmp_path / "p.nii.gz")).array.shape == (2, 4, 5, 6)
    assert case_id_of(kind(path)) == "a"


@pytest.mark.parametrize("name", ["a.NII", "a.Nii.GZ", "a.MHA", "a.NRRD"])
def test_an_ending_may_be_written_in_any_case(tmp_path, name):
    small = tmp_path / "small" / name.lower()
    array = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    path = (write if ".nii" in small.name else save_itk)(small, array, AFFINE).rename(tmp_path / name)
    np.testing.assert_array_equal(read_volume(path).array[0], array)
    assert case_id_of(path) == "a"


@pytest.mark.parametrize("axes", [1, 2])
def test_trailing_axes_of_one_are_dropped(tmp_path, axes):
    array = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.int16)
    for name in ("image", "label"):
        nib.save(nib.Nifti1Image(array.T.reshape(6, 5, 4, *[1] * axes), AFFINE), tmp_path / f"{name}.nii.gz")
    np.testing.assert_array_equal(
        read_volume([tmp_path / "image.nii.gz", write(tmp_path / "b.nii.gz", array, AFFINE)]).array, [array, array]
    )
    np.testing.assert_array_equal(read_label(tmp_path / "label.nii.gz", tmp_path / "image.nii.gz"), array)
    write_label_map(array, tmp_path / "image.nii.gz", tmp_path / "out.nii.gz")
    assert nib.load(tmp_path / "out.nii.gz").shape == (6, 5, 4)


@pytest.mark.parametrize("name", ["label.nii.gz", "label.nii", "label.nrrd", "label.mha", "label.NRRD"])
@pytest.mark.parametrize("code", ["LPS", "RAI", "SLP"])
def test_a_label_map_is_written_in_any_format_on_the_grid_of_a_file_or_a_volume(tmp_path, name, code):
    array = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.int16)
    image = reoriented(array, code)
    image.affine[:3, 3] = 5, -7, 11
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine), tmp_path / "scan.nii.gz")
    volume = read_volume(tmp_path / "scan.nii.gz")
    for like in (tmp_path / "scan.nii.gz", volume):
        write_label_map(volume.array[0].astype(np.int16), like=like, path=tmp_path / name)
        np.testing.assert_array_equal(read_label(tmp_path / name, tmp_path / "scan.nii.gz"), array)
        np.testing.assert_allclose(read_volume(tmp_path / name).affine, volume.affine, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["scan.nii.gz", name])


def test_a_label_map_of_another_shape_or_format_is_refused(tmp_path):
    path = write(tmp_path / "scan.nii.gz", np.zeros((4, 5, 6), np.int16), AFFINE)
    with pytest.raises(InputError, match=r"label\.nii: found a label map of shape \(4, 5, 5\); expected \(4, 5, 6\)"):
        write_label_map(np.zeros((4, 5, 5), np.uint8), path, tmp_path / "label.nii")
    for name in ("label.seg.nrrd", "label.mhd", "label.npy"):
        with pytest.raises(InputError, match=r"another file ending; expected one of \.nii\.gz, \.nii, \.nrrd, \.mha"):
            write_label_map(np.zeros((4, 5, 6), np.uint8), path, tmp_path / name)


def test_a_large_label_map_is_written_as_nifti2(tmp_path):
    scan = save_itk(tmp_path / "scan.mha", np.zeros((1, 2, 40000), np.uint8), np.diag([-0.1, -0.1, 1, 1]))
    write_label_map(np.ones((1, 2, 40000), np.uint8), scan, tmp_path / "out.nii.gz")
    assert read_label(tmp_path / "out.nii.gz", scan).all()


def test_importing_and_reading_change_nothing_for_the_whole_process(tmp_path):
    """nibabel's logger, pydicom's settings, ITK's warnings, numbers of threads belong to whoever runs us."""
    array, affine = np.zeros((4, 5, 6), np.int16), np.eye(4)
    paths = [write(tmp_path / "a.nii.gz", array, affine), save_itk(tmp_path / "a.nrrd", array, affine)]
    code = """
import sys, warnings
import blosc2, nibabel, numpy, pydicom, scipy.special, SimpleITK, torch  # some set filters for warnings of their own
def state():
    settings, itk = pydicom.config.settings, SimpleITK.ProcessObject
    return (nibabel.imageglobals.logger.level, nibabel.imageglobals.error_level, settings.reading_validation_mode,
        settings.writing_validation_mode, itk.GetGlobalWarningDisplay(), itk.GetGlobalDefaultNumberOfThreads(),
        list(map(str, warnings.filters)), numpy.geterr(), torch.get_num_threads(), blosc2.nthreads)
before = state()
import uniseg.images.files, uniseg.cache.store, uniseg.preprocessing.preprocess
for path in sys.argv[1:]:
    uniseg.images.files.read_volume(path)
assert state() == before, (before, state())
"""
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
