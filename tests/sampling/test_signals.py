"""How readers take signals; where a system has fewer of them."""

import gc
import signal
import subprocess
import sys

import pytest

from uniseg.sampling.loader import ShieldedLoader
from uniseg.sampling.signals import ignore_signals_in_worker


class Masks:
    """Each item: which signals the process that reads it holds back."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> set:
        return signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="readers take SIGTERM as torch has it")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_readers_begin_with_sigterm_held_back(num_workers):
    (blocked,) = ShieldedLoader(Masks(), batch_size=None, num_workers=num_workers)
    assert (signal.SIGTERM in blocked) is (num_workers > 0)
    assert signal.SIGTERM not in Masks()[0]


class Frozen(Masks):
    """Each item: how many objects the process that reads it never collects."""

    def __getitem__(self, index: int) -> int:
        return gc.get_freeze_count()


def test_readers_collect_nothing_of_their_parent():
    (number,) = ShieldedLoader(Frozen(), batch_size=None, num_workers=1, worker_init_fn=ignore_signals_in_worker)
    assert number > 1000


def test_training_and_stream_load_without_the_signals_of_unix():
    """As on Windows."""
    code = (
        "import signal\n"
        "for name in ('SIGUSR1', 'SIGUSR2', 'SIGALRM', 'pthread_sigmask', 'sigwaitinfo', 'sigwait'):\n"
        "    delattr(signal, name)\n"
        "import sys\n"
        "sys.modules['fcntl'] = None\n"
        "import uniseg.predict, uniseg.sampling.signals, uniseg.train, uniseg.training.folder_guard\n"
        "from uniseg.training.callbacks.checkpoint_and_exit import SIGNALS\n"
        "uniseg.sampling.signals.ignore_signals_in_worker(0)\n"
        "with uniseg.training.folder_guard.locked(None):\n"
        "    assert SIGNALS == (signal.SIGTERM, signal.SIGINT), SIGNALS\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
