"""The folder of a service: uploads, jobs, results; within its limits, gone at the end, read again after a kill."""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import RLock

from uniseg.errors import InputError
from uniseg.files import PART
from uniseg.service.records import (
    LOST,
    MOST_ATTEMPTS,
    QUEUED,
    RUNNING,
    Job,
    Upload,
    read_folder,
    write_record,
)
from uniseg.service.refusal import FULL, RefusedError
from uniseg.service.settings import GB, ServiceSettings

try:
    import fcntl
except ImportError:  # Windows: two services in one folder are not noticed
    fcntl = None  # type: ignore[assignment]

LOCK = "uniseg_serve.lock"  # marks the folder as ours, too
ID_BYTES = 16


class Incoming:
    """An upload while it comes in; its bytes count from the first.

    Examples:
        >>> incoming.reserve(2**20)  # doctest: +SKIP
    """

    def __init__(self, store: "Store", upload_id: str, name: str) -> None:
        self.store, self.id, self.name, self.num_bytes = store, upload_id, name, 0
        self.folder = store.uploads_dir / upload_id

    def reserve(self, num_bytes: int) -> None:
        """Before they are written.

        Raises:
            RefusedError: the store is full.
        """
        self.store.make_room(num_bytes)
        self.num_bytes += num_bytes

    def release(self, num_bytes: int) -> None:
        """After they were removed."""
        self.num_bytes -= num_bytes


