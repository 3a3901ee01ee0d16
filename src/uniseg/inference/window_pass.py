"""Windows in z order over one image: planes are handed on as soon as no later window touches them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.inference.compute import out_of_memory
from uniseg.inference.settings import NNUNET, InferenceSettings
from uniseg.inference.window_network import WindowNetwork
from uniseg.inference.windows import BodyTest, Window, WindowGrid, importance

log = logging.getLogger(__name__)

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

    On a GPU the image, the windows and their sums stay there, and nothing waits for it before the last window.

    Args:
        network: the networks with the tasks.
        image: ``[M,z,y,x]`` float32, at the tasks' spacing.
        settings: of which ``gate`` is not done where the first, sparse pass is no small part of all.

    Raises:
        InputError: while it is made or its planes are taken, the network says NaN or infinity, or a GPU's memory does
            not hold a single window.

    Examples:
        >>> from uniseg.inference.accumulators import make_accumulator
        >>> from uniseg.inference.compute import Compute
        >>> from uniseg import Normalization, Task, UniSegModel
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> model = UniSegModel.from_preset("uniseg_tiny", [liver], patch_size=(16, 32, 32)).eval()
        >>> accumulators, image = [make_accumulator([model], 0, features_allowed=True)], torch.randn(1, 20, 40, 36)
        >>> with torch.inference_mode():
        ...     network = WindowNetwork([model], accumulators, (), Compute(torch.device("cpu")))
        ...     windows = WindowPass(network, image, InferenceSettings())
        ...     sum(planes.average.shape[1] for (planes,) in windows.planes((0, 40)))
        20
    """

    def __init__(self, network: WindowNetwork, image: Tensor, settings: InferenceSettings) -> None:
        self.network, self.accumulators, self.device = network, network.accumulators, network.compute.device
        self.shape = tuple(image.shape[1:])
        lacking = [max(0, n - s) for n, s in zip(network.patch_size, self.shape, strict=True)]
        self.before = tuple(n // 2 for n in lacking)
        padding = [n for m, b in zip(reversed(lacking), reversed(self.before), strict=True) for n in (b, m - b)]
        image = image.to(self.device, non_blocking=True)
        self.image = F.pad(image, padding) if any(lacking) else image
        like_nnunet = settings.windows == NNUNET
        self.grid = WindowGrid(tuple(self.image.shape[1:]), network.patch_size, settings.overlap, like_nnunet)
        self.body_test = BodyTest(self.image) if settings.skip_empty else None
        sparse_grid = WindowGrid(self.grid.shape, self.grid.size, 0)
        gate = settings.gate and self.grid.count() >= GAIN * sparse_grid.count()
        every_task = set(range(len(self.accumulators)))
        self.active_tasks = self._sparse_pass(sparse_grid) if gate else (lambda window: every_task)
        self.may_miss = settings.skip_empty or gate
        self.importance = importance(network.patch_size, like_nnunet=like_nnunet).to(self.device)

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
            within = [window for window in layer if window.start[1] < high and window.start[1] + window.size[1] > low]
            for windows, active, values in self._computed(self._worth(within)):
                self._add(windows, active, values, (sums, weights), (low, high))
            if not self.network.compute.is_cuda:
                self.network.require_finite()
            done = (starts[index + 1] if index + 1 < len(starts) else start + depth) - start
            bottom, top = max(start, z_low), min(start + done, z_high)
            if top > bottom:
                part = (slice(None), slice(bottom - start, top - start), slice(None), slice(x_low, x_high))
                yield list(self._finished(bottom - z_low, sums[part], weights[part]))
            for array in (sums, weights):
                array[:, : depth - done] = array[:, done:].clone()
                array[:, depth - done :] = 0
        self.network.require_finite()

    def _worth(self, windows: Sequence[Window]) -> list[Window]:
        """Those that hold more than air, where the others are left out."""
        if self.body_test is None or not windows:
            return list(windows)
        return [window for window, keep in zip(windows, self.body_test.of_windows(windows), strict=True) if keep]

    def _computed(
        self, windows: Sequence[Window]
    ) -> Iterator[tuple[Sequence[Window], list[set[int]], list[Tensor | None]]]:
        """Batch by batch: windows, the tasks of each, what the networks say; where a GPU's memory is short, less at a
        time from then on.
        """
        sizes, first = self.network.sizes, 0
        while first < len(windows):
            some = windows[first : first + sizes.windows]
            active = [set(self.active_tasks(window)) for window in some]
            try:
                values = self.network(self._batch(some), active) if any(active) else None
            except torch.OutOfMemoryError as error:
                reason = str(error)
            else:
                first += len(some)
                if values is not None:
                    yield some, active, values
                continue
            # out of the handler, which holds the tensors of the frames below
            if sizes.limit is None:
                log.warning("the GPU's memory is short: less is computed at a time from now on")
            if not sizes.halve():
                raise out_of_memory(reason, "room for one window")
            torch.cuda.empty_cache()

    def _add(
        self,
        windows: Sequence[Window],
        active: Sequence[set[int]],
        values: Sequence[Tensor | None],
        buffers: tuple[Tensor, Tensor],
        rows: tuple[int, int],
    ) -> None:
        """Add what the networks say of windows to the planes at hand, which hold the rows ``[rows)`` of y."""
        (sums, weights), (low, high), first = buffers, rows, 0
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
        return torch.stack([self.image[(slice(None), *window.slices)] for window in windows])

    def _finished(self, start: int, sums: Tensor, weights: Tensor) -> Iterator[Planes]:
        first = 0
        for t, accumulator in enumerate(self.accumulators):
            weight = weights[t if self.may_miss else 0]
            average = sums[first : first + accumulator.channels] / weight.clamp_min(torch.finfo(torch.float32).tiny)
            yield Planes(start, average, weight > 0 if self.may_miss else None)
            first += accumulator.channels

    def _sparse_pass(self, sparse_grid: WindowGrid) -> Callable[[Window], set[int]]:
        """Computes every task once in windows that hardly overlap; the result names the tasks that found something
        there, for a later window that meets them.
        """
        self.active_tasks = lambda window: set(range(len(self.accumulators)))
        computed: list[Window] = []
        hits: list[Tensor] = []
        for windows, _, values in self._computed(self._worth([w for layer in sparse_grid.layers() for w in layer])):
            for b, window in enumerate(windows):
                computed.append(window)
                hits.append(
                    torch.stack(
                        [
                            (accumulator.scores(values[t][b]).argmax(0) > 0).any()
                            for t, accumulator in enumerate(self.accumulators)
                        ]
                    )
                )
        self.network.require_finite()
        found = torch.stack(hits).tolist() if hits else []
        tasks = [{t for t, hit in enumerate(row) if hit} for row in found]
        return lambda window: set().union(
            *(some for other, some in zip(computed, tasks, strict=True) if some and other.meets(window))
        )
