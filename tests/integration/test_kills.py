"""Kills at random times, of every kind."""

import os
import random
import signal
import subprocess
import time

import pytest
import torch

from started import PYTHON, TINY, signal_at, succeed, train

pytestmark = pytest.mark.slow

SETTINGS = [
    "experiment=demo", *TINY, "data.steps_per_epoch=12", "data.val_steps=8", "trainer.max_epochs=10",
    "trainer.deterministic=true",
    "callbacks.checkpoint.every_n_train_steps=5", "data.num_workers=1",
]  # fmt: skip
KILLS = [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL, signal.SIGTERM]
CODES = {signal.SIGKILL: {-9}, signal.SIGTERM: {143}, signal.SIGUSR1: {138}}
READERS_NOTICE_S = 15  # that their parent was killed: PyTorch's look every five seconds


def weights(folder, name):
    return torch.load(folder / "outputs" / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def start_then_kill(folder, number, after_s):
    """Signals all processes of the run ``after_s`` seconds after its first file of this start; returns the exit code
    with stderr.
    """
    log = folder / "outputs/parts/logs/metrics.csv"
    before = log.stat().st_mtime_ns if log.exists() else 0
    command = [PYTHON, "-m", "uniseg.train", *SETTINGS, "name=parts", "ckpt_path=last"]
    run = subprocess.Popen(
        command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while (not log.exists() or log.stat().st_mtime_ns == before) and run.poll() is None:
        time.sleep(0.01)
    time.sleep(after_s)
    if number == signal.SIGKILL:
        run.kill()
    else:
        os.killpg(run.pid, number)
    stderr = run.communicate(timeout=60)[1]
    return run, stderr


def wait_for_readers(run):
    """Readers end with their parent."""
    end = time.monotonic() + READERS_NOTICE_S
    while time.monotonic() < end:
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    raise AssertionError("processes outlive their run")


def test_five_random_kills(prepared):
    start = time.monotonic()
    succeed("train", *SETTINGS, "name=unkilled", cwd=prepared)
    lasted = time.monotonic() - start
    rng = random.Random(20)
    steps = []
    for number in rng.sample(KILLS, len(KILLS)):
        run, stderr = start_then_kill(prepared, number, rng.uniform(0, 0.2) * lasted)
        assert run.returncode in CODES[number], stderr
        assert number == signal.SIGKILL or "Traceback" not in stderr
        wait_for_readers(run)
        path = prepared / "outputs/parts/checkpoints/last.ckpt"
        steps.append(torch.load(path, weights_only=True)["global_step"] if path.exists() else 0)
    assert steps == sorted(steps)
    assert steps[-1] > steps[0]
    succeed("train", *SETTINGS, "name=parts", "ckpt_path=last", cwd=prepared)
    whole, parts = weights(prepared, "unkilled"), weights(prepared, "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_killed_before_the_first_checkpoint(prepared):
    settings = [*SETTINGS, "trainer.max_epochs=1", "name=early", "ckpt_path=last"]
    assert train(*settings, signal_at(1, signal.SIGKILL), cwd=prepared).returncode == -signal.SIGKILL
    again = train(*settings, cwd=prepared)
    assert again.returncode == 0, again.stderr
    assert sum("the run starts from the beginning" in line for line in again.stderr.splitlines()) == 1
