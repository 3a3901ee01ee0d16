"""What the networks say of a batch of windows: encoded once, decoded for every task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.inference.accumulators import WindowAccumulator, decode_together
from uniseg.inference.compute import Compute
from uniseg.inference.stopwatch import Stopwatch
from uniseg.models.encoded import Encoded
from uniseg.models.uniseg import UniSegModel


@dataclass
class BatchSizes:
    """How much the networks compute at a time; less from the moment on at which a GPU's memory was short.

    Attributes:
        windows: encoded at a time.
        tasks: of a window decoded as one batch; 1: one task after the other, each for all windows.
        limit: the largest windows and tasks once a GPU's memory was short.

    Examples:
        >>> sizes = BatchSizes(windows=4, tasks=7)
        >>> sizes.halve(), sizes.windows, sizes.tasks
        (True, 2, 4)
        >>> sizes.plan(8, 3)
        >>> sizes.windows, sizes.tasks
        (2, 3)
    """

    windows: int = 2
    tasks: int = 1
    limit: tuple[int, int] | None = None

    def plan(self, windows: int, tasks: int) -> None:
        """Take these sizes, or less where memory was short before."""
        most = self.limit or (windows, tasks)
        self.windows, self.tasks = min(windows, most[0]), min(tasks, most[1])

    def halve(self) -> bool:
        """False where nothing is left to halve."""
        if self.windows == self.tasks == 1:
            return False
        self.windows, self.tasks = self.limit = ceil(self.windows / 2), ceil(self.tasks / 2)
        return True


class WindowNetwork:
    """An ensemble with the tasks that it is asked for.

    Args:
        models: of one patch size; their scores are averaged.
        accumulators: one per task.
        mirror_axes: of test-time mirroring.
        compute: where the networks are.

    Attributes:
        checksum: of all that was said; not finite where any of it is not.

    Examples:
        >>> from uniseg.inference.accumulators import make_accumulator
        >>> from uniseg import Normalization, Task, UniSegModel
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> model = UniSegModel.from_preset("uniseg_tiny", [liver], patch_size=(16, 32, 32)).eval()
        >>> accumulators, cpu = [make_accumulator([model], 0, features_allowed=True)], Compute(torch.device("cpu"))
        >>> with torch.inference_mode():
        ...     network = WindowNetwork([model], accumulators, (), cpu)
        ...     (values,) = network(torch.randn(3, 1, 16, 32, 32), [{0}, {0}, set()])
        >>> values.shape
        torch.Size([2, 2, 16, 32, 32])
    """

    def __init__(
        self,
        models: Sequence[UniSegModel],
        accumulators: Sequence[WindowAccumulator],
        mirror_axes: Sequence[int],
        compute: Compute,
        sizes: BatchSizes | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.models, self.accumulators, self.compute = models, accumulators, compute
        self.sizes, self.stopwatch = sizes or BatchSizes(), stopwatch or Stopwatch()
        self.patch_size = tuple(models[0].patch_size)
        self.flips = sorted({tuple(axis + 2 for axis in mirror_axes if mask >> axis & 1) for mask in range(8)})
        self.checksum = torch.zeros((), device=compute.device)

    def __call__(self, batch: Tensor, active: Sequence[set[int]]) -> list[Tensor | None]:
        """``batch [B,M,Z,Y,X]``, the tasks of each window -> per task ``[n,channels,Z,Y,X]`` of the windows in which it
        is active; None for a task that is in none.
        """
        rows = [[b for b, tasks in enumerate(active) if t in tasks] for t in range(len(self.accumulators))]
        total: list[Tensor | None] = [None] * len(self.accumulators)
        number, device = len(self.flips) * len(self.models), self.compute.device
        for flip, (member, model) in product(self.flips, enumerate(self.models)):
            with self.compute.running():
                with self.stopwatch("encode", device):
                    task = torch.full((len(batch),), self.accumulators[0].task_index)
                    encoded = model.encode(batch.flip(flip) if flip else batch, task)
                with self.stopwatch("decode", device):
                    for t, values in self._decode(member, model, encoded, rows):
                        values = values.flip(flip) if flip else values
                        values = values if number == 1 else values.float()
                        total[t] = values if total[t] is None else total[t] + values
        self.checksum = sum((each.sum(dtype=torch.float32) for each in total if each is not None), self.checksum)
        return total if number == 1 else [None if each is None else each / number for each in total]

    def require_finite(self) -> None:
        """Waits for the device.

        Raises:
            InputError: NaN or infinity in what was said until now.
        """
        if bool(torch.isfinite(self.checksum)):
            return
        names = ", ".join(f"'{accumulator.task.name}'" for accumulator in self.accumulators)
        fix = "take an earlier checkpoint, or look at the scan's values"
        if self.compute.precision != "32":
            fix = f"give inference.precision=32 instead of {self.compute.precision}, {fix}"
        raise InputError(f"task {names}", "NaN or infinity in what the network says", "finite scores", fix)

    def _decode(
        self, member: int, model: UniSegModel, encoded: Encoded, rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, Tensor]]:
        """Task by task; tasks of a window together where these are more than the windows."""
        number = len(encoded.bottleneck)
        shared = [t for t, each in enumerate(self.accumulators) if rows[t] and each.task_index < model.num_base]
        if self.sizes.tasks == 1 or len(shared) <= number:
            shared = []
        for t, accumulator in enumerate(self.accumulators):
            if rows[t] and t not in shared:
                chosen = encoded if len(rows[t]) == number else encoded.rows(rows[t])
                yield t, accumulator.window_values(member, model, chosen)
        parts: dict[int, list[Tensor]] = {t: [] for t in shared}
        for b in range(number) if shared else ():
            window = Encoded(encoded.bottleneck[b : b + 1], [term[b : b + 1] for term in encoded.skip_terms])
            for tasks in _parts([t for t in shared if b in rows[t]], self.sizes.tasks):
                values = decode_together([self.accumulators[t] for t in tasks], member, model, window)
                for t, each in zip(tasks, values, strict=True):
                    parts[t].append(each)
        for t, some in parts.items():
            yield t, torch.cat(some) if len(some) > 1 else some[0]


def _parts(items: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """As few as there can be of ``most`` items, of about one size."""
    number = ceil(len(items) / most)
    for k in range(number):
        yield items[len(items) * k // number : len(items) * (k + 1) // number]
