"""NRRD, Slicer's segmentations, MetaImage: geometry, channels, what is refused."""

import contextlib
import itertools
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from samples import save_nifti
from scan_files import save_itk, save_segmentation
from uniseg.errors import InputError
from uniseg.images.files import case_id_of, read_label, read_volume, write_label_map

AFFINE = np.array([[-1.5, 0, 0, 40], [0, -2.0, 0, 30], [0, 0, 3.0, -20], [0, 0, 0, 1]])
ARRAY = np.random.default_rng(0).normal(size=(5, 4, 6)).astype(np.float32)
ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
SIGNS = [np.diag([*signs, 1.0]) for signs in itertools.product((1, -1), repeat=3)]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_reads_as_its_nifti_does(tmp_path, ending, is_packed):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([15, -10, 25], degrees=True).as_matrix()
    for number, signs in enumerate(SIGNS):
        affine = turn @ AFFINE @ signs
        path = save_itk(tmp_path / f"{number}{ending}", ARRAY, affine, is_packed=is_packed)
        ours, theirs = read_volume([path]), read_volume([save_nifti(tmp_path / "same.nii.gz", ARRAY, affine)])
        np.testing.assert_array_equal(ours.array, theirs.array)
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
        assert ours.spacing_mm == pytest.approx(theirs.spacing_mm, abs=1e-5)
        assert case_id_of(path) == str(number)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_channels_are_modalities(tmp_path, ending):
    channels = np.stack([ARRAY, ARRAY + 1], axis=-1)
    np.testing.assert_array_equal(
        read_volume([save_itk(tmp_path / f"a{ending}", channels, AFFINE, is_vector=True)]).array, [ARRAY, ARRAY + 1]
    )


def test_a_fourth_axis_of_metaimage_holds_modalities(tmp_path):
    image = SimpleITK.GetImageFromArray(np.stack([ARRAY, ARRAY + 1]), isVector=False)
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(read_volume([tmp_path / "a.mha"]).array, [ARRAY, ARRAY + 1])


@pytest.mark.parametrize(
    ("space", "signs"), [("right-anterior-superior", (-1, -1)), ("left-anterior-superior", (1, -1))]
)
def test_other_spaces_of_nrrd(tmp_path, space, signs):
    path = save_itk(tmp_path / "a.nrrd", ARRAY, np.diag([-1.0, -1, 1, 1]) @ np.diag([*signs, 1.0, 1]))
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", space.encode()))
    volume = read_volume([path])
    np.testing.assert_array_equal(volume.array[0], ARRAY)
    np.testing.assert_allclose(volume.affine[:3, :3] @ [0, 0, 1], [-1, 0, 0])


def test_a_segmentation_is_one_label_map(tmp_path):
    image = save_nifti(tmp_path / "image.nii.gz", ARRAY, AFFINE @ np.diag([-1.0, 1, 1, 1]))
    label = np.zeros(ARRAY.shape, np.uint8)
    label[1:3, 1, 2:5], label[3, 2, 1] = 1, 4
    path = save_segmentation(tmp_path / "label.seg.nrrd", label, AFFINE @ np.diag([-1.0, 1, 1, 1]), (1, 4))
    assert case_id_of(path) == "label"
    np.testing.assert_array_equal(read_label(path, [image]), label[:, :, ::-1])
    with pytest.raises(InputError, match=r"label\.seg\.nrrd: found voxels of value 4; expected the segments' \[1\.0\]"):
        read_label(save_segmentation(path, label, AFFINE, (1,)), [image])
    with pytest.raises(InputError, match=r"label\.seg\.nrrd: found 2 layers of overlapping segments"):
        read_label(save_segmentation(path, np.stack([label, label], axis=-1), AFFINE, (1, 4), is_vector=True), [image])


def shifted(offset_xyz):
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [*offset_xyz, 1])[:3]
    return affine


def test_a_cropped_segmentation_is_put_into_its_scan(tmp_path):
    image = save_nifti(tmp_path / "image.nii.gz", ARRAY, AFFINE)
    crop = np.arange(1, 13, dtype=np.uint8).reshape(2, 2, 3)
    path = save_segmentation(tmp_path / "label.seg.nrrd", crop, shifted((3, 1, 2)), tuple(range(1, 13)))
    expected = np.zeros(ARRAY.shape, np.uint8)
    expected[2:4, 1:3, 3:6] = crop
    np.testing.assert_array_equal(read_label(path, [image]), expected)
    write_label_map(read_label(path, [image]), image, tmp_path / "whole.nii.gz")
    np.testing.assert_array_equal(read_label(tmp_path / "whole.nii.gz", [image]), expected)


