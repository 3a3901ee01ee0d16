"""Predicts a NIfTI scan with the ONNX graphs beside this file; needs onnxruntime, numpy, nibabel, nothing else.

python uniseg_onnx.py liver scan.nii.gz liver.nii.gz      (one file per modality, in the order of uniseg_onnx.json)
"""

import json
import sys
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime
from nibabel import orientations as ornt

CANONICAL = ornt.axcodes2ornt(("L", "P", "S"))  # (x, y, z); arrays are its transpose, [Z,Y,X]
SIGMA, LEAST_WEIGHT = 0.125, 1e-3  # of the Gaussian weights of a window
COARSE_RATIO, SAME_SPACING = 3.0, 1e-3  # an axis coarser by more is resampled apart, by nearest neighbour
SMALLEST_SD, SLAB = 1e-8, 2**24  # SLAB: values that are interpolated at a time
PADDING = 12  # voxels by which the edge is repeated before a spline is fitted


def predict(task: str, scans: Sequence[str], output: str, folder: str | Path = Path(__file__).parent) -> np.ndarray:
    """Write the label map of one task, which is returned as ``[Z,Y,X]`` in canonical orientation."""
    description = json.loads((Path(folder) / "uniseg_onnx.json").read_text())
    if task not in description["tasks"]:
        raise ValueError(f"task '{task}': expected one of {', '.join(description['tasks'])}")
    about = description["tasks"][task]
    array, present, affine, first = read(scans, about)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[ornt.io_orientation(affine)[:, 0].argsort()][::-1]  # z, y, x
    session = onnxruntime.InferenceSession(Path(folder) / about["graph"], providers=["CPUExecutionProvider"])
    label = segment(session, array, present, spacing, about, description)
    values = ornt.apply_orientation(label.T, ornt.ornt_transform(CANONICAL, ornt.io_orientation(affine)))
    image = nib.Nifti1Image(values.astype(np.uint8 if values.max(initial=0) < 256 else np.int16), affine)
    image.header.set_xyzt_units("mm")
    for kind in ("sform", "qform"):
        form, code = getattr(first.header, f"get_{kind}")(coded=True)
        getattr(image, f"set_{kind}")(None if form is None else _mm(first) @ form, int(code))
    nib.save(image, output)
    return label


def read(scans: Sequence[str], about: dict) -> tuple[np.ndarray, list[bool], np.ndarray, nib.Nifti1Image]:
    """``[M,Z,Y,X]`` in canonical orientation, which modalities are there ("-" is one that is not), affine in mm."""
    names = about["modalities"]
    if len(scans) != len(names):
        raise ValueError(f"{len(scans)} files; expected one for each of {', '.join(names)}")
    if missing := [name for name, scan in zip(names, scans) if scan == "-" and name not in about["optional"]]:
        raise ValueError(f"no file for {', '.join(missing)}; only {about['optional']} may be missing")
    images: list = [None if scan == "-" else nib.load(scan) for scan in scans]
    first = next(image for image in images if image is not None)
    affine, turned = _mm(first) @ first.affine, np.zeros(first.shape[:3])
    turn = ornt.ornt_transform(ornt.io_orientation(affine), CANONICAL)
    array = np.zeros((len(scans), *ornt.apply_orientation(turned, turn).T.shape), np.float32)
    for channel, scan, image in ((*each, image) for *each, image in zip(array, scans, images) if image is not None):
        values = np.asarray(image.dataobj, np.float32)
        values = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
        grid_differs = values.shape != turned.shape or not np.allclose(_mm(image) @ image.affine, affine, atol=0.05)
        if values.ndim != 3 or grid_differs or not np.isfinite(values).all():
            raise ValueError(f"{scan}: expected three dimensions of finite values on the grid of the first scan")
        channel[...] = ornt.apply_orientation(values, turn).T
    return array, [image is not None for image in images], affine, first


