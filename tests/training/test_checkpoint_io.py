"""A file that is written while the disk fails."""

import errno

import pytest
import torch

from full_disk import small_disk
from uniseg.training.checkpoint_io import AtomicCheckpointIO


def test_a_failing_write_keeps_the_file(tmp_path):
    path = tmp_path / "deep" / "last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"step": 1}, path)
    with pytest.raises(OSError, match=r"last\.ckpt") as failed, small_disk(4000):
        io.save_checkpoint({"step": torch.arange(2000)}, path)
    assert failed.value.errno == errno.EFBIG
    assert io.load_checkpoint(path, weights_only=True) == {"step": 1}
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_file_left_by_a_kill_is_in_nobodys_way(tmp_path):
    (tmp_path / "last.ckpt.tmp").write_bytes(b"half")
    AtomicCheckpointIO().save_checkpoint({"step": 2}, tmp_path / "last.ckpt")
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == {"step": 2}