def test_a_segmentation_beyond_its_scan_may_hold_nothing_there(tmp_path):
    image = save_nifti(tmp_path / "image.nii.gz", ARRAY, AFFINE)
    wide = np.zeros((7, 4, 9), np.uint8)
    wide[2, 3, 4] = 1
    path = save_segmentation(tmp_path / "label.seg.nrrd", wide, shifted((-2, 0, -1)), (1,))
    label = read_label(path, [image])
    assert label.sum() == label[1, 3, 2] == 1
    wide[0, 0, 0] = wide[6, 0, 8] = 1
    with pytest.raises(InputError, match=r"label\.seg\.nrrd: found 2 labelled voxels beyond image\.nii\.gz"):
        read_label(save_segmentation(path, wide, shifted((-2, 0, -1)), (1,)), [image])
    with pytest.raises(InputError, match="found 1 labelled voxels beyond"):
        read_label(save_segmentation(path, np.ones((1, 1, 1), np.uint8), shifted((100, 0, 0)), (1,)), [image])


@pytest.mark.parametrize("affine", [shifted((0.5, 0, 0)), AFFINE @ np.diag([2.0, 1, 1, 1])])
def test_a_segmentation_between_voxels_is_refused(tmp_path, affine):
    image = save_nifti(tmp_path / "image.nii.gz", ARRAY, AFFINE)
    with pytest.raises(InputError, match=r"label\.seg\.nrrd: found affine"):
        read_label(save_segmentation(tmp_path / "label.seg.nrrd", np.ones((2, 2, 2), np.uint8), affine, (1,)), [image])


NRRD = {
    "no spacing": (b"space directions: (1.5,0,0) (0,2,0) (0,0,3)\n", b"", "neither space directions nor spacings"),
    "two directions": (b"(1.5,0,0) (0,2,0)", b"none (0,2,0)", "three vectors"),
    "no number": (b"(1.5,0,0)", b"(x,0,0)", "'x' in space directions"),
    "flat": (b"(1.5,0,0)", b"(0,2,0)", "a.nrrd"),
    "nan spacing": (b"space directions: (1.5,0,0) (0,2,0) (0,0,3)", b"spacings: 1 nan 1", "'nan' in spacings"),
    "negative spacing": (
        b"space directions: (1.5,0,0) (0,2,0) (0,0,3)",
        b"spacings: 1 -1 1",
        r"spacing \[1\.0, -1\.0, 1\.0\]",
    ),
    "unknown space": (b"left-posterior-superior", b"scanner-xyz", "space 'scanner-xyz'"),
    "nan origin": (b"space origin: (-40", b"space origin: (nan", "'nan' in space origin"),
    "too large": (b"sizes: 6 4 5", b"sizes: 60000 40000 5", "claims 48000000000 bytes"),
    "too small": (b"sizes: 6 4 5", b"sizes: 6 4 4", "480 bytes of voxels; expected 384"),
    "long word": (b"encoding: raw", b"encoding: " + b"x" * 5000, "a field 'encoding' of 5011 bytes"),
    "long name": (b"type: float", b"type: float\n" + b"k" * 1100 + b": 1", "a field 'kkk.*' of 1104 bytes"),
    "flat scan": (b"kinds: domain domain domain", b"kinds: domain domain list", "a.nrrd"),
}
META = {
    "no spacing": (b"ElementSpacing = 1.5 2 3\n", b"", "no ElementSpacing"),
    "negative spacing": (b"1.5 2 3", b"1.5 -2 3", r"spacing \[1\.5, -2\.0, 3\.0\]"),
    "nan offset": (b"Offset = -40", b"Offset = nan", "'nan' in offset"),
    "no data line": (b"ElementDataFile", b"ElementDataFyle", "no ElementDataFile"),
    "missing data": (b"LOCAL", b"a.raw", "voxels in 'a.raw'"),
    "slices": (b"LOCAL", b"LIST", "voxels in 'LIST'"),
    "too large": (b"DimSize = 6 4 5", b"DimSize = 60000 40000 5", "claims 48000000000 bytes"),
    "too large, packed": (
        b"CompressedData = False\n",
        b"CompressedData = True\nDimSize = 60000 40000 5\n",
        "claims 48000000000 bytes|a.mha",
    ),
    "2-D": (b"NDims = 3", b"NDims = 2", "a.mha"),
    "small letters": (b"ElementType", b"elementType", "no ElementType"),
    "no size": (b"DimSize", b"DimSise", "no DimSize"),
    "odd letters": (b"LOCAL", b"lOCAL", "voxels in 'lOCAL'"),
    "not packed": (b"CompressedData = False\n", b"CompressedData = True\n", r"found error \("),
    "complex": (b"MET_FLOAT", b"MET_ARRAY", "a.mha"),
}


@pytest.mark.parametrize(("ending", "name"), [*((".nrrd", name) for name in NRRD), *((".mha", name) for name in META)])
def test_a_bad_header_is_refused(tmp_path, capfd, ending, name):
    old, new, message = (NRRD if ending == ".nrrd" else META)[name]
    path = save_itk(tmp_path / f"a{ending}", ARRAY, AFFINE)
    content = path.read_bytes()
    assert content.count(old) == 1, content[:400]
    path.write_bytes(content.replace(old, new))
    with pytest.raises(InputError, match=message) as refusal:
        read_volume([path])
    assert str(refusal.value).startswith(f"{path}: ")
    assert capfd.readouterr() == ("", "")


