"""How much memory a prediction takes, and what is computed at a time to stay within a number of gigabytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod

from uniseg.errors import InputError

GB = 10**9
PROGRAM = 0.9 * GB  # Python, PyTorch, MONAI
FLOAT = 4
SLABS = 6  # float maps of restore.SLAB_VOXELS that are alive at once
COMPRESSED = 0.3  # bytes that a label value takes when compressed, at worst
WRITING = 5  # copies of a label map while two are written
ACTIVATIONS = 12  # feature maps of the finest stage that are alive at once in the network
# On a GPU, in feature maps of the finest stage: of a window while it is encoded, of what its decoding reads, of a
# window or a task of it while it is decoded.
ENCODING, ENCODED, DECODING = 7, 2, 7
CUDA_PROGRAM = 2.5 * GB  # RAM of the libraries
CUDA_CONTEXT = 0.6 * GB


@dataclass(frozen=True)
class MemoryEstimate:
    """Sizes of one prediction.

    Attributes:
        volume: values of the scan, where it is still in memory.
        compressed: values of compressed maps, each counted as a label; see ``restore``.
        label: values of one label map.
        image: values at the task's spacing.
        weights: of the network.
        window: values of one window of the finest stage.
        ring_row: values of one row (y) of what is summed over windows.
        slab: values of one slab in ``OutputResampler``.
        preparing: values in memory beside the scan while it is brought to the task's spacing.

    Examples:
        >>> estimate = MemoryEstimate(0, 1e6, 10**6, 10**6, 10**6, 10**5, 10**4, 10**6)
        >>> plan_execution(estimate, num_rows=100, scale=1, window_batch=2, max_memory_gb=8)
        ExecutionPlan(blocks=((0, 100),), window_batch=2, tasks_at_once=1)
    """

    volume: int
    compressed: float
    label: int
    image: int
    weights: int
    window: int
    ring_row: int
    slab: int
    preparing: int = 0

    def preparing_bytes(self) -> float:
        """Before the first window."""
        return PROGRAM + FLOAT * (self.preparing + self.weights)

    def fixed_bytes(self, window_batch: int) -> float:
        """Whatever the number of rows is that are computed at a time."""
        floats = self.volume + self.image + self.weights + SLABS * self.slab + ACTIVATIONS * window_batch * self.window
        return PROGRAM + FLOAT * floats + COMPRESSED * self.compressed + WRITING * self.label

    def row_bytes(self) -> float:
        """Of one row that is computed at a time: summed, handed on, and kept for the next plane."""
        return 2 * FLOAT * self.ring_row

    def bytes_of_rows(self, rows: float, window_batch: int) -> float:
        """All in all, where ``rows`` at the task's spacing are computed at a time."""
        return max(self.preparing_bytes(), self.fixed_bytes(window_batch) + (rows + 2) * self.row_bytes())

    def least_bytes(self) -> float:
        """Below which not even a few rows at a time can be computed."""
        return self.bytes_of_rows(2, 1)


@dataclass(frozen=True)
class ExecutionPlan:
    """How much is computed at a time.

    Attributes:
        blocks: ranges of rows of the crop in the scan, computed one by one.
        window_batch: windows in a batch.
        tasks_at_once: tasks of a window decoded as one batch.

    Examples:
        >>> ExecutionPlan(((0, 20), (20, 40)), window_batch=1).blocks[1]
        (20, 40)
    """

    blocks: tuple[tuple[int, int], ...]
    window_batch: int
    tasks_at_once: int = 1


