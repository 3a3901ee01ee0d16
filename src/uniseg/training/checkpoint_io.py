"""Writes a checkpoint so that a kill or a full disk leaves the one before it."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from uniseg.files import sync_folder

TEMPORARY = ".tmp"  # suffix of a file that is being written


class AtomicCheckpointIO(TorchCheckpointIO):
    """Temporary name in the same folder, fsync, rename.

    Lightning's own way goes through a file in TMPDIR, which on another disk is copied over the last good checkpoint,
    without fsync.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any | None = None
    ) -> None:
        """
        Raises:
            OSError: with ``filename`` set; what was at ``path`` is still there.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = BytesIO()  # torch.save straight to a full disk is a RuntimeError without errno
        torch.save(checkpoint, content)
        temporary = path.with_name(path.name + TEMPORARY)
        try:
            with temporary.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error
        sync_folder(path.parent)
