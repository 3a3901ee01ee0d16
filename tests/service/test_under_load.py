"""``uniseg serve`` in a process of its own: twenty uploads at once, a bomb among them, a kill in the middle."""

import re
import signal
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from samples import save_nifti, small_model
from served import LONGEST_S, TASKS, save_scan, started
from started import succeed
from uniseg.service.uniseg_client import Client, ServiceError
from uniseg.weights.checkpoint import KEY, describe_model

pytestmark = pytest.mark.slow
MB = 10**6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("network") / "last.ckpt", TASKS)


def save_checkpoint(path, tasks):
    model = small_model(tasks)
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({KEY: describe_model(model, state), "state_dict": state}, path)
    return path


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def memory_mb(process, what="VmHWM"):
    """The most that a process has held, or what it holds (VmRSS)."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) * 1024 / MB


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_twenty_uploads_at_once_take_little_memory(checkpoint, tmp_path):
    """25 MB each, on the disk 500 MB; beside them a zip bomb, a wrong token, clients that are cut or vanish."""
    scan = save_nifti(tmp_path / "scan.nii", np.random.default_rng(0).normal(0, 300, (120, 320, 320)).astype(np.int16))
    small = save_scan(tmp_path / "small.nii")
    (expected,) = predicted(checkpoint, small, tmp_path, "spleen")
    token = "under-the-load-of-tests"
    options = [f"checkpoint={checkpoint}", f"token={token}", "max_unpacked_gb=0.2", "inference.device=cpu"]
    with started(tmp_path, *options) as (process, server, _), ThreadPoolExecutor(24) as clients:
        client = Client(server, token)
        job = client.run(small, tmp_path / "warm", ["spleen"])  # libraries are loaded by now
        before = memory_mb(process)
        uploads = [clients.submit(client.upload, scan) for _ in range(20)]
        bomb, intruder = clients.submit(client.upload, bomb_at(tmp_path)), clients.submit(Client(server, "wrong").tasks)
        ids = [upload.result(LONGEST_S)["id"] for upload in uploads]
        assert memory_mb(process) - before < 150
        with pytest.raises(ServiceError, match=r"bomb\.zip: found more, unpacked; expected at most 0\.2 GB"):
            bomb.result(LONGEST_S)
        with pytest.raises(ServiceError, match="found a wrong token"):
            intruder.result(LONGEST_S)
        assert len(set(ids)) == 20
        stored = tmp_path / "outputs/serve/uploads"
        assert len(files_below(stored)) == 40
        vanished = client.start(client.upload(small)["id"], ["spleen"])["id"]  # whose client never asks again
        jobs = [clients.submit(client.run, small, tmp_path / f"out{k}", ["spleen"]) for k in range(20)]
        for job in jobs:
            assert job.result(LONGEST_S)[0].read_bytes() == expected.read_bytes()
        assert client.job(vanished)["state"] == "done"
        for upload in ids:
            client.delete("uploads", upload)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONGEST_S) == 143
    assert files_below(tmp_path / "outputs") == []


def bomb_at(folder):
    """A gigabyte of nothing, in a megabyte."""
    path = folder / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("1.dcm", "w") as member:
        for _ in range(1000):
            member.write(bytes(MB))
    return path


def predicted(checkpoint, scan, folder, task):
    arguments = [
        f"checkpoint={checkpoint}",
        f"input={scan}",
        "output=expected",
        f"tasks={task}",
        "inference.device=cpu",
    ]
    return [folder / line for line in succeed("predict", *arguments, cwd=folder).stdout.split()]


def test_a_kill_in_the_middle_loses_nothing_or_says_what(checkpoint, tmp_path):
    scan = save_scan(tmp_path / "scan.nii", shape=(80, 64, 64))  # a second or more of windows
    options = [f"checkpoint={checkpoint}", "inference.device=cpu", "inference.overlap=0.5"]
    with started(tmp_path, *options) as (process, server, _):
        client = Client(server, "")
        upload = client.upload(scan)["id"]
        first, second = (client.start(upload, [task])["id"] for task in ("spleen", "liver"))
        while client.job(first)["stage"] != "segmenting":
            assert client.job(first)["state"] in ("queued", "running")
        with ThreadPoolExecutor(1) as other:
            cut = other.submit(
                client._json, "POST", "/uploads?filename=cut.nii", endless(), {"Transfer-Encoding": "chunked"}
            )
            uploads = tmp_path / "outputs/serve/uploads"
            while len(list(uploads.iterdir())) < 2:
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait(LONGEST_S)
            with pytest.raises(ServiceError, match="no answer of the service"):
                cut.result(LONGEST_S)
    assert files_below(tmp_path / "outputs") != []
    with started(tmp_path, *options) as (process, server, lines):
        client = Client(server, "")
        said = "\n".join(lines)
        assert f"job {first} (spleen) was cut at the end of the service; it is done now" in said
        assert f"job {second} (liver) was waiting at the end of the service; it is done now" in said
        assert "an upload that was cut by the end of the service was removed" in said
        assert [path.name for path in uploads.iterdir()] == [upload]
        expected = {
            path.parent.name: path.read_bytes() for path in predicted(checkpoint, scan, tmp_path, "[spleen,liver]")
        }
        for job, task in ((first, "spleen"), (second, "liver")):
            client.wait(job)
            assert client.download(job, task, tmp_path / f"{task}.nii.gz").read_bytes() == expected[task]
        process.send_signal(signal.SIGINT)
        assert process.wait(LONGEST_S) == 130
    assert files_below(tmp_path / "outputs") == []


def endless():
    while True:
        yield bytes(1 << 16)
