"""Batches on the device: read by processes of their own, copied and augmented while the step before computes."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Thread

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data._utils.signal_handling import _remove_worker_pids
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from uniseg.errors import InputError
from uniseg.sampling.batch import Batch, RawBatch, ReadFailure
from uniseg.sampling.device_prefetch import PATIENCE_S, DevicePrefetcher
from uniseg.sampling.requests import PatchRequest, RequestStream
from uniseg.sampling.settings import StreamSettings
from uniseg.sampling.signals import ignore_signals_in_worker, sigterm_blocked

BATCHES_PER_READER = 2  # that lie ready or are being read


class StepSampler:
    """Yields this rank's requests step by step.

    Args:
        num_steps: of a whole epoch.
        steps: those that are left of the current epoch, as the run counts them; called at the start of each.

    Examples:
        >>> from uniseg.sampling.requests import TaskCases
        >>> stream = RequestStream([TaskCases("liver", ("a",), (False,))], StreamSettings(batch_size=4), None, seed=0)
        >>> sampler = StepSampler(stream, 100, rank=1, world_size=2, steps=lambda: range(100))
        >>> [request.batch_index for request in next(iter(sampler))]
        [2, 3]
    """

    def __init__(
        self, stream: RequestStream, num_steps: int, rank: int, world_size: int, steps: Callable[[], Iterable[int]]
    ) -> None:
        self.stream = stream
        self.num_steps = num_steps
        self.steps = steps
        per_rank = stream.batch_size // world_size
        self.of_rank = slice(rank * per_rank, (rank + 1) * per_rank)

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[PatchRequest]]:
        for step in self.steps():
            yield self.batch(step)

    def batch(self, step: int) -> list[PatchRequest]:
        return self.stream.batch(step)[self.of_rank]


class ShieldedLoader(DataLoader):
    """Starts its readers such that no signal reaches them before they know what to do with it.

    Examples:
        >>> len(ShieldedLoader(list(range(4)), batch_size=2))
        2
    """

    def __iter__(self) -> Iterator:  # type: ignore[override]
        with sigterm_blocked():
            return super().__iter__()


@dataclass(frozen=True)
class ReadAhead:
    """Requests without end from one step on: readers go on with the next epoch while this one is still computed.

    Attributes:
        cycle: after how many steps the first one comes again; None: never.

    Examples:
        >>> list(itertools.islice(ReadAhead(None, start=2, cycle=3).steps(), 4))
        [2, 0, 1, 2]
    """

    sampler: StepSampler
    start: int
    cycle: int | None

    def steps(self) -> Iterator[int]:
        steps = itertools.count(self.start)
        return steps if self.cycle is None else (step % self.cycle for step in steps)

    def __iter__(self) -> Iterator[list[PatchRequest]]:
        return map(self.sampler.batch, self.steps())


class BatchLoader(Iterable[Batch]):
    """The epochs of one split as batches on the device; what Lightning takes in place of a DataLoader.

    On CUDA a thread copies and augments the next batches on a stream of its own. Elsewhere a batch is made when it is
    asked for. Readers are started by the first batch and stay: they read for the next epoch while this one ends. An
    epoch that does not begin where they are (after a resume, after one that was cut short) starts them anew.

    Args:
        reader: answers requests; its errors are raised by the iterator.
        sampler: whose ``steps()`` are those of the epoch.
        settings: for the device.
        make: of what was read on the device, its batch.
        cycle: after how many steps the first one comes again; None: never.

    Examples:
        >>> def images(loader: BatchLoader) -> list[torch.Tensor]:
        ...     return [batch.image for batch in loader]
    """

    def __init__(
        self,
        reader: Dataset,
        sampler: StepSampler,
        settings: StreamSettings,
        device: torch.device,
        make: Callable[[RawBatch], Batch],
        cycle: int | None = None,
    ) -> None:
        self.reader, self.step_sampler, self.settings = reader, sampler, settings  # Lightning looks for a ``sampler``
        self.device, self.make, self.cycle = device, make, cycle
        self.prefetches = device.type == "cuda"
        self._raws: Iterator = iter(())
        self._batches: Iterator[Batch] | None = None
        self._ahead: Iterator[int] = iter(())  # the steps of ``_batches``

    def __len__(self) -> int:
        """Of a whole epoch."""
        return len(self.step_sampler)

    def __iter__(self) -> Iterator[Batch]:
        """
        Raises:
            InputError, OSError, MemoryError, FloatingPointError: the error of a reader.
        """
        for step in self.step_sampler.steps():
            if self._batches is None or next(self._ahead) != step:
                self._start(step)
            try:
                batch = next(self._batches)  # type: ignore[arg-type]
            except BaseException:
                self.close()
                raise
            yield batch

    def close(self) -> None:
        """End the readers; the next batch starts them again."""
        batches, self._batches = self._batches, None
        if isinstance(batches, DevicePrefetcher):
            batches.close()
        raws, self._raws = self._raws, iter(())
        if isinstance(raws, _MultiProcessingDataLoaderIter):
            _end_readers(raws)

    def _start(self, step: int) -> None:
        self.close()
        ahead = ReadAhead(self.step_sampler, step, self.cycle)
        self._ahead = ahead.steps()
        next(self._ahead)
        num_workers = int(self.settings.num_workers)
        self._raws = iter(
            ShieldedLoader(
                self.reader,
                batch_sampler=ahead,
                collate_fn=_handed_over,
                num_workers=num_workers,
                worker_init_fn=ignore_signals_in_worker,
                pin_memory=bool(self.settings.pin_memory),
                prefetch_factor=BATCHES_PER_READER if num_workers else None,
            )
        )
        make = partial(_on_device, self.make, self.device)  # which knows no loader: its thread may outlive this one
        self._batches = DevicePrefetcher(self._raws, make, self.device) if self.prefetches else map(make, self._raws)

    @property
    def _iterator(self) -> None:
        """Lightning ends a DataLoader's readers by setting this to None, after errors too."""

    @_iterator.setter
    def _iterator(self, value: None) -> None:
        self.close()


def require_read(batch: RawBatch | ReadFailure) -> RawBatch:
    """
    Raises:
        InputError, OSError, MemoryError, FloatingPointError: the error of a reader.
    """
    if isinstance(batch, ReadFailure):
        raise batch.error
    return batch


def _on_device(make: Callable[[RawBatch], Batch], device: torch.device, raw: RawBatch | ReadFailure) -> Batch:
    return make(require_read(raw).to(device, non_blocking=True))


def _handed_over(batch: RawBatch | ReadFailure) -> RawBatch | ReadFailure:
    """What a reader puts into its queue, whose own thread would lose a batch for which shared memory has no room."""
    if isinstance(batch, ReadFailure) or get_worker_info() is None:
        return batch
    try:
        return batch.shared()
    except InputError as error:
        return ReadFailure(error)


def _end_readers(raws: _MultiProcessingDataLoaderIter) -> None:
    """As torch does, which waits without end for a thread that a killed reader left in the middle of a message, and
    long for readers that hang: those are killed.
    """
    ending = Thread(target=raws._shutdown_workers, name="end readers", daemon=True)
    ending.start()
    ending.join(PATIENCE_S)
    if left := [reader for reader in raws._workers if reader.is_alive()]:
        if raws._worker_pids_set:
            raws._worker_pids_set = False
            _remove_worker_pids(id(raws))  # their end is no error
        for reader in left:
            reader.kill()
