"""Windows in z order over one image: planes are handed on as soon as no later window touches them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.errors import InputError
from uniseg.inference.accumulators import Carrier
from uniseg.inference.stopwatch import Stopwatch
from uniseg.inference.windows import BodyTest, Window, WindowGrid, importance
from uniseg.models.uniseg import UniSegModel

GAIN = 2  # windows per window of the first, sparse pass from which gating can pay


@dataclass(frozen=True)
class Planes:
    """Finished planes of one task.

    Attributes:
        start: z of the first.
        held: ``[channels,n,y,x]``, averaged over windows.
        seen: ``[n,y,x]`` bool, voxels that some window looked at; None: all.
    """

    start: int
    held: Tensor
    seen: Tensor | None


class WindowPass:
    """All windows of an image for tasks that share them.

    Args:
        models: an ensemble of one patch size; their scores are averaged.
        image: ``[M,z,y,x]`` float32, at the tasks' spacing.
        skip_empty: leave out windows that hold only air.
        gate: ask a task only near windows of a first, sparse pass where it found something; not done where that pass is
            no small part of all.
        mirror_axes: scores are averaged over all combinations of flips of these axes.

    Raises:
        InputError: while it is made or its planes are taken, the network says NaN or infinity.
    """

    def __init__(
        self,
        models: Sequence[UniSegModel],
        image: Tensor,
        carriers: Sequence[Carrier],
        *,
        overlap: float,
        window_batch: int,
        mirror_axes: Sequence[int],
        skip_empty: bool,
        gate: bool,
        device: torch.device,
        stopwatch: Stopwatch,
    ) -> None:
        self.models, self.carriers, self.device, self.stopwatch = models, carriers, device, stopwatch
        patch_size = tuple(models[0].patch_size)
        self.shape = tuple(image.shape[1:])
        lacking = [max(0, n - s) for n, s in zip(patch_size, self.shape, strict=True)]
        self.before = tuple(n // 2 for n in lacking)
        sides = [side for n, b in zip(reversed(lacking), reversed(self.before), strict=True) for side in (b, n - b)]
        self.image = F.pad(image, sides) if any(lacking) else image
        self.grid = WindowGrid(tuple(self.image.shape[1:]), patch_size, overlap)
        self.window_batch = window_batch
        self.checksum = torch.zeros((), device=device)  # of what the network said: not finite where any is not
        masks = range(8)
        self.flips = sorted({tuple(axis + 2 for axis in mirror_axes if mask >> axis & 1) for mask in masks})
        self.worth = BodyTest(self.image) if skip_empty else _always
        first_look = WindowGrid(self.grid.shape, self.grid.size, 0)
        gate = gate and self.grid.count() >= GAIN * first_look.count()
        self.active = self._sparse_pass(first_look) if gate else (lambda window: range(len(carriers)))
        self.may_miss = skip_empty or gate
        self.weight = importance(patch_size).to(device)

    def planes(self, rows: tuple[int, int]) -> Iterator[list[Planes]]:
        """Per task the finished planes with the rows ``[rows)`` of y, bottom to top; every plane once."""
        low, high = (row + self.before[1] for row in rows)
        z_low, z_high = self.before[0], self.before[0] + self.shape[0]
        x_low, x_high = self.before[2], self.before[2] + self.shape[2]
        depth = self.grid.size[0]
        total = sum(carrier.channels for carrier in self.carriers)
        num_counts = len(self.carriers) if self.may_miss else 1
        held = torch.zeros(total, depth, high - low, self.grid.shape[2], device=self.device)
        count = torch.zeros(num_counts, depth, high - low, self.grid.shape[2], device=self.device)
        starts = self.grid.starts(0)
        for index, layer in enumerate(self.grid.layers()):
            start = starts[index]
            wanted = [
                window
                for window in layer
                if window.start[1] < high and window.start[1] + window.size[1] > low and self.worth(window)
            ]
            for first in range(0, len(wanted), self.window_batch):
                self._add(wanted[first : first + self.window_batch], held, count, low, high)
            self._require_finite()
            done = (starts[index + 1] if index + 1 < len(starts) else start + depth) - start
            bottom, top = max(start, z_low), min(start + done, z_high)
            if top > bottom:
                part = (slice(None), slice(bottom - start, top - start), slice(None), slice(x_low, x_high))
                yield list(self._finished(bottom - z_low, held[part], count[part]))
            for array in (held, count):
                array[:, : depth - done] = array[:, done:].clone()
                array[:, depth - done :] = 0

    def _add(self, windows: Sequence[Window], held: Tensor, count: Tensor, low: int, high: int) -> None:
        batch = torch.stack([self.image[(slice(None), *window.slices)] for window in windows]).to(self.device)
        asked = [set(self.active(window)) for window in windows]
        if not any(asked):
            return
        found = self._computed(batch, asked)
        first = 0
        for t, carrier in enumerate(self.carriers):
            rows = [b for b, own in enumerate(asked) if t in own]
            for row, b in enumerate(rows):
                window = windows[b]
                y = (max(window.start[1], low), min(window.start[1] + window.size[1], high))
                inside = slice(y[0] - window.start[1], y[1] - window.start[1])
                place = (slice(None), slice(None), slice(y[0] - low, y[1] - low), window.slices[2])
                weight = self.weight[:, inside]
                held[first : first + carrier.channels][place] += found[t][row][:, :, inside] * weight
                if self.may_miss or t == 0:
                    count[t : t + 1][place] += weight
            first += carrier.channels

    def _computed(self, batch: Tensor, asked: Sequence[set[int]]) -> list[Tensor | None]:
        """Per task ``[n,channels,Z,Y,X]`` of the windows in which it is asked."""
        rows = [[b for b, own in enumerate(asked) if t in own] for t in range(len(self.carriers))]
        total: list[Tensor | None] = [None] * len(self.carriers)
        for flip, (member, model) in product(self.flips, enumerate(self.models)):
            with self.stopwatch("encode"):
                encoded = model.encode(batch.flip(flip), torch.full((len(batch),), self.carriers[0].position))
            with self.stopwatch("decode"):
                for t, carrier in enumerate(self.carriers):
                    if rows[t]:
                        own = carrier.of_window(member, model, encoded.rows(rows[t])).flip(flip)
                        total[t] = own if total[t] is None else total[t] + own
        self.checksum = sum((own.sum() for own in total if own is not None), self.checksum)
        return [None if own is None else own / (len(self.flips) * len(self.models)) for own in total]

    def _require_finite(self) -> None:
        """Once a layer of windows, since it waits for the device."""
        if not bool(torch.isfinite(self.checksum)):
            names = ", ".join(f"'{carrier.task.name}'" for carrier in self.carriers)
            fix = "take an earlier checkpoint, or look at the scan's values"
            raise InputError(f"task {names}", "NaN or infinity in what the network says", "finite scores", fix)

    def _finished(self, start: int, held: Tensor, count: Tensor) -> Iterator[Planes]:
        first = 0
        for t, carrier in enumerate(self.carriers):
            own, counted = held[first : first + carrier.channels], count[t if self.may_miss else 0]
            yield Planes(
                start, own / counted.clamp_min(torch.finfo(torch.float32).tiny), counted > 0 if self.may_miss else None
            )
            first += carrier.channels

    def _sparse_pass(self, first_look: WindowGrid) -> Callable[[Window], list[int]]:
        """Every task looks once at everything, in windows that hardly overlap; later it is asked where it found
        something.
        """
        found: list[tuple[Window, set[int]]] = []
        everyone = set(range(len(self.carriers)))
        for layer in first_look.layers():
            worth = [window for window in layer if self.worth(window)]
            for first in range(0, len(worth), self.window_batch):
                windows = worth[first : first + self.window_batch]
                batch = torch.stack([self.image[(slice(None), *window.slices)] for window in windows]).to(self.device)
                computed = self._computed(batch, [everyone] * len(windows))
                for b, window in enumerate(windows):
                    seen = {
                        t
                        for t, own in enumerate(computed)
                        if bool((self.carriers[t].scores(own[b]).argmax(0) > 0).any())
                    }
                    found.append((window, seen))
        self._require_finite()
        return lambda window: sorted(set().union(*(seen for place, seen in found if seen and place.meets(window))))


def _always(window: Window) -> bool:
    return True
