"""What a viewer shows of one case, small enough for a page: scans, label maps, names, colours."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import nibabel as nib
import numpy as np
from scipy.ndimage import find_objects

from uniseg.images.segments import Segment, SegmentTable
from uniseg.images.volume import Volume
from uniseg.reporting.overlays import display_window

MB = 1_000_000
MOST_VOXELS = 12_000_000  # of a scan: browsers that draw without a graphics card stall above it
GREYS = 1000  # steps of a stored intensity between black and white
NEARLY_FINEST = 1.25  # axes whose voxels are less than this times the finest are halved with it
UINT8_LABELS = 255


@dataclass(frozen=True)
class Layer:
    """The label maps of one task, ``[Z,Y,X]``, on the grid of their scene; None where there is none.

    Attributes:
        details: of a class, to be read beside its name.

    Examples:
        >>> Layer("spleen", (Segment("spleen", (1,), (230, 200, 80)),), np.zeros((2, 2, 2), np.int16)).reference
    """

    task: str
    segments: tuple[Segment, ...]
    prediction: np.ndarray | None
    reference: np.ndarray | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def maps(self) -> dict[str, np.ndarray]:
        """Those that are there, by ``prediction`` and ``reference``."""
        both = {"prediction": self.prediction, "reference": self.reference}
        return {name: each for name, each in both.items() if each is not None}


@dataclass(frozen=True)
class Scene:
    """A case: its scans ``[M,Z,Y,X]``, one name each, with the tasks that were asked of it.

    Examples:
        >>> Scene("case_7", Volume.of_array(np.zeros((2, 2, 2)), (1, 1, 1)), ("CT",), ()).title
        'case_7'
    """

    title: str
    volume: Volume
    scans: tuple[str, ...]
    layers: tuple[Layer, ...]
    note: str = ""

    def cropped(self, box: Sequence[tuple[int, int]]) -> "Scene":
        """To first and last voxel per axis (z, y, x)."""
        cut = tuple(slice(low, high + 1) for low, high in box)
        affine = self.volume.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [low for low, _ in box]
        volume = replace(self.volume, array=self.volume.array[:, *cut], affine=affine)
        return replace(self, volume=volume, layers=_map_layers(self.layers, lambda label: label[cut]))


@dataclass(frozen=True)
class PackedScene:
    """A scene as a page holds it.

    Attributes:
        description: plain containers; its ``data`` are positions in ``blobs``.
        blobs: NIfTI files: gzip, base64.

    Examples:
        >>> scene = Scene("case_7", Volume.of_array(np.zeros((2, 2, 2)), (1, 1, 1)), ("CT",), ())
        >>> pack(scene, most_mb=1).num_bytes < 500
        True
    """

    description: dict[str, Any]
    blobs: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        return sum(map(len, self.blobs))


def pack(scene: Scene, most_mb: float) -> PackedScene:
    """At the scene's own resolution where that fits, else with its finest axes halved until it does."""
    windows = [display_window(image) for image in scene.volume.array]
    layers = [_Indexed.of(layer, scene.volume.voxel_ml) for layer in scene.layers]
    volume, labels = scene.volume, [each.labels for each in layers]
    while True:
        shape = volume.array.shape[1:]
        fits = np.prod(shape) <= MOST_VOXELS
        if fits or max(shape) < 2:
            blobs = [_pack_image(image, volume.affine, w) for image, w in zip(volume.array, windows, strict=True)]
            blobs += [_pack_label(label, volume.affine) for each in labels for label in each.values()]
            packed = PackedScene(_describe(scene, volume, windows, layers), tuple(blobs))
            if packed.num_bytes <= most_mb * MB or max(shape) < 2:
                return packed
        volume, labels = _halved(volume, labels)


@dataclass(frozen=True)
class _Indexed:
    """A layer whose maps count its segments, one for each value, from 1 on; those of no voxel are left out of
    ``rows``.
    """

    layer: Layer
    labels: dict[str, np.ndarray]
    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, layer: Layer, voxel_ml: float) -> "_Indexed":
        segments = SegmentTable(layer.task, layer.segments).exclusive().segments
        largest = max([0, *(int(label.max(initial=0)) for label in layer.maps.values())])
        numbers = np.zeros(1 + max([largest, *(s.values[0] for s in segments)]), np.uint16)
        for number, segment in enumerate(segments, 1):
            numbers[segment.values[0]] = number
        dtype = np.uint8 if len(segments) <= UINT8_LABELS else np.uint16
        labels = {name: numbers[np.maximum(label, 0)].astype(dtype) for name, label in layer.maps.items()}
        boxes = {name: find_objects(label, len(segments)) for name, label in labels.items()}
        counts = {name: _counts(label, len(segments) + 1) for name, label in labels.items()}
        rows = []
        for number, segment in enumerate(segments, 1):
            shown_in = next((n for n in ("reference", "prediction") if n in boxes and boxes[n][number - 1]), None)
            if shown_in:
                voxel = _middle(labels[shown_in], number, boxes[shown_in][number - 1])
                volumes = {name: each[number] * voxel_ml for name, each in counts.items()}
                detail = "; ".join(filter(None, (layer.details.get(segment.name, ""), _volumes(volumes))))
                row = {"value": number, "name": segment.name, "colour": list(segment.colour)}
                rows.append(row | {"voxel": voxel, "detail": detail})
        return cls(layer, labels, rows)


