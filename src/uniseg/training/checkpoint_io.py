"""Writes a checkpoint so that a kill or a full disk leaves the one before it."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from uniseg.files import remove_parts, sync_folder, write_bytes


class AtomicCheckpointIO(TorchCheckpointIO):
    """Temporary name in the same folder, fsync, rename; what a killed writer left there is removed.

    Lightning's own way goes through a file in TMPDIR, which on another disk is copied over the last good checkpoint,
    without fsync.

    Examples:
        >>> AtomicCheckpointIO().save_checkpoint({"epoch": 3}, "checkpoints/last.ckpt")
        >>> torch.load("checkpoints/last.ckpt")
        {'epoch': 3}
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any | None = None
    ) -> None:
        """
        Raises:
            OSError: with ``filename`` set; what was at ``path`` is still there.
        """
        path = Path(path)
        remove_parts(path)
        content = BytesIO()  # torch.save straight to a full disk is a RuntimeError without errno
        torch.save(checkpoint, content)
        write_bytes(path, content.getbuffer())
        sync_folder(path.parent)