@dataclass(frozen=True)
class CardEstimate:
    """Sizes of one prediction in the memory of a GPU.

    Attributes:
        image: values at the task's spacing.
        weights: of the networks.
        window: values of one window of the finest stage.
        scores: values of what a window gives for all tasks.
        ring_row: values of one row (y) of what is summed over windows.
        slab: values of one slab in ``OutputResampler``.
        value_bytes: of a value between two layers.

    Examples:
        >>> estimate = CardEstimate(10**6, 10**6, 10**8, 10**6, 10**4, 10**6, value_bytes=2)
        >>> plan_card(estimate, 100, 1, (4, 7), 16 * GB)
        ExecutionPlan(blocks=((0, 100),), window_batch=4, tasks_at_once=7)
        >>> plan_card(estimate, 100, 1, (4, 7), 4 * GB)
        ExecutionPlan(blocks=((0, 100),), window_batch=1, tasks_at_once=2)
    """

    image: int
    weights: int
    window: int
    scores: int
    ring_row: int
    slab: int
    value_bytes: int

    def fixed_bytes(self, windows: int, tasks: int) -> float:
        """Whatever the number of rows is that are computed at a time."""
        maps = max(ENCODING * windows, ENCODED * windows + DECODING * max(windows, tasks))
        floats = self.image + self.weights + SLABS * self.slab + 2 * windows * self.scores
        return CUDA_CONTEXT + FLOAT * floats + maps * self.window * self.value_bytes


def plan_card(
    estimate: CardEstimate, num_rows: int, scale: float, most: tuple[int, int], budget: float
) -> ExecutionPlan:
    """The most windows and tasks at a time, then the fewest blocks of rows, that stay within ``budget`` bytes; the
    least that there is where nothing does.

    Args:
        num_rows, scale: as of ``plan_execution``.
        most: windows, tasks of a window at a time.
    """
    row = 2 * FLOAT * estimate.ring_row
    windows, tasks = most
    while True:
        rows = (budget - estimate.fixed_bytes(windows, tasks)) / row - 2
        if rows >= num_rows * scale or windows == tasks == 1:
            return ExecutionPlan(_blocks(num_rows, rows / scale), windows, tasks)
        windows, tasks = (ceil(windows / 2), tasks) if windows > 1 else (1, ceil(tasks / 2))


def require_memory(estimate: MemoryEstimate, max_memory_gb: float | None) -> None:
    """That what a prediction keeps in RAM beside a GPU stays within ``max_memory_gb``.

    Raises:
        InputError: it does not.
    """
    needed = CUDA_PROGRAM + max(estimate.preparing_bytes(), estimate.fixed_bytes(1)) - PROGRAM
    if max_memory_gb is not None and needed > max_memory_gb * GB:
        raise _too_little(max_memory_gb, needed)


def plan_execution(
    estimate: MemoryEstimate, num_rows: int, scale: float, window_batch: int, max_memory_gb: float | None
) -> ExecutionPlan:
    """The fewest blocks of rows, then the most windows at a time, that stay within ``max_memory_gb``.

    Args:
        num_rows: of the crop in the scan.
        scale: rows at the task's spacing per row of the scan.
        window_batch: at most.

    Raises:
        InputError: not even a single row at a time would.
    """
    if max_memory_gb is None:
        return ExecutionPlan(((0, num_rows),), window_batch)
    budget = max_memory_gb * GB
    row = estimate.row_bytes()
    for batch in range(window_batch, 0, -1) if estimate.preparing_bytes() <= budget else ():
        rows = (budget - estimate.fixed_bytes(batch)) / row - 2
        if rows >= num_rows * scale or (batch == 1 and rows >= 1):
            return ExecutionPlan(_blocks(num_rows, rows / scale), batch)
    raise _too_little(max_memory_gb, estimate.least_bytes())


def _blocks(num_rows: int, most: float) -> tuple[tuple[int, int], ...]:
    """The fewest ranges of about one size, of at most ``most`` rows, of one where it is less."""
    count = ceil(num_rows / max(1, min(num_rows, int(most))))
    return tuple(pairwise([num_rows * k // count for k in range(count + 1)]))


def _too_little(max_memory_gb: float, needed: float) -> InputError:
    expected = f"at least {needed / GB:.1f} for this scan"
    fix = "raise it, or choose fewer tasks at a time"
    return InputError("inference.max_memory_gb", f"{max_memory_gb}", expected, fix)


def num_voxels(shape: Sequence[int]) -> int:
    return prod(int(n) for n in shape)