class Store:
    """Uploads and jobs by id, in memory and on the disk; every method may be called from any thread.

    Args:
        settings: limits, and the folder.
        now: seconds since 1970.

    Raises:
        InputError: the folder holds what is not ours, or another service uses it.

    Examples:
        >>> with Store(ServiceSettings(store="serve_example")).opened() as store:
        ...     store.recover(), sorted(store.jobs)
        ([], [])
        >>> Path("serve_example").exists()
        False
    """

    def __init__(self, settings: ServiceSettings, now: Callable[[], float] = time.time) -> None:
        self.settings, self.now, self.folder = settings, now, Path(os.path.abspath(settings.store))
        self.uploads_dir, self.jobs_dir = self.folder / "uploads", self.folder / "jobs"
        self.uploads: dict[str, Upload] = {}
        self.jobs: dict[str, Job] = {}
        self.incoming: dict[str, Incoming] = {}
        self.lock = RLock()
        self._is_recovered = False

    @contextmanager
    def opened(self) -> Iterator["Store"]:
        """While it is open no other service has the folder; at the end nothing is left of it.

        An end before ``recover`` leaves what an earlier service left.
        """
        descriptor = self._claim()
        try:
            yield self
        finally:
            if self._is_recovered:
                with self.lock:
                    for folder in (self.uploads_dir, self.jobs_dir):
                        shutil.rmtree(folder, ignore_errors=True)
            if not (self.uploads_dir.exists() or self.jobs_dir.exists()):
                (self.folder / LOCK).unlink(missing_ok=True)
                if not any(self.folder.iterdir()):
                    self.folder.rmdir()
            if descriptor is not None:
                os.close(descriptor)

    def _claim(self) -> int | None:
        """What holds the lock."""
        lock = self.folder / LOCK
        if self.folder.exists() and not lock.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            fix = "choose another store="
            raise InputError(self.folder, "something that uniseg serve did not write", "a new or empty folder", fix)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # scans are nobody else's
        lock.touch(mode=0o600)
        if fcntl is None:
            return None
        descriptor = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            found, fix = "a folder that another service uses", "choose another store="
            raise InputError(self.folder, found, "one for each service", fix) from error
        return descriptor

    def recover(self) -> list[str]:
        """Read what a killed service left; what became of it, one line each."""
        self._is_recovered, lines = True, []
        for folder in (self.uploads_dir, self.jobs_dir):
            folder.mkdir(exist_ok=True)
            for part in [path for path in folder.rglob(f"{PART}*") if path.is_file()]:
                part.unlink()
        for folder in sorted(self.uploads_dir.iterdir()):
            try:
                upload = read_folder(folder, Upload)
                self.uploads[folder.name] = replace(upload, id=folder.name)
            except InputError:
                shutil.rmtree(folder, ignore_errors=True)
                lines.append(f"an upload that was cut by the end of the service was removed: {folder.name}")
        for folder in sorted(self.jobs_dir.iterdir()):
            try:
                job = replace(read_folder(folder, Job), id=folder.name)
            except InputError:
                shutil.rmtree(folder, ignore_errors=True)
                lines.append(f"a job whose record cannot be read is lost: {folder.name}")
                continue
            self.jobs[job.id] = job
            if not job.is_finished:
                lines.append(self._resume(job))
        return lines

    def _resume(self, job: Job) -> str:
        what = f"job {job.id} ({', '.join(job.tasks)})"
        reason = ""
        if missing := [image for image in job.images if image not in self.uploads]:
            reason = f"its upload {missing[0]} is gone"
        elif job.attempts >= MOST_ATTEMPTS:
            reason = f"the service was killed {job.attempts} times while it ran"
        if reason:
            self.save(replace(job, state=LOST, error=f"lost: {reason}", finished=self.now()))
            return f"{what} is lost: {reason}"
        self.save(replace(job, state=QUEUED))
        return f"{what} was {'cut' if job.state == RUNNING else 'waiting'} at the end of the service; it is done now"

    @contextmanager
    def receiving(self, name: str) -> Iterator[Incoming]:
        """An empty folder to fill; unless it was ``keep``-ed, nothing is left of it."""
        incoming = Incoming(self, secrets.token_hex(ID_BYTES), name)
        with self.lock:
            incoming.folder.mkdir(parents=True)
            self.incoming[incoming.id] = incoming
        try:
            yield incoming
        finally:
            with self.lock:
                del self.incoming[incoming.id]
                if incoming.id not in self.uploads:
                    shutil.rmtree(incoming.folder, ignore_errors=True)

    def keep(self, incoming: Incoming, scan: str) -> Upload:
        """What came in whole, from now on an upload."""
        upload = Upload(incoming.id, incoming.name, scan, incoming.num_bytes, self.now())
        with self.lock:
            write_record(incoming.folder, upload)
            self.uploads[upload.id] = upload
        return upload

    def upload(self, upload_id: str) -> Upload:
        """
        Raises:
            RefusedError: there is none.
        """
        with self.lock:
            if upload_id not in self.uploads:
                raise RefusedError(404, f"upload '{upload_id}'", "none", "the id of an upload", "upload the scan again")
            upload = self.uploads[upload_id] = replace(self.uploads[upload_id], used=self.now())
            return upload

    def scan_path(self, upload: Upload) -> Path:
        return self.uploads_dir / upload.id / upload.scan

    def job(self, job_id: str) -> Job:
        """
        Raises:
            RefusedError: there is none.
        """
        with self.lock:
            if job_id not in self.jobs:
                found = "none; finished jobs are kept for a time"
                raise RefusedError(404, f"job '{job_id}'", found, "the id of a job", "start it again")
            return self.jobs[job_id]

    def add_job(self, **wanted: object) -> Job:
        """A new one, in the journal before it is answered."""
        job = Job(secrets.token_hex(ID_BYTES), created=self.now(), **wanted)  # type: ignore[arg-type]
        with self.lock:
            (self.jobs_dir / job.id).mkdir(parents=True)
            self.save(job)
        return job

    def save(self, job: Job) -> None:
        """Into the journal."""
        with self.lock:
            write_record(self.jobs_dir / job.id, job)
            self.jobs[job.id] = job

    def remove_upload(self, upload_id: str) -> None:
        """
        Raises:
            RefusedError: there is none; a job waits for it.
        """
        with self.lock:
            self.upload(upload_id)
            if upload_id in self._needed():
                found = "a job that is not finished needs it"
                raise RefusedError(409, f"upload '{upload_id}'", found, "no such job", "delete the job first")
            del self.uploads[upload_id]
            shutil.rmtree(self.uploads_dir / upload_id, ignore_errors=True)

    def remove_job(self, job_id: str) -> None:
        """
        Raises:
            RefusedError: there is none.
        """
        with self.lock:
            self.job(job_id)
            del self.jobs[job_id]
            shutil.rmtree(self.jobs_dir / job_id, ignore_errors=True)

    def make_room(self, num_bytes: int) -> None:
        """Remove the oldest of what is finished until so many more bytes fit.

        Raises:
            RefusedError: they do not.
        """
        with self.lock:
            limit = self.settings.max_store_bytes
            while self.num_bytes() + num_bytes > limit and self._remove_oldest():
                pass
            if self.num_bytes() + num_bytes > limit:
                found, fix = "no room for more uploads", "try again when jobs are finished"
                raise RefusedError(FULL, "store", found, f"less than {limit / GB:g} GB in use", fix)

    def num_bytes(self) -> int:
        """Of all that is on the disk, or about to be."""
        coming = [each.num_bytes for each in self.incoming.values() if each.id not in self.uploads]
        uploads, jobs = (sum(each.num_bytes for each in kept.values()) for kept in (self.uploads, self.jobs))
        return uploads + jobs + sum(coming)

    def expire(self) -> None:
        """Remove what was kept long enough."""
        with self.lock:
            before = self.now() - 60 * self.settings.keep_minutes
            while (oldest := self._oldest()) is not None and oldest[0] < before:
                self._remove_oldest()

    def _needed(self) -> set[str]:
        return {image for job in self.jobs.values() if not job.is_finished for image in job.images}

    def _oldest(self) -> tuple[float, str] | None:
        """(since when, id) of what nothing waits for."""
        needed = self._needed()
        idle = [(each.used, each.id) for each in self.uploads.values() if each.id not in needed]
        idle += [(each.finished, each.id) for each in self.jobs.values() if each.is_finished]
        return min(idle, default=None)

    def _remove_oldest(self) -> bool:
        oldest = self._oldest()
        if oldest is not None:
            (self.remove_job if oldest[1] in self.jobs else self.remove_upload)(oldest[1])
        return oldest is not None