def segment(session, array: np.ndarray, present: Sequence[bool], spacing, about: dict, description: dict) -> np.ndarray:
    """Crop, normalise, resample, all windows, resample back, the largest score."""
    body = (array != 0).any(0)
    used = [np.flatnonzero(body.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(int(each[0]), int(each[-1]) + 1) if each.size else slice(None) for each in used)
    crop, body = array[(slice(None), *box)], body[box]
    if any(how.get("masked") for how in about["normalization"]):
        body = fill_holes(body)
    target = np.array(about["spacing_mm"])
    shape = tuple(max(1, round(n * s / t)) for n, s, t in zip(crop.shape[1:], spacing.tolist(), target.tolist()))
    channels = []
    for values, how, is_present in zip(crop, about["normalization"], present):
        values = normalize(values, how, body) if is_present else np.zeros_like(values)
        channels.append(values if shape == values.shape else resample(values, shape, axis_orders(3, spacing, target)))
    scores = sliding_windows(session, np.stack(channels), description["patch_size"], description["overlap"])
    label = np.zeros(array.shape[1:], np.int16)
    label[box] = largest_on_grid(scores, crop.shape[1:], axis_orders(1, spacing, target))
    return label


def fill_holes(body: np.ndarray) -> np.ndarray:
    """Air that the border does not reach over faces becomes body: reach spreads along whole lines until it stays."""
    reach = np.pad(np.zeros_like(body), 1, constant_values=True)
    body, before = np.pad(body, 1), -1
    while before != (before := int(np.count_nonzero(reach))):
        for axis, step in product(range(3), (1, -1)):
            way = tuple(slice(None, None, step if a == axis else 1) for a in range(3))
            line = np.arange(body.shape[axis], dtype=np.int32).reshape([-1 if a == axis else 1 for a in range(3)])
            last = [np.maximum.accumulate(np.where(each[way], line, -1), axis) for each in (reach, body)]
            reach[way] |= ~body[way] & (last[0] > last[1])
    return ~reach[1:-1, 1:-1, 1:-1]


def normalize(values: np.ndarray, how: dict, body: np.ndarray) -> np.ndarray:
    """One modality, as its task's training data were."""
    if how["mode"] == "zscore":
        inside = (values[body] if how["masked"] else values).astype(np.float64)
        if inside.size:
            mean, sd = inside.mean(), np.sqrt(np.square(inside - inside.mean()).mean())
            values = (values - np.float32(mean)) / np.float32(max(sd, SMALLEST_SD))
        return np.where(body, values, np.float32(0)) if how["masked"] else values
    is_window = how["mode"] == "window"
    shift, scale = (
        (how["lower"], how["upper"] - how["lower"]) if is_window else (how["mean"], max(how["sd"], SMALLEST_SD))
    )
    return (np.clip(values, np.float32(how["lower"]), np.float32(how["upper"])) - np.float32(shift)) / np.float32(scale)


def axis_orders(order: int, spacing: np.ndarray, target: np.ndarray) -> list[int]:
    """Spline order per axis: 0 along the one coarse axis of a scan, or else of the target."""
    for each in (spacing, target):
        if max(each) / min(each) > COARSE_RATIO:
            coarse = np.isclose(each, max(each), rtol=SAME_SPACING, atol=0)
            return [0 if apart else order for apart in coarse] if coarse.sum() == 1 else [order] * 3
    return [order] * 3


@cache
def axis_matrix(size: int, new_size: int, order: int) -> np.ndarray:
    """``[new_size, size]``: interpolation of order 0, 1 or 3 along an axis; edges of voxels stay in place."""
    eye = np.eye(size)
    centres = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5
    if order == 0 and size != new_size:
        return eye[np.clip(np.floor(centres + 0.5).astype(int), 0, size - 1)].astype(np.float32)
    if order == 1 or size == new_size:
        centres = np.clip(centres, 0, size - 1)
        low = np.floor(centres).astype(int)
        fraction = (centres - low)[:, None]
        return (eye[low] * (1 - fraction) + eye[np.minimum(low + 1, size - 1)] * fraction).astype(np.float32)
    padded = eye[np.clip(np.arange(-PADDING, size + PADDING), 0, size - 1)]
    spline = sum(np.eye(len(padded), k=k) * w / 6 for k, w in ((-1, 1), (0, 4), (1, 1)))
    spline[0, 0] = spline[-1, -1] = 5 / 6  # mirrored there
    coefficients = np.linalg.solve(spline, padded)
    low = np.floor(centres).astype(int)
    t = (centres - low)[:, None]
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6, t**3 / 6)
    return sum(w * coefficients[low + PADDING - 1 + k] for k, w in enumerate(weights)).astype(np.float32)


