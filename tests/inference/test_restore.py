"""The way there and back with a threshold in place of the network."""

import os
from itertools import pairwise, permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel import orientations as ornt
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from samples import make_task
from uniseg.images.files import read_volume, write_label_map
from uniseg.inference.restore import CompressedSegmentation, CropGeometry, OutputOptions, OutputResampler
from uniseg.inference.window_pass import Planes
from uniseg.phantom.suite import TASKS, make_case
from uniseg.preprocessing.preprocess import preprocess
from uniseg.preprocessing.resample import axis_orders, resample, target_shape

LEVEL_HU = 0  # fat against soft tissue
# Every order of the axes, each of them turned in two of eight ways; tests/images has all 48.
ORIENTATIONS = ["".join(code) for axes in permutations(("RL", "AP", "SI")) for code in list(product(*axes))[2::3]]
DATA = Path(os.environ.get("UNISEG_DATA", Path(__file__).parents[3] / "shared" / "data"))
SCANS = (
    sorted(path for folder in ("imagesTr", "imagesTs") for path in DATA.glob(f"*/{folder}/*_0000.nii.gz"))
    if DATA.is_dir()
    else []
)


def restore(
    scores, box, shape, spacing_mm, task_spacing_mm, *, confident=False, planes_at_once=3, blocks=1
) -> CompressedSegmentation:
    """``scores [V,z,y,x]`` as they come from the windows."""
    crop = CropGeometry(box, shape, spacing_mm, scores.shape[1:], task_spacing_mm)
    resampler = OutputResampler(lambda average: average, len(scores), crop, OutputOptions(confidence=confident))
    bounds = np.linspace(0, box[1][1] - box[1][0], blocks + 1).astype(int)
    for rows in pairwise(bounds):
        resampler.start_block(rows)
        low, high = resampler.source_rows(rows)
        for start in range(0, scores.shape[1], planes_at_once):
            resampler.add(Planes(start, scores[:, start : start + planes_at_once, low:high], None))
    return resampler.segmentation


def threshold(path, out, spacing_mm):
    """Read, preprocess, threshold at the task's spacing, restore, write."""
    task = make_task(spacing_mm=spacing_mm)
    volume = read_volume([path])
    prepared = preprocess(volume, task)
    level = (LEVEL_HU + 325) / 650
    evidence = torch.from_numpy(prepared.image[0]) - level
    label = restore(
        torch.stack([-evidence, evidence]), prepared.box, volume.array.shape[1:], volume.spacing_mm, task.spacing_mm
    ).label[:]
    write_label_map(label, path, out)
    return nib.load(out)


@pytest.fixture(scope="module")
def scan():
    """A phantom CT without its noise, on its own grid: array (x, y, z), affine to RAS."""
    case = make_case(3, [task.name for task in TASKS].index("vertebrae"), 2, shared_style=False)
    spacing = np.linalg.norm(case.affine[:3, :3], axis=0)
    return gaussian_filter(case.images[0].T.astype(np.float32), 1), np.diag([-spacing[2], -spacing[1], spacing[0], 1])


def physical(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(image).dataobj)


def test_every_orientation_gives_the_same_physical_mask(scan, tmp_path):
    array, affine = scan
    base = nib.Nifti1Image(array, affine)
    reference = None
    for code in ORIENTATIONS:
        turned = base.as_reoriented(ornt.ornt_transform(ornt.io_orientation(affine), ornt.axcodes2ornt(tuple(code))))
        nib.save(turned, tmp_path / f"{code}.nii.gz")
        mask = physical(threshold(tmp_path / f"{code}.nii.gz", tmp_path / "out" / f"{code}.nii.gz", (4, 3, 3)))
        reference = mask if reference is None else reference
        assert reference.any()
        np.testing.assert_array_equal(mask, reference)


@pytest.mark.parametrize("seed", range(4))
def test_oblique_affines_change_nothing_that_matters(scan, tmp_path, seed):
    array, affine = scan
    rng = np.random.default_rng(seed)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(rng.uniform(-25, 25, 3), degrees=True).as_matrix()
    turn[:3, 3] = rng.uniform(-50, 50, 3)
    nib.save(nib.Nifti1Image(array, turn @ affine), tmp_path / "oblique.nii.gz")
    out = threshold(tmp_path / "oblique.nii.gz", tmp_path / "out.nii.gz", tuple(np.abs(np.diag(affine))[2::-1] * 0.5))
    np.testing.assert_allclose(out.affine, turn @ affine, atol=1e-3)
    mask, truth = np.asarray(out.dataobj) == 1, array > LEVEL_HU
    assert 2 * np.count_nonzero(mask & truth) / (mask.sum() + truth.sum()) >= 0.98


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5, 0.5), (17, 1, 1), (1, 17, 1), (17, 17, 17), (0.5, 3, 17)])
@pytest.mark.parametrize("shape", [(20, 15, 10), (1, 30, 20), (40, 1, 20), (200, 6, 4), (2, 2, 2)])
def test_odd_spacings_and_shapes_come_back(tmp_path, spacing_mm, shape):
    """A ramp along the longest axis, seen at 2 mm: the step stays within a voxel of where it was, at either spacing."""
    axis = int(np.argmax(shape))
    ramp = np.linspace(-300, 300, shape[axis], dtype=np.float32)
    array = np.broadcast_to(ramp.reshape([-1 if a == axis else 1 for a in range(3)]), shape)
    nib.save(
        nib.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), np.diag([*spacing_mm[::-1], 1])),
        tmp_path / "scan.nii.gz",
    )
    out = threshold(tmp_path / "scan.nii.gz", tmp_path / "out.nii.gz", (2, 2, 2))
    mask = np.asarray(out.dataobj).transpose(2, 1, 0) > 0
    assert mask.shape == shape
    np.testing.assert_allclose(out.affine, np.diag([*spacing_mm[::-1], 1]))
    moved = abs(mask.sum() - (array > 0).sum()) / (mask.size / shape[axis])
    assert moved <= max(1, 2 / spacing_mm[axis])


