"""Worker processes that do not outlive the command that started them."""

import os
import time
from threading import Thread

LOOK_S = 1.0  # between two looks at the parent


def end_with_parent() -> None:
    """Called first in a worker: ends it soon after its parent, which may have been killed. joblib's wait for minutes."""
    Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)
