"""Windows in z order over one image: planes are handed on as soon as no later window touches them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.errors import InputError
from uniseg.inference.accumulators import WindowAccumulator
from uniseg.inference.settings import InferenceSettings
from uniseg.inference.stopwatch import Stopwatch
from uniseg.inference.windows import BodyTest, Window, WindowGrid, importance
from uniseg.models.uniseg import UniSegModel

GAIN = 2  # windows per window of the first, sparse pass from which gating can pay


@dataclass(frozen=True)
class Planes:
    """Finished planes of one task.

    Attributes:
        start: z of the first.
        average: ``[channels,n,y,x]``, over windows.
        seen: ``[n,y,x]`` bool, voxels that some window looked at; None: all.

    Examples:
        >>> Planes(0, torch.zeros(2, 3, 16, 16), None).average.shape[1]
        3
    """

    start: int
    average: Tensor
    seen: Tensor | None


class WindowPass:
    """All windows of an image for tasks that share them.

    Args:
        models: an ensemble of one patch size; their scores are averaged.
        image: ``[M,z,y,x]`` float32, at the tasks' spacing.
        accumulators: one per task.
        settings: of which ``gate`` is not done where the first, sparse pass is no small part of all.
        device: where the networks are.

    Raises:
        InputError: while it is made or its planes are taken, the network says NaN or infinity.

    Examples:
        >>> from uniseg.inference.accumulators import make_accumulator
        >>> from uniseg import Normalization, Task, UniSegModel
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> model = UniSegModel.from_preset("uniseg_tiny", [liver], patch_size=(16, 32, 32)).eval()
        >>> accumulators, image = [make_accumulator([model], 0, features_allowed=True)], torch.randn(1, 20, 40, 36)
        >>> with torch.inference_mode():
        ...     windows = WindowPass([model], image, accumulators, InferenceSettings(), torch.device("cpu"))
        ...     sum(planes.average.shape[1] for (planes,) in windows.planes((0, 40)))
        20
    """

    def __init__(
        self,
        models: Sequence[UniSegModel],
        image: Tensor,
        accumulators: Sequence[WindowAccumulator],
        settings: InferenceSettings,
        device: torch.device,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.models, self.accumulators, self.device = models, accumulators, device
        self.stopwatch = stopwatch or Stopwatch()
        patch_size = tuple(models[0].patch_size)
        self.shape = tuple(image.shape[1:])
        lacking = [max(0, n - s) for n, s in zip(patch_size, self.shape, strict=True)]
        self.before = tuple(n // 2 for n in lacking)
        padding = [n for m, b in zip(reversed(lacking), reversed(self.before), strict=True) for n in (b, m - b)]
        self.image = F.pad(image, padding) if any(lacking) else image
        self.grid = WindowGrid(tuple(self.image.shape[1:]), patch_size, settings.overlap)
        self.window_batch = settings.window_batch
        self.checksum = torch.zeros((), device=device)  # of what the network said: not finite where any is not
        flips = (tuple(axis + 2 for axis in settings.mirror_axes if mask >> axis & 1) for mask in range(8))
        self.flips = sorted(set(flips))
        self.is_worth = BodyTest(self.image) if settings.skip_empty else _always
        sparse_grid = WindowGrid(self.grid.shape, self.grid.size, 0)
        gate = settings.gate and self.grid.count() >= GAIN * sparse_grid.count()
        self.active_tasks = self._sparse_pass(sparse_grid) if gate else (lambda window: range(len(accumulators)))
        self.may_miss = settings.skip_empty or gate
        self.importance = importance(patch_size).to(device)

    def planes(self, rows: tuple[int, int]) -> Iterator[list[Planes]]:
        """Per task the finished planes with the rows ``[rows)`` of y, bottom to top; every plane once."""
        low, high = (row + self.before[1] for row in rows)
        z_low, z_high = self.before[0], self.before[0] + self.shape[0]
        x_low, x_high = self.before[2], self.before[2] + self.shape[2]
        depth = self.grid.size[0]
        total = sum(accumulator.channels for accumulator in self.accumulators)
        num_weights = len(self.accumulators) if self.may_miss else 1
        sums = torch.zeros(total, depth, high - low, self.grid.shape[2], device=self.device)
        weights = torch.zeros(num_weights, depth, high - low, self.grid.shape[2], device=self.device)
        starts = self.grid.starts(0)
        for index, layer in enumerate(self.grid.layers()):
            start = starts[index]
            windows = [
                window
                for window in layer
                if window.start[1] < high and window.start[1] + window.size[1] > low and self.is_worth(window)
            ]
            for first in range(0, len(windows), self.window_batch):
                self._add(windows[first : first + self.window_batch], sums, weights, (low, high))
            self._require_finite()
            done = (starts[index + 1] if index + 1 < len(starts) else start + depth) - start
            bottom, top = max(start, z_low), min(start + done, z_high)
            if top > bottom:
                part = (slice(None), slice(bottom - start, top - start), slice(None), slice(x_low, x_high))
                yield list(self._finished(bottom - z_low, sums[part], weights[part]))
            for array in (sums, weights):
                array[:, : depth - done] = array[:, done:].clone()
                array[:, depth - done :] = 0

    def _add(self, windows: Sequence[Window], sums: Tensor, weights: Tensor, rows: tuple[int, int]) -> None:
        """Add what the networks say of windows to the planes at hand, which hold the rows ``[rows)`` of y."""
        low, high = rows
        active = [set(self.active_tasks(window)) for window in windows]
        if not any(active):
            return
        values = self._compute(self._batch(windows), active)
        first = 0
        for t, accumulator in enumerate(self.accumulators):
            for row, b in enumerate(b for b, tasks in enumerate(active) if t in tasks):
                window = windows[b]
                y = (max(window.start[1], low), min(window.start[1] + window.size[1], high))
                inside = slice(y[0] - window.start[1], y[1] - window.start[1])
                target = (slice(None), slice(None), slice(y[0] - low, y[1] - low), window.slices[2])
                weight = self.importance[:, inside]
                sums[first : first + accumulator.channels][target] += values[t][row][:, :, inside] * weight
                if self.may_miss or t == 0:
                    weights[t : t + 1][target] += weight
            first += accumulator.channels

    def _batch(self, windows: Sequence[Window]) -> Tensor:
        return torch.stack([self.image[(slice(None), *window.slices)] for window in windows]).to(self.device)

    def _compute(self, batch: Tensor, active: Sequence[set[int]]) -> list[Tensor | None]:
        """Per task ``[n,channels,Z,Y,X]`` of the windows in which it is active."""
        rows = [[b for b, tasks in enumerate(active) if t in tasks] for t in range(len(self.accumulators))]
        total: list[Tensor | None] = [None] * len(self.accumulators)
        for flip, (member, model) in product(self.flips, enumerate(self.models)):
            with self.stopwatch("encode"):
                encoded = model.encode(batch.flip(flip), torch.full((len(batch),), self.accumulators[0].task_index))
            with self.stopwatch("decode"):
                for t, accumulator in enumerate(self.accumulators):
                    if rows[t]:
                        values = accumulator.window_values(member, model, encoded.rows(rows[t])).flip(flip)
                        total[t] = values if total[t] is None else total[t] + values
        self.checksum = sum((values.sum() for values in total if values is not None), self.checksum)
        return [None if values is None else values / (len(self.flips) * len(self.models)) for values in total]

    def _require_finite(self) -> None:
        """Once a layer of windows, since it waits for the device."""
        if not bool(torch.isfinite(self.checksum)):
            names = ", ".join(f"'{accumulator.task.name}'" for accumulator in self.accumulators)
            fix = "take an earlier checkpoint, or look at the scan's values"
            raise InputError(f"task {names}", "NaN or infinity in what the network says", "finite scores", fix)

    def _finished(self, start: int, sums: Tensor, weights: Tensor) -> Iterator[Planes]:
        first = 0
        for t, accumulator in enumerate(self.accumulators):
            weight = weights[t if self.may_miss else 0]
            average = sums[first : first + accumulator.channels] / weight.clamp_min(torch.finfo(torch.float32).tiny)
            yield Planes(start, average, weight > 0 if self.may_miss else None)
            first += accumulator.channels

    def _sparse_pass(self, sparse_grid: WindowGrid) -> Callable[[Window], list[int]]:
        """Computes every task once in windows that hardly overlap; the result names the tasks that found something
        there, for a later window that meets them.
        """
        hits: list[tuple[Window, set[int]]] = []
        all_tasks = set(range(len(self.accumulators)))
        for layer in sparse_grid.layers():
            worth = [window for window in layer if self.is_worth(window)]
            for first in range(0, len(worth), self.window_batch):
                windows = worth[first : first + self.window_batch]
                values = self._compute(self._batch(windows), [all_tasks] * len(windows))
                for b, window in enumerate(windows):
                    tasks = {
                        t
                        for t, accumulator in enumerate(self.accumulators)
                        if bool((accumulator.scores(values[t][b]).argmax(0) > 0).any())
                    }
                    hits.append((window, tasks))
        self._require_finite()
        return lambda window: sorted(set().union(*(tasks for hit, tasks in hits if tasks and hit.meets(window))))


def _always(window: Window) -> bool:
    return True
