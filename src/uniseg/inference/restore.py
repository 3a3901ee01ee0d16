"""Back to the scan's grid: planes of scores at the task's spacing -> label map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import blosc2
import numpy as np
import torch
from torch import Tensor

from uniseg.device_copy import to_device
from uniseg.images.orientation import turn_back
from uniseg.images.volume import CANONICAL_AXES
from uniseg.inference.plane_writer import PlaneWriter
from uniseg.inference.window_pass import Planes
from uniseg.preprocessing.preprocess import Box
from uniseg.preprocessing.resample import Taps, axis_orders, axis_taps

SLAB_VOXELS = 2**23  # of float maps, in memory at a time
ON_PROCESSOR = PlaneWriter(torch.device("cpu"))
SURE = 255
PLANES = 8  # in a compressed chunk
# label values use few of their bits
COMPRESSION = {"codec": blosc2.Codec.ZSTD, "clevel": 1, "filters": [blosc2.Filter.BITSHUFFLE]}
UNSEEN = -10.0  # score of every class but the background where no window looked


@dataclass(frozen=True)
class OutputOptions:
    """What a segmentation holds beside its labels.

    Examples:
        >>> OutputOptions(probabilities=True).confidence
        False
    """

    confidence: bool = False
    probabilities: bool = False


@dataclass(frozen=True)
class CompressedSegmentation:
    """A segmentation in the scan's grid: ``label[:]`` decompresses all of it, ``label[low:high]`` some planes.

    Attributes:
        label: label values ``[Z,Y,X]`` uint8 or int16.
        confidence: of labels above 0 their probability (softmax over the label values) times 255, uint8; None without
            that option.
        probabilities: of all label values ``[V,Z,Y,X]`` uint8, times 255; None without that option.

    Examples:
        >>> label = np.array([[[0, 1]]], np.uint8)
        >>> CompressedSegmentation(blosc2.asarray(label)).label[:].sum()
        np.uint64(1)
    """

    label: blosc2.NDArray
    confidence: blosc2.NDArray | None = None
    probabilities: blosc2.NDArray | None = None

    @classmethod
    def background(cls, shape: Sequence[int], num_labels: int, options: OutputOptions) -> "CompressedSegmentation":
        """All of it background."""
        label = _zeros(shape, np.uint8 if num_labels <= 256 else np.int16)
        confidence = _zeros(shape, np.uint8) if options.confidence else None
        probabilities = _zeros((num_labels, *shape), np.uint8) if options.probabilities else None
        if probabilities is not None:
            probabilities[0] = SURE
        return cls(label, confidence, probabilities)


def turned_back(segmentation: CompressedSegmentation, axes: str) -> CompressedSegmentation:
    """In the canonical orientation, of one in ``axes``."""
    if axes == CANONICAL_AXES:
        return segmentation
    kept = (segmentation.label, segmentation.confidence, segmentation.probabilities)
    return CompressedSegmentation(*(None if each is None else _turned_back(each, axes) for each in kept))


def _turned_back(array: blosc2.NDArray, axes: str) -> blosc2.NDArray:
    values = turn_back(array[:], axes)
    out = _zeros(values.shape, values.dtype)
    out[:] = values
    return out


@dataclass(frozen=True)
class CropGeometry:
    """Where the network's image lies in the scan.

    Attributes:
        box: of the crop in the scan.
        shape, spacing_mm: of the scan.
        task_shape, task_spacing_mm: of the crop at the task's spacing.

    Examples:
        >>> box = ((0, 4), (2, 8), (2, 8))
        >>> CropGeometry(box, (4, 10, 10), (2, 1, 1), (4, 3, 3), (2, 2, 2)).crop_shape
        (4, 6, 6)
    """

    box: Box
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    task_shape: tuple[int, ...]
    task_spacing_mm: tuple[float, ...]

    @property
    def crop_shape(self) -> tuple[int, int, int]:
        """Of the crop in the scan."""
        return tuple(stop - start for start, stop in self.box)


class OutputResampler:
    """Takes the planes of one task from bottom to top, writes every plane of the label map as soon as its neighbours
    are there.

    Linear; nearest along a coarse axis; outside the crop all is background. Where no neighbour of a voxel is
    foreground, linear interpolation cannot make it so: only the rest is computed, unless probabilities are an option.
    A GPU computes everything, which takes less than to wait for where the foreground is.

    Args:
        to_scores: averages ``[C,...]`` -> scores of label values ``[num_labels,...]``; linear.
        writer: of what is computed, for the device on which the planes are.
        slab_voxels: of float maps, in memory at a time.

    Examples:
        >>> crop = CropGeometry(((0, 2),) * 3, (2, 2, 2), (1, 1, 1), (2, 2, 2), (1, 1, 1))
        >>> resampler = OutputResampler(lambda average: average, 2, crop)
        >>> resampler.add(Planes(0, torch.stack([torch.zeros(2, 2, 2), torch.ones(2, 2, 2)]), None))
        >>> int(resampler.segmentation.label[:].sum())
        8
    """

    def __init__(
        self,
        to_scores: Callable[[Tensor], Tensor],
        num_labels: int,
        crop: CropGeometry,
        options: OutputOptions = OutputOptions(),
        writer: PlaneWriter = ON_PROCESSOR,
        slab_voxels: int = SLAB_VOXELS,
    ) -> None:
        self.to_scores, self.num_labels, self.crop_shape = to_scores, num_labels, crop.crop_shape
        self.writer, self.slab_voxels = writer, slab_voxels
        self.everywhere = options.probabilities or writer.device.type == "cuda"
        orders = axis_orders(1, crop.spacing_mm, crop.task_spacing_mm)
        self.taps = [axis_taps(n, m, k) for n, m, k in zip(crop.task_shape, self.crop_shape, orders, strict=True)]
        self.corner = [start for start, _ in crop.box]
        self.segmentation = CompressedSegmentation.background(crop.shape, num_labels, options)
        self.start_block((0, self.crop_shape[1]))

    def source_rows(self, rows: tuple[int, int]) -> tuple[int, int]:
        """Rows at the task's spacing that the rows ``[rows)`` of the crop in the scan need."""
        taps = self.taps[1]
        return int(taps.low[rows[0]]), int(taps.high[rows[1] - 1]) + 1

    def start_block(self, rows: tuple[int, int]) -> None:
        """The planes that follow hold ``source_rows(rows)``, from the first plane on."""
        self.rows, self.first_row = rows, self.source_rows(rows)[0]
        self.next_plane, self.start = 0, 0
        self.average: Tensor | None = None
        self.foreground: Tensor | None = None

    def add(self, planes: Planes) -> None:
        """Takes the next planes; keeps those that later ones still need."""
        average = planes.average
        if planes.seen is not None:
            background = torch.full((len(average), 1, 1, 1), UNSEEN, device=average.device)
            background[0] = 0
            average = torch.where(planes.seen, average, background)
        if not self.everywhere:
            foreground = torch.stack([self.to_scores(plane).argmax(0) > 0 for plane in average.unbind(1)])
            self.foreground = foreground if self.foreground is None else torch.cat([self.foreground, foreground])
        average = average if self.average is None else torch.cat([self.average, average], 1)
        self.average = average
        ready = int(np.searchsorted(self.taps[0].high, self.start + average.shape[1]))
        step = max(1, self.slab_voxels // (len(average) * (self.rows[1] - self.rows[0]) * self.crop_shape[2]))
        for low in range(self.next_plane, ready, step):
            self._write(low, min(low + step, ready))
        self.next_plane = ready
        next_needed = int(self.taps[0].low[ready]) if ready < self.crop_shape[0] else self.start + average.shape[1]
        spent = min(next_needed - self.start, average.shape[1])
        self.start += spent
        self.average = average[:, spent:].clone()
        self.foreground = None if self.foreground is None else self.foreground[spent:].clone()

    def _write(self, low: int, high: int) -> None:
        """Planes ``[low, high)`` of the crop in the scan."""
        z, y, x = self.taps
        first, last = int(z.low[low]) - self.start, int(z.high[high - 1]) + 1 - self.start
        rows, columns = self.rows, (0, self.crop_shape[2])
        if not self.everywhere:
            foreground = self.foreground[first:last].any(0)
            if not bool(foreground.any()):
                return
            rows = _covered_range(y, foreground.any(1), self.first_row, rows)
            columns = _covered_range(x, foreground.any(0), 0, columns)
        part = _interpolate_axis(self.average[:, first:last], 1, z.within(low, high), self.start + first)
        part = _interpolate_axis(part, 3, x.within(*columns), 0)
        step = max(1, self.slab_voxels // (self.num_labels * (high - low) * max(1, columns[1] - columns[0])))
        bounds = [(row, min(row + step, rows[1])) for row in range(*rows, step)]
        strips = [
            self._values(self.to_scores(_interpolate_axis(part, 2, y.within(*strip), self.first_row)))
            for strip in bounds
        ]
        inside = tuple(slice(a + c, b + c) for (a, b), c in zip(((low, high), rows, columns), self.corner, strict=True))
        kept = (self.segmentation.label, self.segmentation.confidence, self.segmentation.probabilities)
        for array, values in zip(kept, zip(*strips, strict=True), strict=True):
            if array is not None:
                target = (slice(None), *inside) if array.ndim == 4 else inside
                self.writer.put(array, target, values[0] if len(values) == 1 else torch.cat(values, -2))

    def _values(self, scores: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Label, confidence, probabilities as they are kept."""
        value, label = scores.max(0)
        confidence = probabilities = None
        if self.segmentation.confidence is not None:
            confidence = _as_byte((value - scores.logsumexp(0)).exp() * (label > 0))
        if self.segmentation.probabilities is not None:
            probabilities = _as_byte(scores.softmax(0))
        return label.to(torch.uint8 if self.num_labels <= 256 else torch.int16), confidence, probabilities


def _as_byte(fraction: Tensor) -> Tensor:
    return (fraction * SURE).round().to(torch.uint8)


def _zeros(shape: Sequence[int], dtype: type) -> blosc2.NDArray:
    """A chunk holds some planes."""
    chunks = (*(1,) * (len(shape) - 3), min(PLANES, shape[-3]), *shape[-2:])
    return blosc2.zeros(tuple(shape), dtype=dtype, chunks=chunks, cparams=COMPRESSION)


def _covered_range(taps: Taps, foreground: Tensor, offset: int, bounds: tuple[int, int]) -> tuple[int, int]:
    """New indices in ``bounds`` from the first to the last that take from an old one which is ``foreground``."""
    old = np.flatnonzero(foreground.cpu().numpy()) + offset
    new = np.arange(*bounds)
    hit = new[(taps.high[new] >= old[0]) & (taps.low[new] <= old[-1])]
    return (int(hit[0]), int(hit[-1]) + 1) if hit.size else (bounds[0], bounds[0])


def _interpolate_axis(array: Tensor, axis: int, taps: Taps, offset: int) -> Tensor:
    """``array``, whose first index along ``axis`` is ``offset``, interpolated along it."""
    start, count = int(taps.low[0]) - offset if len(taps.low) else 0, len(taps.low)
    is_blended = bool(taps.fraction.any())
    if not is_blended and np.array_equal(taps.low - offset, np.arange(start, start + count)):
        return array.narrow(axis, start, count)
    out = array.index_select(axis, to_device(taps.low - offset, array.device))
    if not is_blended:
        return out
    fraction = to_device(taps.fraction, array.device)
    fraction = fraction.view([-1 if a == axis else 1 for a in range(array.ndim)])
    return out.lerp_(array.index_select(axis, to_device(taps.high - offset, array.device)), fraction)