def test_reading_in_threads_leaves_standard_error_alone(tmp_path, capfd):
    """Four readers, while another thread writes to descriptor 2 all the time: good scans, no message lost."""
    kinds = itertools.product((".nrrd", ".mha"), (False, True))
    paths = [save_itk(tmp_path / f"{packed}{ending}", ARRAY, AFFINE, is_packed=packed) for ending, packed in kinds]
    (tmp_path / "bad.mha").write_bytes(paths[-1].read_bytes()[:-30])
    done, sent = threading.Event(), []

    def chatter():
        while not done.is_set():
            sent.append(f"line {len(sent)}")
            os.write(2, f"{sent[-1]}\n".encode())

    def read(number):
        if number % 10 == 9:
            with pytest.raises(InputError):
                read_volume(tmp_path / "bad.mha")
        return read_volume(paths[number % len(paths)]).array[0]

    own, talker = os.fstat(2), threading.Thread(target=chatter)
    talker.start()
    try:
        with ThreadPoolExecutor(4) as readers:
            for array in readers.map(read, range(200)):
                np.testing.assert_array_equal(array, ARRAY)
    finally:
        done.set()
        talker.join()
    assert os.path.samestat(own, os.fstat(2))
    assert capfd.readouterr().err.splitlines() == sent


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_no_flipped_bit_of_packed_voxels_is_accepted(tmp_path, ending):
    path = save_itk(tmp_path / f"a{ending}", ARRAY, AFFINE, is_packed=True)
    content = path.read_bytes()
    start = content.index(b"\n\n") + 2 if ending == ".nrrd" else content.index(b"LOCAL\n") + 6
    for seed in range(150):
        rng, damaged = random.Random(seed), bytearray(content)
        damaged[rng.randrange(start, len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            np.testing.assert_array_equal(read_volume(path).array[0], ARRAY)
    for cut in (1, 3):
        path.write_bytes(content[:-cut])
        with pytest.raises(InputError, match="packed voxels end"):
            read_volume(path)


@pytest.mark.parametrize("name", ["/tmp/a.raw", "../a.raw", "deep/a.raw", "deep\\a.raw", "..", "./../a.raw"])
@pytest.mark.parametrize("ending", [".nhdr", ".mhd"])
def test_voxels_lie_beside_their_header(tmp_path, ending, name):
    path = save_itk(tmp_path / "here" / f"a{ending}", ARRAY, AFFINE)
    data = next(other for other in path.parent.iterdir() if other != path)
    for place in (tmp_path / "a.raw", tmp_path / "here/deep/a.raw"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data.read_bytes())
    text = path.read_text()
    path.write_text(text.replace(data.name, f"./{data.name}"))
    np.testing.assert_array_equal(read_volume(path).array[0], ARRAY)
    path.write_text(text.replace(data.name, name))
    with pytest.raises(InputError, match="expected the name of a file beside it"):
        read_volume(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CompressedData = True", b"CompressedData = 1"),
        (b"CompressedData = True", b"CompressedData = true"),
        (b"CompressedDataSize", b"CompressedDataSise"),
        (b"CompressedDataSize =", b"CompressedDataSize="),
        (b"Offset", b"Position"),
        (b"TransformMatrix", b"Rotation"),
    ],
)
def test_other_spellings_of_metaimage(tmp_path, old, new):
    """ITK's reader returns what is in memory where it does not know the packed size."""
    path = save_itk(tmp_path / "a.mha", ARRAY, AFFINE, is_packed=True)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[0], ARRAY)
    np.testing.assert_allclose(volume.affine, AFFINE[:, [2, 1, 0, 3]], atol=1e-6)


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("form", ["little", "big", "skipped", "at the end", "text"])
def test_metaimage_reads_as_itk_wrote_it(tmp_path, kind, form):
    array = (ARRAY * 50).astype(kind)
    path = save_itk(tmp_path / "a.mhd", array, AFFINE)
    text, raw = path.read_text(), tmp_path / "a.raw"
    content = array.astype(f">{kind}").tobytes() if form == "big" else raw.read_bytes()
    if form == "big":
        text = text.replace("BinaryDataByteOrderMSB = False", "BinaryDataByteOrderMSB = True")
    elif form in ("skipped", "at the end"):
        text = text.replace("ElementDataFile", f"HeaderSize = {13 if form == 'skipped' else -1}\nElementDataFile")
        content = b"x" * 13 + content
    elif form == "text":
        text, content = (
            text.replace("BinaryData = True", "BinaryData = False"),
            " ".join(map(str, array.ravel())).encode(),
        )
    path.write_text(text)
    raw.write_bytes(content)
    np.testing.assert_array_equal(read_volume(path).array[0], array.astype(np.float32))
    if form != "at the end":
        raw.write_bytes(content[: -len(content) // 3])
        with pytest.raises(InputError, match="bytes of voxels"):
            read_volume(path)
