"""Values on a device -> compressed arrays."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import blosc2
import numpy as np
import torch
from torch import Tensor

MOST_PENDING = 8  # slabs that are copied but not yet compressed

Target = tuple[slice, ...]


class PlaneWriter:
    """Puts values into arrays: at once from a processor; from a GPU through pinned memory in a thread, so that neither
    the GPU nor whoever feeds it waits. All is written when the block ends.

    Examples:
        >>> array = blosc2.zeros((2, 3), dtype=np.uint8)
        >>> with PlaneWriter(torch.device("cpu")) as writer:
        ...     writer.put(array, (slice(1, 2), slice(3)), torch.ones(1, 3, dtype=torch.uint8))
        >>> int(array[:].sum())
        3
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool = ThreadPoolExecutor(1, "compress") if device.type == "cuda" else None
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> "PlaneWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        try:
            while self._pending and error is None:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, array: blosc2.NDArray, target: Target, values: Tensor) -> None:
        """``array[target] = values``."""
        if self._pool is None:
            array[target] = values.cpu().numpy()
            return
        while len(self._pending) >= MOST_PENDING:
            self._pending.popleft().result()
        copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        copy.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(values.device))
        self._pending.append(self._pool.submit(_write_copied, array, target, copy, copied))


def _write_copied(array: blosc2.NDArray, target: Target, copy: Tensor, copied: torch.cuda.Event) -> None:
    copied.synchronize()
    array[target] = np.ascontiguousarray(copy.numpy())
