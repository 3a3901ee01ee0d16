"""A file that is written while the disk fails."""

import errno
import tracemalloc

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


def test_a_checkpoint_is_not_copied_in_memory(tmp_path):
    """Beside its tensors it is there once, as the bytes of the file."""
    tensor = torch.zeros(2**22)
    size = tensor.numel() * tensor.element_size()
    tracemalloc.start()
    try:
        AtomicCheckpointIO().save_checkpoint({"step": tensor}, tmp_path / "last.ckpt")
        assert tracemalloc.get_traced_memory()[1] < 1.8 * size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("left", [".part7_last.ckpt", "last.ckpt.tmp"])
def test_a_file_left_by_a_kill_is_in_nobodys_way(left, tmp_path):
    (tmp_path / left).write_bytes(b"half")
    AtomicCheckpointIO().save_checkpoint({"step": 2}, tmp_path / "last.ckpt")
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == {"step": 2}
