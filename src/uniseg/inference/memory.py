"""What a prediction may hold at a time, within a number of gigabytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod

from uniseg.errors import InputError

GB = 10**9
PROGRAM = 0.9 * GB  # Python, PyTorch, MONAI
FLOAT = 4
SLABS = 6  # float maps of restore.SLAB_VOXELS that are alive at once
PACKED = 0.3  # bytes that a label value takes when compressed, at worst
WRITING = 5  # copies of a label map while two are written
ACTIVATIONS = 12  # feature maps of the finest stage that are alive at once in the network


@dataclass(frozen=True)
class Need:
    """Sizes of one prediction.

    Attributes:
        volume: values of the scan, where it is still held.
        packed: values of compressed maps, each counted as a label; see ``restore``.
        label: values of one label map.
        image: values at the task's spacing.
        weights: of the network.
        window: values of one window of the finest stage.
        ring_row: values of one row (y) of what is summed over windows.
        slab: values of one slab in ``Restorer``.
        preparing: values that are held beside the scan while it is brought to the task's spacing.
    """

    volume: int
    packed: float
    label: int
    image: int
    weights: int
    window: int
    ring_row: int
    slab: int
    preparing: int = 0

    def preparing_bytes(self) -> float:
        """Ahead of the first window."""
        return PROGRAM + FLOAT * (self.preparing + self.weights)

    def fixed_bytes(self, window_batch: int) -> float:
        held = self.volume + self.image + self.weights + SLABS * self.slab + ACTIVATIONS * window_batch * self.window
        return PROGRAM + FLOAT * held + PACKED * self.packed + WRITING * self.label


@dataclass(frozen=True)
class Share:
    """How much is computed at a time: ranges of rows of the crop in the scan, one by one; windows in a batch."""

    blocks: tuple[tuple[int, int], ...]
    window_batch: int


def share_out(need: Need, num_rows: int, scale: float, window_batch: int, max_memory_gb: float | None) -> Share:
    """The fewest blocks of rows, then the most windows at a time, that stay within ``max_memory_gb``.

    Args:
        num_rows: of the crop in the scan.
        scale: rows at the task's spacing per row of the scan.
        window_batch: at most.

    Raises:
        InputError: not even a single row at a time would.
    """
    if max_memory_gb is None:
        return Share(((0, num_rows),), window_batch)
    budget = max_memory_gb * GB
    # Summed, handed on, and kept for the next plane.
    row = 2 * FLOAT * need.ring_row
    for batch in range(window_batch, 0, -1) if need.preparing_bytes() <= budget else ():
        rows = (budget - need.fixed_bytes(batch)) / row - 2
        if rows >= num_rows * scale or (batch == 1 and rows >= 1):
            size = max(1, min(num_rows, int(rows / scale)))
            count = ceil(num_rows / size)
            bounds = [num_rows * k // count for k in range(count + 1)]
            return Share(tuple(pairwise(bounds)), batch)
    least = max(need.preparing_bytes(), need.fixed_bytes(1) + 4 * row) / GB
    raise InputError(
        "inference.max_memory_gb",
        f"{max_memory_gb}",
        f"at least {least:.1f} for this scan",
        "raise it, or ask for fewer tasks at a time",
    )


def voxels(shape: Sequence[int]) -> int:
    return prod(int(n) for n in shape)
