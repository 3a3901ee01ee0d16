"""Back to the scan's grid: planes of scores at the task's spacing -> label map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import blosc2
import numpy as np
import torch
from torch import Tensor

from uniseg.inference.window_pass import Planes
from uniseg.preprocessing.preprocess import Box
from uniseg.preprocessing.resample import Taps, axis_orders, axis_taps

SLAB_VOXELS = 2**23  # of float maps, held at a time
SURE = 255
PLANES = 8  # in a compressed chunk
# label values use few of their bits
PACKING = {"codec": blosc2.Codec.ZSTD, "clevel": 1, "filters": [blosc2.Filter.BITSHUFFLE]}
UNSEEN = -10.0  # score of every class but the background where no window looked


@dataclass(frozen=True)
class Restored:
    """A segmentation in the scan's grid, compressed: ``label[:]`` unpacks all of it, ``label[low:high]`` some planes.

    Attributes:
        label: label values ``[Z,Y,X]`` uint8 or int16.
        confidence: of labels above 0 their probability (softmax over the label values) times 255, uint8; None where it
            was not asked.
        probabilities: of all label values ``[V,Z,Y,X]`` uint8, times 255; None where they were not asked.
    """

    label: blosc2.NDArray
    confidence: blosc2.NDArray | None
    probabilities: blosc2.NDArray | None = None


@dataclass(frozen=True)
class Wanted:
    """What a restored segmentation holds beside its labels."""

    confidence: bool = False
    probabilities: bool = False


class Restorer:
    """Takes the planes of one task from bottom to top, writes every plane of the label map as soon as its neighbours
    are there.

    Linear; nearest along a coarse axis; outside ``box`` all is background. Where no neighbour of a voxel is foreground,
    linear interpolation cannot make it so: only the rest is computed, unless probabilities are wanted.

    Args:
        to_scores: what is held ``[C,...]`` -> scores of label values ``[num_labels,...]``; linear.
        box: of the crop in the scan.
        shape: of the scan.
        size: (z, y, x) of the crop at the task's spacing.
    """

    def __init__(
        self,
        to_scores: Callable[[Tensor], Tensor],
        num_labels: int,
        *,
        box: Box,
        shape: Sequence[int],
        size: Sequence[int],
        spacing_mm: Sequence[float],
        task_spacing_mm: Sequence[float],
        wanted: Wanted,
    ) -> None:
        self.to_scores, self.num_labels = to_scores, num_labels
        self.inside = [stop - start for start, stop in box]
        orders = axis_orders(1, spacing_mm, task_spacing_mm)
        self.taps = [axis_taps(n, m, order) for n, m, order in zip(size, self.inside, orders, strict=True)]
        self.corner = [start for start, _ in box]
        label = _packed(shape, np.uint8 if num_labels <= 256 else np.int16)
        confidence = _packed(shape, np.uint8) if wanted.confidence else None
        probabilities = _packed((num_labels, *shape), np.uint8) if wanted.probabilities else None
        if probabilities is not None:
            probabilities[0] = SURE
        self.restored = Restored(label, confidence, probabilities)
        self.begin((0, self.inside[1]))

    def source_rows(self, rows: tuple[int, int]) -> tuple[int, int]:
        """Rows at the task's spacing that the rows ``[rows)`` of the crop in the scan need."""
        taps = self.taps[1]
        return int(taps.low[rows[0]]), int(taps.high[rows[1] - 1]) + 1

    def begin(self, rows: tuple[int, int]) -> None:
        """The planes that follow hold ``source_rows(rows)``, from the first plane on."""
        self.rows, self.first_row = rows, self.source_rows(rows)[0]
        self.next_plane, self.start = 0, 0
        self.held: Tensor | None = None
        self.foreground: Tensor | None = None

    def add(self, planes: Planes) -> None:
        held = planes.held
        if planes.seen is not None:
            background = torch.full((len(held), 1, 1, 1), UNSEEN, device=held.device)
            background[0] = 0
            held = torch.where(planes.seen, held, background)
        foreground = torch.stack([self.to_scores(plane).argmax(0) > 0 for plane in held.unbind(1)])
        if self.held is not None:
            held, foreground = torch.cat([self.held, held], 1), torch.cat([self.foreground, foreground])
        self.held, self.foreground = held, foreground
        ready = int(np.searchsorted(self.taps[0].high, self.start + held.shape[1]))
        step = max(1, SLAB_VOXELS // (len(held) * (self.rows[1] - self.rows[0]) * self.inside[2]))
        for low in range(self.next_plane, ready, step):
            self._write(low, min(low + step, ready))
        self.next_plane = ready
        next_needed = int(self.taps[0].low[ready]) if ready < self.inside[0] else self.start + held.shape[1]
        spent = min(next_needed - self.start, held.shape[1])
        self.start += spent
        self.held, self.foreground = held[:, spent:].clone(), foreground[spent:].clone()

    def _write(self, low: int, high: int) -> None:
        """Planes ``[low, high)`` of the crop in the scan."""
        z, y, x = self.taps
        first, last = int(z.low[low]) - self.start, int(z.high[high - 1]) + 1 - self.start
        found = self.foreground[first:last].any(0)
        whole = self.restored.probabilities is not None
        if not (whole or bool(found.any())):
            return
        rows = self.rows if whole else _touched(y, found.any(1), self.first_row, self.rows)
        columns = (0, self.inside[2]) if whole else _touched(x, found.any(0), 0, (0, self.inside[2]))
        part = self.held[:, first:last]
        part = _taken(part, 1, z.within(low, high), self.start + first)
        part = _taken(part, 3, x.within(*columns), 0)
        step = max(1, SLAB_VOXELS // (self.num_labels * (high - low) * max(1, columns[1] - columns[0])))
        parts = [
            self._of_scores(self.to_scores(_taken(part, 2, y.within(row, min(row + step, rows[1])), self.first_row)))
            for row in range(*rows, step)
        ]
        place = tuple(slice(a + c, b + c) for (a, b), c in zip(((low, high), rows, columns), self.corner, strict=True))
        for packed, values in zip(
            (self.restored.label, self.restored.confidence, self.restored.probabilities),
            zip(*parts, strict=True),
            strict=True,
        ):
            if packed is not None:
                own = (slice(None), *place) if packed.ndim == 4 else place
                packed[own] = np.concatenate(values, axis=-2).astype(packed.dtype, copy=False)

    def _of_scores(self, scores: Tensor) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Label, confidence, probabilities as they are kept."""
        value, label = scores.max(0)
        confidence = probabilities = None
        if self.restored.confidence is not None:
            confidence = _byte((value - scores.logsumexp(0)).exp() * (label > 0))
        if self.restored.probabilities is not None:
            probabilities = _byte(scores.softmax(0))
        return label.to(torch.uint8 if self.num_labels <= 256 else torch.int16).cpu().numpy(), confidence, probabilities


def _byte(share: Tensor) -> np.ndarray:
    return (share * SURE).round().to(torch.uint8).cpu().numpy()


def _packed(shape: Sequence[int], dtype: type) -> blosc2.NDArray:
    """Zeros; a chunk holds some planes."""
    chunks = (*(1,) * (len(shape) - 3), min(PLANES, shape[-3]), *shape[-2:])
    return blosc2.zeros(tuple(shape), dtype=dtype, chunks=chunks, cparams=PACKING)


def _touched(taps: Taps, found: Tensor, offset: int, bounds: tuple[int, int]) -> tuple[int, int]:
    """New indices in ``bounds`` from the first to the last that take from an old one which is ``found``, as a range."""
    old = np.flatnonzero(found.cpu().numpy()) + offset
    new = np.arange(*bounds)
    hit = new[(taps.high[new] >= old[0]) & (taps.low[new] <= old[-1])]
    return (int(hit[0]), int(hit[-1]) + 1) if hit.size else (bounds[0], bounds[0])


def _taken(array: Tensor, axis: int, taps: Taps, offset: int) -> Tensor:
    """``array``, whose first index along ``axis`` is ``offset``, interpolated along it."""
    low, high = (torch.from_numpy(index - offset).to(array.device) for index in (taps.low, taps.high))
    out = array.index_select(axis, low)
    if not taps.share.any():
        return out
    share = torch.from_numpy(taps.share).to(array.device).view([-1 if a == axis else 1 for a in range(array.ndim)])
    return out.lerp_(array.index_select(axis, high), share)
