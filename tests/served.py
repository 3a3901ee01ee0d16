"""A service that really runs: uvicorn in a thread of this process, or ``uniseg serve`` in a process of its own."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread, Timer

import nibabel as nib
import numpy as np

from samples import make_task, small_model
from started import PYTHON
from uniseg import Predictor, TaskSet
from uniseg.inference.settings import InferenceSettings
from uniseg.serve import describe
from uniseg.service.api import Service, make_app
from uniseg.service.listening import bound_socket, make_server
from uniseg.service.settings import ServiceSettings
from uniseg.service.store import Store
from uniseg.service.uniseg_client import Client
from uniseg.service.worker import Worker

AFFINE = np.diag([-1.5, -1.5, 3.0, 1])
TOKEN = "a-secret-of-the-tests"
LONGEST_S = 300  # of anything that is waited for, on a machine with much else to do
TASKS = TaskSet(
    [
        make_task("liver", spacing_mm=(3, 1.5, 1.5)),
        make_task("spleen", classes=("background", "spleen"), spacing_mm=(3, 1.5, 1.5)),
        make_task("tumour", ("CT", "PET"), ("background", "tumour"), spacing_mm=(3, 1.5, 1.5)),
    ]
)


@dataclass(frozen=True)
class Running:
    """A service of this process."""

    server: str
    service: Service
    client: Client
    lines: list[str]

    @property
    def store(self) -> Store:
        return self.service.store

    def files(self) -> list[str]:
        """Whatever lies in the store, the lock left out."""
        return sorted(
            path.relative_to(self.store.folder).as_posix()
            for path in self.store.folder.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        )


def small_predictor() -> Predictor:
    return Predictor(small_model(TASKS), InferenceSettings(device="cpu"), checkpoint_hash="abc")


@contextmanager
def running(folder: Path, token: str | None = None, predictor: Predictor | None = None, **limits) -> Iterator[Running]:
    """As ``uniseg serve`` puts it together."""
    settings = ServiceSettings(port=0, store=str(folder / "store"), token=token, **limits)
    with bound_socket(settings.host, settings.port) as listening, Store(settings).opened() as store:
        predictor, lines = predictor or small_predictor(), []
        lines += store.recover()
        worker = Worker(predictor, store, describe, lines.append)
        service = Service(predictor, store, worker, settings, token)
        server = make_server(make_app(service))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        worker.start()
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            yield Running(address, service, Client(address, token or ""), lines)
        finally:
            server.should_exit = True
            thread.join(LONGEST_S)
            worker.stop(LONGEST_S)
            assert [each.name for each in (thread, worker.thread) if each.is_alive()] == []


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen, str, list[str]]]:
    """``uniseg serve`` in a process of its own: the process, its address, what it said before it served."""
    command = [PYTHON, "-m", "uniseg.serve", "port=0", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    timer = Timer(LONGEST_S, process.kill)  # then the lines end
    timer.start()
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.strip())
            if found := re.match(r"serving (\S+)", line):
                yield process, found[1], lines
                break
        else:
            raise AssertionError(f"it ended with {process.wait(LONGEST_S)}: {lines}")
    finally:
        timer.cancel()
        process.kill()
        process.wait(LONGEST_S)
        process.stdout.close()


def save_scan(path: Path, seed: int = 0, shape: tuple[int, int, int] = (20, 24, 22)) -> Path:
    rng = np.random.default_rng(seed)
    body = rng.normal(40, 150, shape)
    body[:4] = -1000
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(body.astype(np.int16), AFFINE), path)
    return path
