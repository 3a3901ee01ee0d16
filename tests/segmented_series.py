"""A small DICOM series in every direction, with a label map that is easy to get wrong, and where its voxels lie."""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from scan_files import LPS, dicom_slice, identified, save_slices
from uniseg.images.segments import SegmentTable, make_segments
from uniseg.terminology import ClassCodes

BASE = np.array([[-1.5, 0, 0, 40], [0, -0.8, 0, 30], [0, 0, 4.0, -20], [0, 0, 0, 1]])
TURN = np.eye(4)
TURN[:3, :3] = Rotation.from_rotvec([20, -15, 35], degrees=True).as_matrix()
SHAPE = (6, 17, 13)
AFFINES = {
    "straight": BASE,
    "oblique": TURN @ BASE,
    "flipped": BASE @ np.diag([-1, 1, -1, 1.0]),
    "sagittal": BASE[[2, 0, 1, 3]],
}
DRIFT = 0.7  # rows from one slice to the next, of a tilted gantry
CENTRE = (22.0, 15.76, -4.0)  # RAS mm, of voxel (12, 15, 4) on these slices
CODES = (ClassCodes("64033007 Kidney", modifier="24028007 Right"), None)
TABLE = SegmentTable("kidney", make_segments(("right_kidney", "tumour"), ((1,), (2,)), CODES), "abc123", "0.1")
NESTED = SegmentTable("brain", make_segments(("whole", "core"), ((1, 2), (2,))), "abc123", "0.1")
BALL = SegmentTable("ball", make_segments(("ball",), ((1,),)))


def stored_label() -> np.ndarray:
    """``[slice,row,column]``: a shell with a hole and an island in it, voxels that touch at corners, the rim."""
    label = np.zeros(SHAPE, np.uint8)
    label[1:5, 2:13, 2:11] = 1
    label[2:4, 4:11, 4:9] = 0
    label[2:4, 6:9, 6] = 1
    label[3, 5, 5] = label[3, 4, 4] = 1
    label[1:3, 10:12, 3:6] = 2
    label[0, 0, 0] = label[0, 1, 1] = label[5, -1, -1] = 2
    return label


def make_series(folder: Path, affine: np.ndarray) -> Path:
    """Noise of ``SHAPE``."""
    noise = np.random.default_rng(0).integers(0, 1000, SHAPE)
    return save_slices(folder, identified([dicom_slice(plane, affine, k) for k, plane in enumerate(noise)]))


def make_tilted_series(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A bright ball on slices that drift by ``DRIFT`` rows each; ``[slice,row,column]`` of it, their slanted affine."""
    slanted = BASE.copy()
    slanted[:3, 2] += DRIFT * BASE[:3, 1]
    shape = (9, 30, 24)
    ball = in_ball(shape, slanted)
    slices = identified([dicom_slice(1000 * plane, BASE, k) for k, plane in enumerate(ball)])
    for k, s in enumerate(slices):
        s.ImagePositionPatient = [f"{v:.8g}" for v in (LPS @ slanted @ [0, 0, k, 1])[:3]]
    return save_slices(folder, slices), ball, slanted


def in_ball(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """``[z,y,x]`` of the voxels whose centres lie in a ball of 8 mm around ``CENTRE``."""
    points = np.indices(shape)[::-1].reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return (np.linalg.norm(points - CENTRE, axis=1) < 8).reshape(shape)


def in_place(mask: np.ndarray, affine: np.ndarray) -> set[tuple]:
    """The set of voxel centres in RAS mm, to a tenth of a mm."""
    points = np.argwhere(mask)[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    return {tuple(point) for point in np.round(points, 1) + 0.0}
