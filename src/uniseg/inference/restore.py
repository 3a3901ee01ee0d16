"""Back to the scan's grid: planes of scores at the task's spacing -> label map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uniseg.inference.window_pass import Planes
from uniseg.prepare.preprocess import Box
from uniseg.scans.resample import Taps, axis_orders, axis_taps

SLAB_VOXELS = 2**23  # of float maps, held at a time
SURE = 255
UNSEEN = -10.0  # score of every class but the background where no window looked


@dataclass(frozen=True)
class Restored:
    """A segmentation in the scan's grid.

    Attributes:
        label: label values ``[Z,Y,X]`` uint8 or int16.
        confidence: of labels above 0 their probability (softmax over the label values) times 255, uint8; None where it was not asked.
    """

    label: np.ndarray
    confidence: np.ndarray | None


class Restorer:
    """Takes the planes of one task from bottom to top, writes every plane of the label map as soon as its neighbours are there.

    Linear; nearest along a coarse axis; outside ``box`` all is background. Where no neighbour of a voxel is foreground, linear interpolation
    cannot make it so: only the rest is computed. Pages that hold background alone are never touched, so they take no memory.

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
        confident: bool,
    ) -> None:
        self.to_scores, self.num_labels = to_scores, num_labels
        self.inside = [stop - start for start, stop in box]
        orders = axis_orders(1, spacing_mm, task_spacing_mm)
        self.taps = [axis_taps(n, m, order) for n, m, order in zip(size, self.inside, orders, strict=True)]
        label = np.zeros(shape, np.uint8 if num_labels <= 256 else np.int16)
        confidence = np.zeros(shape, np.uint8) if confident else None
        self.restored = Restored(label, confidence)
        within = tuple(slice(*side) for side in box)
        self.label, self.confidence = label[within], None if confidence is None else confidence[within]
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
        if not bool(found.any()):
            return
        rows = _touched(y, found.any(1), self.first_row, self.rows)
        columns = _touched(x, found.any(0), 0, (0, self.inside[2]))
        part = self.held[:, first:last]
        part = _taken(part, 1, z.within(low, high), self.start + first)
        part = _taken(part, 3, x.within(*columns), 0)
        step = max(1, SLAB_VOXELS // (self.num_labels * (high - low) * max(1, columns[1] - columns[0])))
        for row in range(*rows, step):
            some = (row, min(row + step, rows[1]))
            scores = self.to_scores(_taken(part, 2, y.within(*some), self.first_row))
            value, label = scores.max(0)
            place = (slice(low, high), slice(*some), slice(*columns))
            self.label[place] = label.cpu().numpy()
            if self.confidence is not None:
                probability = (value - scores.logsumexp(0)).exp()
                self.confidence[place] = (probability * SURE * (label > 0)).round().to(torch.uint8).cpu().numpy()


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