def _counts(label: np.ndarray, num_values: int) -> np.ndarray:
    """Voxels of each value; plane by plane, as NumPy makes eight bytes of each voxel."""
    return sum((np.bincount(plane.ravel(), minlength=num_values) for plane in label), np.zeros(num_values, int))


def _volumes(volumes_ml: Mapping[str, float]) -> str:
    """One volume, or that of the reference, then of the prediction."""
    texts = {name: f"{ml:.0f}" if ml >= 100 else f"{ml:.3g}" for name, ml in volumes_ml.items()}
    if len(texts) == 1:
        return f"{next(iter(texts.values()))} ml"
    return f"{texts['reference']} ml, predicted {texts['prediction']} ml"


def _middle(label: np.ndarray, value: int, box: tuple[slice, ...]) -> list[int]:
    """A voxel (z, y, x) of ``value`` near the middle of its largest axial cross-section."""
    mask = label[box] == value
    z = int(mask.sum((1, 2)).argmax())
    inside = np.argwhere(mask[z])
    y, x = inside[((inside - inside.mean(0)) ** 2).sum(1).argmin()]
    return [int(index + part.start) for index, part in zip((z, y, x), box, strict=True)]


def _describe(
    scene: Scene, volume: Volume, windows: Sequence[tuple[float, float]], layers: Sequence[_Indexed]
) -> dict[str, Any]:
    number = len(scene.scans)
    scans = [
        {"name": name, "data": index, "window": [float(edge) for edge in window]}
        for index, (name, window) in enumerate(zip(scene.scans, windows, strict=True))
    ]
    tasks = []
    for each in layers:
        classes = [
            {key: row[key] for key in ("value", "name", "colour", "detail")}
            | {"mm": _mm(scene.volume.affine, row["voxel"])}
            for row in each.rows
        ]
        task: dict[str, Any] = {"name": each.layer.task, "classes": classes}
        for name in each.labels:
            task[name], number = number, number + 1
        tasks.append(task)
    return {"title": scene.title, "note": _note(scene, volume), "scans": scans, "tasks": tasks}


def _note(scene: Scene, volume: Volume) -> str:
    """What is not as in the files."""
    parts = [scene.note] if scene.note else []
    if volume is not scene.volume:
        before, now = (" x ".join(f"{mm:.3g}" for mm in each.spacing_mm) for each in (scene.volume, volume))
        parts.append(f"shown with voxels of {now} mm instead of {before} mm (z, y, x), as the page has a limit")
    return "; ".join(parts)


def _mm(affine: np.ndarray, voxel: Sequence[int]) -> list[float]:
    return [round(float(mm), 3) for mm in (affine @ [*voxel, 1])[:3]]


def _halved(volume: Volume, labels: list[dict[str, np.ndarray]]) -> tuple[Volume, list[dict[str, np.ndarray]]]:
    """Voxels of two in one along the finest axes: the scan's mean; of labels what is no background."""
    finest = min(mm for mm, size in zip(volume.spacing_mm, volume.array.shape[1:], strict=True) if size > 1)
    array, affine, spacing = volume.array, volume.affine.copy(), list(volume.spacing_mm)
    for axis in range(3):
        if array.shape[axis + 1] < 2 or volume.spacing_mm[axis] >= NEARLY_FINEST * finest:
            continue
        first, second = _pairs(array, axis + 1)
        array = (first + second) / 2
        halves = [{name: _pairs(label, axis) for name, label in each.items()} for each in labels]
        labels = [{name: np.where(a > 0, a, b) for name, (a, b) in each.items()} for each in halves]
        affine[:3, 3] += affine[:3, axis] / 2
        affine[:3, axis] *= 2
        spacing[axis] *= 2
    return replace(volume, array=array, affine=affine, spacing_mm=tuple(spacing)), labels


def _pairs(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Even and odd planes; a last one without a partner is its own."""
    planes = np.arange(0, array.shape[axis], 2)
    return array.take(planes, axis), array.take(np.minimum(planes + 1, array.shape[axis] - 1), axis)


def _pack_image(image: np.ndarray, affine: np.ndarray, window: tuple[float, float]) -> str:
    """In whole steps, of which ``GREYS`` or fewer lie in the window; of whole numbers a step is one too."""
    low, high = window
    step = (high - low) / GREYS
    if np.array_equal(image, np.rint(image)):
        low, step = round(low), max(1, round(step))
    steps = np.clip(np.rint((image - low) / step), -32768, 32767).astype(np.int16)
    return _pack_nifti(steps, affine, float(step), float(low))


def _pack_label(label: np.ndarray, affine: np.ndarray) -> str:
    return _pack_nifti(label, affine, 1.0, 0.0)


def _pack_nifti(array: np.ndarray, affine: np.ndarray, slope: float, inter: float) -> str:
    """``[Z,Y,X]`` in memory is NIfTI's order of voxels, X fastest."""
    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    header.set_sform(affine[:, [2, 1, 0, 3]], code=1)
    header.set_zooms([float(np.linalg.norm(affine[:3, axis])) for axis in (2, 1, 0)])
    header.set_slope_inter(slope, inter)
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = header.binaryblock + bytes(4) + np.ascontiguousarray(array).tobytes()
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def _map_layers(layers: Sequence[Layer], change: Any) -> tuple[Layer, ...]:
    return tuple(replace(each, **{name: change(label) for name, label in each.maps.items()}) for each in layers)
