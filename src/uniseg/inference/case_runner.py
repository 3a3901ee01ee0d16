"""Cases in files -> label maps in files: reading, the network, writing overlap; what is finished stays."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from uniseg.datasets.case import Case
from uniseg.errors import InputError
from uniseg.images.files import reference_path
from uniseg.inference.case_reader import CaseJob, CaseReader, Images
from uniseg.inference.case_writer import CaseSegmentations, CaseWriter
from uniseg.inference.outputs import OutputLayout
from uniseg.inference.predictor import Predictor
from uniseg.inference.restore import CompressedSegmentation, OutputOptions


@dataclass(frozen=True)
class Outcome:
    """What became of a case: the paths of its label maps, or why it was refused.

    Examples:
        >>> Outcome("case_3", (Path("out/liver/case_3.nii.gz"),)).refusal is None
        True
    """

    case_id: str
    paths: tuple[Path, ...]
    refusal: InputError | None = None


class CaseRunner:
    """Scans in files -> label maps in files; what exists from the same checkpoint, scans and settings is kept.

    Args:
        output: the folder.
        layout: what else is written, and how: of ``OutputLayout``.
        log: takes a line on what a scan was taken for.

    Attributes:
        num_segmented: cases that the network is through with, or that were refused; they may not be written yet.

    Raises:
        InputError: as of ``OutputLayout``.

    Examples:
        >>> runner = CaseRunner(predictor, "out")  # doctest: +SKIP
        >>> [outcome.refusal for outcome in runner.run((case, None) for case in cases)]  # doctest: +SKIP
        [None, None]
    """

    def __init__(
        self,
        predictor: Predictor,
        output: str | os.PathLike,
        *,
        log: Callable[[str], None] | None = None,
        **layout: Any,
    ) -> None:
        self.predictor, self.tasks = predictor, predictor.tasks
        self.layout = OutputLayout(Path(output), **layout)
        self.reader, self.writer = CaseReader(predictor, self.layout, log), CaseWriter(predictor, self.layout)
        self.num_segmented = 0

    def run(self, cases: Iterable[tuple[Case, Images | None]]) -> Iterator[Outcome]:
        """What became of one case after the other; the next scan is read while the network works, the last one written.

        A case that cannot be read or does not fit is refused; the others are predicted.

        Args:
            cases: each with its files per task; None: those of the tasks that fit what the scan looks like.

        Raises:
            InputError: an output that is not ours to replace, before all work.
            OSError: a file cannot be written; it names the file, and what is finished stays.
        """
        cases = list(cases)
        self.require_free(cases)
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
            upcoming: Future[CaseJob] | None = None
            last: Future[Outcome] | None = None
            for pair, following in zip_longest(cases, cases[1:]):
                current = upcoming or reader.submit(self.reader.read_case, *pair)
                wait([current])
                upcoming = following and reader.submit(self.reader.read_case, *following)
                finish = self._segmented(pair[0].case_id, current)
                del current
                if last is not None:
                    yield last.result()
                last = writer.submit(finish)
            if last is not None:
                yield last.result()

    def require_free(self, cases: Iterable[tuple[Case, Images | None]]) -> None:
        """
        Raises:
            InputError: an output that is not ours to replace, or two of one name.
        """
        self.layout.require_free((case, images or self.tasks.names) for case, images in cases)

    def _segmented(self, case_id: str, read: Future[CaseJob]) -> Callable[[], Outcome]:
        """Computes a case that was read; what is returned writes it."""
        try:
            job = read.result()
            return partial(self._written, job, self._segment(job))
        except InputError as error:
            return partial(Outcome, case_id, (), error)
        finally:
            self.num_segmented += 1

    def _written(self, job: CaseJob, segmentations: CaseSegmentations) -> Outcome:
        try:
            return Outcome(job.case_id, tuple(self.writer.write(job, segmentations)))
        except InputError as error:
            return Outcome(job.case_id, (), error)

    def _segment(self, job: CaseJob) -> CaseSegmentations:
        options = OutputOptions(confidence=self.layout.merge, probabilities=self.layout.probabilities)
        by_task: dict[str, CompressedSegmentation] = {}
        voxel_ml: dict[str, float] = {}
        for scan, names in job.scans.items():
            voxel_ml |= dict.fromkeys(names, job.volumes[scan].voxel_ml)
            try:
                by_task |= self.predictor.segment(partial(job.volumes.pop, scan), names, options)
            except InputError as error:
                where = f"{reference_path(*scan)}, {error.where}"
                raise InputError(where, error.found, error.expected, error.fix) from error
        return CaseSegmentations(by_task, voxel_ml)
