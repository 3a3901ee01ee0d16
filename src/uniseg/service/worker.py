"""The one worker: jobs in their order through the one warm model, as ``uniseg predict`` would do them."""

import io
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Thread

from rich.console import Console

from uniseg.files import read_json
from uniseg.inference.outputs import FORMATS, json_path
from uniseg.inference.predict_files import predict_cases, require_none_refused
from uniseg.inference.predictor import Predictor
from uniseg.service.records import DONE, FAILED, QUEUED, RUNNING, Job, Result
from uniseg.service.refusal import BUSY, RefusedError, without_paths
from uniseg.service.store import Store

log = logging.getLogger(__name__)

Say = Callable[[str], None]
OUT = "out"  # folder of a job's label maps
STAGES = {"read": "reading", "resample": "resampling", "encode": "segmenting", "write": "writing"}
WINDOWS_FRACTION = 0.9  # of a job's time, about
READ_FRACTION = 0.05


class _CancelledError(Exception):
    """The job that is computed was deleted, or the service ends."""


@dataclass(frozen=True)
class Progress:
    """Where a job is.

    Examples:
        >>> Progress("segmenting", 0.5).fraction
        0.5
    """

    stage: str
    fraction: float


class Worker:
    """A thread that does one job after the other, for as long as the service runs.

    Args:
        predictor: stays in memory.
        describe: one line on an exception that is the machine's fault or the user's; None for a bug.
        say: takes a line on what becomes of jobs.

    Examples:
        >>> worker = Worker(predictor, store, describe=str, say=print)  # doctest: +SKIP
    """

    def __init__(
        self, predictor: Predictor, store: Store, describe: Callable[[BaseException], str | None], say: Say
    ) -> None:
        self.predictor, self.store, self.describe, self.say = predictor, store, describe, say
        waiting = sorted((job for job in store.jobs.values() if job.state == QUEUED), key=lambda job: job.created)
        self.queue = deque(job.id for job in waiting)
        self.changed = Condition(store.lock)
        self.thread = Thread(target=self._work, name="worker", daemon=True)
        self.current: str | None = None
        self.is_stopping = False
        self._progress = Progress("", 0.0)
        self._num_scans = self._num_done = 0
        predictor.stopwatch.listener = self._listen

    def start(self) -> None:
        self.thread.start()

    def stop(self, timeout_s: float) -> None:
        """What is computed ends with the windows at hand; waits for that, but not longer than ``timeout_s``."""
        with self.changed:
            self.is_stopping = True
            self.changed.notify()
        self.thread.join(timeout_s)

    def submit(self, **wanted: object) -> Job:
        """
        Args:
            wanted: as of ``Job``.

        Raises:
            RefusedError: too many jobs wait.
        """
        with self.changed:
            most = self.store.settings.max_waiting
            if len(self.queue) >= most:
                found = f"{len(self.queue)} jobs waiting"
                raise RefusedError(BUSY, "queue", found, f"fewer than {most}", "try again later")
            job = self.store.add_job(**wanted)
            self.queue.append(job.id)
            self.changed.notify()
            return job

    def remove(self, job_id: str) -> None:
        """A job that waits is taken out of the queue; of one that runs, the rest is not computed.

        Raises:
            RefusedError: there is none.
        """
        with self.changed:
            self.store.remove_job(job_id)
            if job_id in self.queue:
                self.queue.remove(job_id)

    def progress(self, job: Job) -> Progress:
        with self.changed:
            if job.is_finished:
                return Progress(job.state, 1.0)
            return self._progress if job.id == self.current else Progress(job.state, 0.0)

    def position(self, job: Job) -> int:
        """How many jobs are before it."""
        with self.changed:
            return self.queue.index(job.id) + (self.current is not None) if job.id in self.queue else 0

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.queue or self.is_stopping)
                if self.is_stopping:
                    return
                job = self.store.job(self.queue.popleft())
                self.current, self._progress = job.id, Progress("starting", 0.0)
                self._num_scans = self._num_done = 0
            try:
                self._finish(self._do(job))
            except Exception as error:  # nothing that one job raises may end the service
                if self._is_wanted(job):
                    log.exception("job %s", job.id)
                    self._give_up(job, error)
            finally:
                with self.changed:
                    self.current = None

    def _do(self, job: Job) -> Job:
        """The job as it ended."""
        job = replace(job, state=RUNNING, attempts=job.attempts + 1)
        self._finish(job)
        self.say(f"job {job.id}: {', '.join(job.tasks)}")
        names = self._names(job)
        try:
            results, notes = self._predict(job)
        except _CancelledError:
            self.say(f"job {job.id}: deleted while it ran")
            return job
        except Exception as error:
            line = self.describe(error)
            if line is None:
                log.exception("job %s", job.id)
                line = f"an error of the service ({type(error).__name__}), which its log tells"
            self.say(f"job {job.id}: failed: {line}")
            return replace(job, state=FAILED, error=without_paths(line, names), finished=self.store.now())
        self.say(f"job {job.id}: done")
        notes = tuple(without_paths(note, names) for note in notes)
        return replace(job, state=DONE, results=results, notes=notes, finished=self.store.now())

    def _predict(self, job: Job) -> tuple[tuple[Result, ...], tuple[str, ...]]:
        paths = [self.store.scan_path(self.store.upload(image)) for image in job.images]
        folder, lines = self.store.jobs_dir / job.id, io.StringIO()
        outcomes = predict_cases(
            self.predictor,
            paths if len(paths) > 1 else paths[0],
            folder / OUT,
            tasks=list(job.tasks),
            modality=list(job.modality) or None,
            series=job.series,
            format=job.format,
            console=Console(file=lines, soft_wrap=True, width=1000),
        )
        require_none_refused(outcomes)
        results = tuple(_result(path, folder, job.format) for outcome in outcomes for path in outcome.paths)
        notes = tuple(
            line for line in lines.getvalue().splitlines() if line.strip() and not line.startswith("predict ")
        )
        return results, notes

    def _finish(self, job: Job) -> None:
        with self.changed:
            if self._is_wanted(job):
                self.store.save(job)
            else:  # what was written after the folder went
                shutil.rmtree(self.store.jobs_dir / job.id, ignore_errors=True)

    def _give_up(self, job: Job, error: Exception) -> None:
        """Where not even the end of a job could be written."""
        failed = replace(job, state=FAILED, error=self.describe(error) or type(error).__name__)
        with self.changed:
            self.store.jobs[job.id] = replace(failed, finished=self.store.now())

    def _is_wanted(self, job: Job) -> bool:
        with self.changed:
            return job.id in self.store.jobs and not self.is_stopping

    def _names(self, job: Job) -> dict[Path, str]:
        """Paths -> what a client calls them, the narrower first."""
        uploads = [self.store.uploads[image] for image in job.images if image in self.store.uploads]
        names = {self.store.scan_path(upload): upload.name for upload in uploads}
        return names | {self.store.jobs_dir / job.id: "the job", self.store.folder: "the store"}

    def _listen(self, stage: str, fraction: float) -> None:
        """From the threads that read, compute and write."""
        with self.changed:
            if self.is_stopping or self.current not in self.store.jobs:
                raise _CancelledError
            self._num_scans += stage == "read"
            self._num_done += fraction == 1.0
            share = (self._num_done + fraction % 1.0) / max(self._num_scans, 1)
            if stage == "write":
                share = 1.0
            known = STAGES.get(stage, self._progress.stage)
            total = (READ_FRACTION if stage != "read" else 0) + WINDOWS_FRACTION * min(share, 1.0)
            self._progress = Progress(known, max(self._progress.fraction, total))


def _result(path: Path, folder: Path, form: str) -> Result:
    facts = read_json(json_path(path), "what uniseg wrote beside a label map", "start the job again")
    size = os.path.getsize(path)
    where = path.relative_to(folder).as_posix()
    return Result(path.parent.name, where, FORMATS[form], size, facts["values"], facts["volumes_ml"])
