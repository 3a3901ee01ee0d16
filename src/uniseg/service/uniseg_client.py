"""Asks a service of uniseg for label maps; needs Python (3.9 or newer), nothing else.

python uniseg_client.py --server http://127.0.0.1:8765 tasks
python uniseg_client.py --server http://127.0.0.1:8765 run scan.nii.gz out --tasks liver
python uniseg_client.py --server http://127.0.0.1:8765 run CT=ct.nii.gz PET=pet.nii.gz out --format nrrd

The token is taken from --token or from the environment, UNISEG_TOKEN. A folder is sent as a zip of its DICOM series.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

SERVER = "http://127.0.0.1:8765"
WAIT_S = 5  # that the service holds an answer back while a job runs
TIMEOUT_S = 60.0  # without a byte
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".zip")


class ServiceError(Exception):
    """What the service, or the way to it, says in one line.

    Attributes:
        status: of HTTP; 0 where there was no answer.

    Examples:
        >>> str(ServiceError(401, "Authorization: found no token"))
        'Authorization: found no token'
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """A service at an address.

    Args:
        token: that it was started with; None: that of the environment, or none.

    Examples:
        >>> client = Client("http://127.0.0.1:8765")
        >>> client.run("ct.nii.gz", "out", tasks=["liver"])  # doctest: +SKIP
        [PosixPath('out/liver/ct.nii.gz')]
    """

    def __init__(self, server: str = SERVER, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.server, self.timeout_s = server.rstrip("/"), timeout_s
        self.token = os.environ.get("UNISEG_TOKEN") if token is None else token

    def tasks(self) -> dict[str, Any]:
        """``tasks``: name, modalities, classes with colours; ``label_map_formats``; ``limits``."""
        return self._json("GET", "/tasks")

    def upload(self, path: str | os.PathLike) -> dict[str, Any]:
        """A file, or a folder of DICOM slices; its ``id`` is what a job is started with."""
        path = Path(path)
        self._require_fitting(path)
        with _as_file(path) as (file_path, name):
            size, query = file_path.stat().st_size, urllib.parse.urlencode({"filename": name})
            with file_path.open("rb") as file:
                headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
                return self._json("POST", f"/uploads?{query}", file, headers)

    def start(
        self,
        images: str | Mapping[str, str],
        tasks: Sequence[str] = ("auto",),
        series: str | None = None,
        label_map_format: str = "nifti",
    ) -> dict[str, Any]:
        """A job.

        Args:
            images: the id of an upload, or one for each modality.
            series: of several in a zip, number or UID.
            label_map_format: nifti, nrrd, dicom_seg, rtstruct.
        """
        given = {"image": images} if isinstance(images, str) else {"images": dict(images)}
        request = {**given, "tasks": list(tasks), "series": series, "format": label_map_format}
        body, headers = json.dumps(request).encode(), {"Content-Type": "application/json"}
        return self._json("POST", "/jobs", body, headers)

    def job(self, job_id: str, wait_s: float = 0) -> dict[str, Any]:
        """``state``, ``stage``, ``fraction``, ``position``; ``results`` once it is done.

        Args:
            wait_s: the answer comes when it is finished, or after that time.
        """
        return self._json("GET", f"/jobs/{_quoted(job_id)}?wait={wait_s:g}")

    def wait(self, job_id: str, on_progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """The job once it is done.

        Args:
            on_progress: gets the job again and again; what it raises ends the waiting, not the job.

        Raises:
            ServiceError: it failed, was lost or deleted.
        """
        while True:
            job = self.job(job_id, WAIT_S if on_progress is None else min(WAIT_S, 1))
            if on_progress is not None:
                on_progress(job)
            if job["state"] == "done":
                return job
            if job["state"] in ("failed", "lost"):
                raise ServiceError(200, job["error"])

    def download(self, job_id: str, task: str, path: str | os.PathLike) -> Path:
        """The label map of a task; ``path`` appears whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".part{os.getpid()}_{path.name}")
        try:
            where = f"/jobs/{_quoted(job_id)}/results/{_quoted(task)}"
            with self._open("GET", where) as answer, _lines(), part.open("wb") as file:
                shutil.copyfileobj(answer, file)
            os.replace(part, path)
        finally:
            if part.exists():
                part.unlink()
        return path

    def delete(self, kind: str, an_id: str) -> None:
        """
        Args:
            kind: ``jobs`` or ``uploads``.
        """
        with self._open("DELETE", f"/{kind}/{_quoted(an_id)}"):
            pass

    def run(
        self,
        scans: str | os.PathLike | Mapping[str, str | os.PathLike],
        output: str | os.PathLike,
        tasks: Sequence[str] = ("auto",),
        series: str | None = None,
        label_map_format: str = "nifti",
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> list[Path]:
        """Upload, wait, fetch ``<output>/<task>/<scan>.nii.gz``, and leave nothing at the service.

        Args:
            scans: a file or folder, or one for each modality.
            series, label_map_format: as of ``start``.
            on_progress: as of ``wait``; what it raises ends the job, too.
        """
        paths = {"": scans} if isinstance(scans, (str, os.PathLike)) else dict(scans)
        made: list[tuple[str, str]] = []
        try:
            ids = {}
            for modality, path in paths.items():
                ids[modality] = self.upload(path)["id"]
                made.insert(0, ("uploads", ids[modality]))
            job = self.start(ids.get("", ids), tasks, series, label_map_format)
            made.insert(0, ("jobs", job["id"]))
            stem = _stem(Path(next(iter(paths.values()))))
            results = self.wait(job["id"], on_progress)["results"]
            targets = {each["task"]: Path(output) / each["task"] / f"{stem}{each['ending']}" for each in results}
            return [self.download(job["id"], task, target) for task, target in targets.items()]
        finally:
            for kind, an_id in made:
                with suppress(ServiceError):  # it expires there
                    self.delete(kind, an_id)

    def _require_fitting(self, path: Path) -> None:
        """Before the first byte: that the token is right, and the file not too large."""
        if not path.exists():
            raise ServiceError(0, f"{path}: no such file")
        most = self.tasks()["limits"]["max_upload_bytes"]
        size = path.stat().st_size if path.is_file() else 0
        if size > most:
            raise ServiceError(413, f"{path}: found {size} bytes; expected at most {most}; crop the scan")

    def _json(self, method: str, where: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        with self._open(method, where, body, headers) as answer, _lines():
            return json.loads(answer.read())

    def _open(self, method: str, where: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        request = urllib.request.Request(self.server + where, body, dict(headers or {}), method=method)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with _lines():
            return urllib.request.urlopen(request, timeout=self.timeout_s)


@contextmanager
def _lines() -> Iterator[None]:
    """Whatever goes wrong on the way is a ServiceError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise ServiceError(error.code, _message(error)) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ServiceError(0, f"no answer of the service: {reason or type(error).__name__}") from error


def _message(error: urllib.error.HTTPError) -> str:
    try:
        with error:
            return str(json.loads(error.read())["error"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


@contextmanager
def _as_file(path: Path) -> Iterator[tuple[Path, str]]:
    """The file to send and its name; of a folder a zip of its files, removed afterwards."""
    if not path.is_dir():
        yield path, path.name
        return
    with tempfile.TemporaryDirectory(prefix="uniseg_client_") as folder:
        packed = Path(folder) / "series.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for number, each in enumerate(sorted(path.iterdir())):
                if each.is_file() and not each.name.startswith("."):
                    archive.write(each, f"{number:05d}_{each.name}")
        yield packed, f"{path.resolve().name}.zip"


def _stem(path: Path) -> str:
    name = path.resolve().name
    return next((name[: -len(each)] for each in ENDINGS if name.lower().endswith(each)), name)


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _scans(words: Sequence[str]) -> str | dict[str, str]:
    """``scan.nii.gz``, or ``CT=ct.nii.gz PET=pet.nii.gz``."""
    if len(words) == 1 and ("=" not in words[0] or Path(words[0]).exists()):
        return words[0]
    pairs = [word.partition("=") for word in words]
    if not all(equals and name and path for name, equals, path in pairs):
        raise ServiceError(0, "several scans: give <modality>=<path> for each")
    return {name: path for name, _, path in pairs}


def _say_progress(job: dict[str, Any]) -> None:
    before = f", {job['position']} before it" if job["position"] else ""
    sys.stderr.write(f"\r{job['stage']}{before}: {100 * job['fraction']:.0f} %".ljust(60))


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command line says; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=os.environ.get("UNISEG_SERVER", SERVER))
    parser.add_argument("--token", help="of the service; UNISEG_TOKEN where it is not given")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tasks", help="what the service can segment")
    run = commands.add_parser("run", help="scan -> label maps")
    run.add_argument("scans", nargs="+", help="a file, a folder of DICOM slices, or <modality>=<path> for each")
    run.add_argument("output", help="folder of the label maps")
    run.add_argument("--tasks", nargs="+", default=["auto"], help="names; auto: all that fit the scan")
    run.add_argument("--format", default="nifti", help="nifti, nrrd, dicom_seg, rtstruct")
    run.add_argument("--series", help="of several DICOM series: number or UID")
    given = parser.parse_args(arguments)
    client = Client(given.server, given.token)
    try:
        if given.command == "tasks":
            for task in client.tasks()["tasks"]:
                names = ", ".join(each["name"] for each in task["classes"])
                sys.stdout.write(f"{task['name']}: {' + '.join(task['modalities'])} -> {names}\n")
        else:
            say = _say_progress if sys.stderr.isatty() else None
            scans = _scans(given.scans)
            for path in client.run(scans, given.output, given.tasks, given.series, given.format, say):
                sys.stdout.write(f"{path}\n")
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
