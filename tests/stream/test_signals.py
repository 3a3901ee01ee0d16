"""Where a system has fewer signals."""

import subprocess
import sys


def test_training_and_stream_load_without_the_signals_of_unix():
    """As on Windows."""
    code = (
        "import signal\n"
        "for name in ('SIGUSR1', 'SIGUSR2', 'SIGALRM', 'pthread_sigmask', 'sigwaitinfo', 'sigwait'):\n"
        "    delattr(signal, name)\n"
        "import sys\n"
        "sys.modules['fcntl'] = None\n"
        "import uniseg.predict, uniseg.stream.signals, uniseg.train, uniseg.training.run_folder\n"
        "from uniseg.training.stop import SIGNALS\n"
        "uniseg.stream.signals.leave_signals(0)\n"
        "with uniseg.training.run_folder.locked(None):\n"
        "    assert SIGNALS == (signal.SIGTERM, signal.SIGINT), SIGNALS\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