@pytest.mark.skipif(not SCANS, reason=f"no scans in {DATA} (set UNISEG_DATA)")
@pytest.mark.slow
def test_every_real_scan_comes_back(tmp_path):
    """Thresholded at its own median at the same spacing, a scan gives the mask that the file itself gives."""
    for path in SCANS:
        volume = read_volume([path])
        level = float(np.median(volume.array[volume.array != 0]))
        task = make_task(spacing_mm=volume.spacing_mm)
        box = preprocess(volume, task).box
        evidence = torch.from_numpy(volume.array[0][tuple(slice(*side) for side in box)]) - level
        label = restore(
            torch.stack([-evidence, evidence]), box, volume.array.shape[1:], volume.spacing_mm, task.spacing_mm
        ).label[:]
        write_label_map(label, path, tmp_path / "out.nii.gz")
        out, image = nib.load(tmp_path / "out.nii.gz"), nib.load(path)
        np.testing.assert_allclose(out.affine, image.affine, atol=1e-4)
        inside = np.zeros(volume.array.shape[1:], bool)
        inside[tuple(slice(*side) for side in box)] = True
        expected = (volume.array[0] > level) & inside
        assert expected.any()
        np.testing.assert_array_equal(read_volume([tmp_path / "out.nii.gz"]).array[0] > 0, expected, err_msg=path.name)


def test_outside_the_crop_is_background():
    logits = torch.zeros(2, 2, 2, 2)
    logits[1] = 1
    label = restore(logits, ((1, 3), (0, 2), (2, 4)), (4, 2, 5), (1, 1, 1), (1, 1, 1)).label[:]
    assert label.sum() == 8
    assert label[1:3, :, 2:4].all()
    assert label.dtype == np.uint8


@pytest.mark.parametrize(
    ("target", "spacing"),
    [((2, 2, 2), (1, 1, 1)), ((1, 1, 1), (2, 1.5, 3)), ((5, 1, 1), (1, 2, 1)), ((1, 2, 1), (1, 9, 2))],
)
def test_streaming_equals_resampling_the_whole(monkeypatch, target, spacing):
    torch.manual_seed(0)
    scores = torch.nn.functional.avg_pool3d(torch.randn(3, 9, 12, 11), 3, 1, 1)
    scores[0] += 0.2
    inside = target_shape(scores.shape[1:], target, spacing)
    box, shape = tuple((1, n + 1) for n in inside), tuple(n + 3 for n in inside)
    whole = resample(scores, inside, axis_orders(1, spacing, target)).argmax(0).numpy()
    assert 0 < np.count_nonzero(whole) < whole.size
    for voxels, planes, blocks in ((2**23, 9, 1), (100, 1, 1), (7, 2, 3), (2**23, 4, 4)):
        monkeypatch.setattr("uniseg.inference.restore.SLAB_VOXELS", voxels)
        segmentation = restore(
            scores, box, shape, spacing, target, planes_at_once=planes, blocks=min(blocks, inside[1])
        ).label[:]
        np.testing.assert_array_equal(segmentation[tuple(slice(*side) for side in box)], whole)
        assert np.count_nonzero(segmentation) == np.count_nonzero(whole)


def test_where_no_window_looked_all_is_background():
    scores = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 2, 2, 4).clone()
    crop = CropGeometry(((0, 2), (0, 2), (0, 4)), (2, 2, 4), (1, 1, 1), (2, 2, 4), (1, 1, 1))
    resampler = OutputResampler(lambda average: average, 2, crop)
    seen = torch.ones(2, 2, 4, dtype=torch.bool)
    seen[..., 2:] = False
    resampler.add(Planes(0, scores, seen))
    assert resampler.segmentation.label[:].tolist() == [[[1, 1, 0, 0]] * 2] * 2


def test_confidence_is_the_probability_of_the_label():
    logits = torch.tensor([[0.0, 3.0], [1.0, 0.0]]).view(2, 1, 1, 2)
    segmentation = restore(logits, ((0, 1), (0, 1), (1, 3)), (1, 1, 4), (1, 1, 1), (1, 1, 1), confident=True)
    assert segmentation.label[:].tolist() == [[[0, 1, 0, 0]]]
    assert segmentation.confidence[:].tolist() == [[[0, round(255 * np.e / (np.e + 1)), 0, 0]]]