def resample(channel: np.ndarray, shape: Sequence[int], orders: Sequence[int]) -> np.ndarray:
    """Within the range of the channel, or of each plane across an axis of order 0."""
    z, y, x = (axis_matrix(n, m, order) for n, m, order in zip(channel.shape, shape, orders))
    out = y @ np.tensordot(z, channel, 1) @ x.T
    if 0 not in orders:
        return np.clip(out, channel.min(), channel.max())
    coarse = orders.index(0)
    planes = axis_matrix(channel.shape[coarse], shape[coarse], 0).argmax(1)
    across = tuple({0, 1, 2} - {coarse})
    low, high = (bound(axis=across, keepdims=True).take(planes, coarse) for bound in (channel.min, channel.max))
    return np.clip(out, low, high)


def sliding_windows(session, image: np.ndarray, size: Sequence[int], overlap: float) -> np.ndarray:
    """Scores of label values ``[V,z,y,x]``, averaged over windows with Gaussian weights."""
    shape = image.shape[1:]
    lacking = [max(0, n - s) for n, s in zip(size, shape)]
    image = np.pad(image, [(0, 0), *((n // 2, n - n // 2) for n in lacking)])
    weight = np.einsum("z,y,x->zyx", *(np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (SIGMA * n)) ** 2) for n in size))
    weight = np.maximum(weight, max(weight.min(), LEAST_WEIGHT)).astype(np.float32)
    steps = [max(1, int(n * (1 - overlap))) for n in size]
    last = [s - n for s, n in zip(image.shape[1:], size)]
    starts = [sorted({min(a, end) for a in range(0, end + step, step)}) for end, step in zip(last, steps)]
    total, weights = None, np.zeros(image.shape[1:], np.float32)
    for corner in product(*starts):
        window = tuple(slice(a, a + n) for a, n in zip(corner, size))
        (scores,) = session.run(None, {session.get_inputs()[0].name: image[(slice(None), *window)][None]})
        total = np.zeros((scores.shape[1], *weights.shape), np.float32) if total is None else total
        total[(slice(None), *window)] += scores[0] * weight
        weights[window] += weight
    if not np.isfinite(total).all():
        raise ValueError("NaN or infinity in what the network says")
    return (total / weights)[(slice(None), *(slice(n // 2, n // 2 + s) for n, s in zip(lacking, shape)))]


def largest_on_grid(scores: np.ndarray, shape: Sequence[int], orders: Sequence[int]) -> np.ndarray:
    """The label value with the largest score, in a grid of ``shape``, some planes at a time."""
    z, y, x = (axis_matrix(n, m, order) for n, m, order in zip(scores.shape[1:], shape, orders))
    label, step = np.zeros(shape, np.int16), max(1, SLAB // (len(scores) * shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        planes = np.einsum("pz,vzyx->vpyx", z[first : first + step], scores, optimize=True)
        label[first : first + step] = (y @ planes @ x.T).argmax(0)
    return label


def _mm(image: nib.Nifti1Image) -> np.ndarray:
    factor = {1: 1000.0, 3: 0.001}.get(int(image.header["xyzt_units"]) & 7, 1.0)  # metre, micron
    return np.diag([factor, factor, factor, 1.0])


if __name__ == "__main__":
    try:
        sys.exit(__doc__) if len(sys.argv) < 4 else predict(sys.argv[1], sys.argv[2:-1], sys.argv[-1])
    except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        sys.exit(f"error: {error}")
