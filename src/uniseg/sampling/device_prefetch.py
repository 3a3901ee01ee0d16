"""Makes batches on a CUDA stream of their own, in a thread, while those before are computed with."""

import contextlib
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch

from uniseg.sampling.batch import Batch

BATCHES_AHEAD = 1  # that wait for the step, beside the one that is being made
LOOKS_S = 0.05  # how often an end is looked for by a thread that waits
PATIENCE_S = 30.0  # with readers, and with a thread that waits for them, at the end


class DevicePrefetcher(Iterator[Batch]):
    """Yields ``make(raw)`` for each ``raw``, in order, made before it is asked for.

    What ``make`` queues runs on a stream of its own; whoever takes a batch has its current stream wait for that, not
    the processor. The first error, of ``raws`` or of ``make``, is raised in place of its batch.

    Args:
        raws: read by the thread alone from now on; let go of at the end.
        make: must wait for nothing on the device, or it is slow.
        device: any; on one without streams the thread alone is left.

    Examples:
        >>> prefetcher = DevicePrefetcher(iter([1, 2]), lambda raw: raw + 1, torch.device("cpu"))
        >>> list(prefetcher)
        [2, 3]
    """

    def __init__(self, raws: Iterator[Any], make: Callable[[Any], Batch], device: torch.device) -> None:
        self._device = device
        self._made: queue.Queue = queue.Queue(BATCHES_AHEAD)
        self._stop = threading.Event()
        self._done = False
        stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        work = (raws, make, stream, self._made, self._stop)
        self._thread = threading.Thread(target=_prefetch, args=work, name="prefetch", daemon=True)
        # The thread does not hold the prefetcher, so that one that is let go of ends its thread, at exit at the latest.
        self._finalizer = weakref.finalize(self, _end, self._thread, self._stop, self._made)
        self._thread.start()

    def __next__(self) -> Batch:
        if self._done:
            raise StopIteration
        batch, made, error = self._made.get()
        if error is not None:
            self._done = True
            raise error
        if made is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(made)
            # The memory belongs to the other stream: it may be used again there only after what is queued here.
            for tensor in batch.tensors():
                tensor.record_stream(current)
        return batch

    def close(self) -> None:
        """End the thread and what it reads from."""
        self._done = True
        self._finalizer()


def _prefetch(
    raws: Iterator[Any],
    make: Callable[[Any], Batch],
    stream: torch.cuda.Stream | None,
    made: queue.Queue,
    stop: threading.Event,
) -> None:
    context = contextlib.nullcontext() if stream is None else torch.cuda.stream(stream)
    try:
        with context:
            for raw in raws:
                if stop.is_set():
                    return
                batch = make(raw)
                event = None if stream is None else stream.record_event()
                if not _put((batch, event, None), made, stop):
                    return
                del raw, batch
        error: BaseException = StopIteration()
    except BaseException as raised:  # of any kind: the thread that takes the batches raises it
        error = raised
    _put((None, None, error), made, stop)


def _put(item: tuple, made: queue.Queue, stop: threading.Event) -> bool:
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            made.put(item, timeout=LOOKS_S)
            return True
    return False


def _end(thread: threading.Thread, stop: threading.Event, made: queue.Queue) -> None:
    stop.set()
    if thread is not threading.current_thread():  # which may be the one that collects garbage
        thread.join(PATIENCE_S)
    while not made.empty():
        made.get_nowait()
