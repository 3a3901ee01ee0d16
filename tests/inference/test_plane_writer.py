"""What a device computes arrives in compressed arrays, whole, in order."""

import threading

import blosc2
import numpy as np
import pytest
import torch

from uniseg.inference import plane_writer
from uniseg.inference.plane_writer import PlaneWriter


class Event:
    """Of a GPU that is done at once."""

    def record(self, stream):
        assert stream == "of cpu"

    def synchronize(self):
        pass


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, pin_memory, **how: empty(*args, **how))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"of {device}")
    return torch.device("cuda")


def array():
    return blosc2.zeros((40, 3, 5), dtype=np.uint8, chunks=(8, 3, 5))


def put_all(device):
    label = array()
    with PlaneWriter(device) as writer:
        for z in range(40):
            writer.put(label, (slice(z, z + 1), slice(0, 3), slice(0, 5)), torch.full((1, 3, 5), z, dtype=torch.uint8))
    return label[:]


def test_a_thread_writes_what_is_written_at_once(as_on_a_gpu):
    expected = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None], (40, 3, 5))
    np.testing.assert_array_equal(put_all(torch.device("cpu")), expected)
    np.testing.assert_array_equal(put_all(as_on_a_gpu), expected)


def test_few_slabs_wait_and_no_thread_stays(as_on_a_gpu, monkeypatch):
    gate, threads = threading.Semaphore(0), threading.active_count()
    write = plane_writer._write_copied

    def slow(*args):
        gate.acquire()
        write(*args)

    monkeypatch.setattr(plane_writer, "_write_copied", slow)
    label = array()
    with PlaneWriter(as_on_a_gpu) as writer:
        for z in range(40):
            writer.put(label, (slice(z, z + 1), slice(0, 3), slice(0, 5)), torch.ones(1, 3, 5, dtype=torch.uint8))
            assert len(writer._pending) <= plane_writer.MOST_PENDING
            gate.release()
    assert label[:].all()
    assert threading.active_count() == threads


def test_what_fails_in_the_thread_is_raised(as_on_a_gpu):
    threads = threading.active_count()
    with pytest.raises((ValueError, RuntimeError, IndexError)), PlaneWriter(as_on_a_gpu) as writer:
        writer.put(array(), (slice(0, 1), slice(0, 3), slice(0, 5)), torch.ones(7, 2, dtype=torch.uint8))
    with pytest.raises(ZeroDivisionError), PlaneWriter(as_on_a_gpu):
        _ = 1 / 0
    assert threading.active_count() == threads


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu():
    label, values = array(), torch.arange(40 * 15, device="cuda").reshape(40, 3, 5).to(torch.uint8)
    with PlaneWriter(torch.device("cuda")) as writer:
        for z in range(0, 40, 4):
            writer.put(label, (slice(z, z + 4), slice(0, 3), slice(0, 5)), values[z : z + 4])
    np.testing.assert_array_equal(label[:], values.cpu().numpy())
