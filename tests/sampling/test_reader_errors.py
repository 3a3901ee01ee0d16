"""Errors out of reader processes."""

import errno
import pickle
from types import SimpleNamespace

import pytest
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from uniseg.errors import InputError
from uniseg.sampling.batch import ReadFailure
from uniseg.sampling.datamodule import EpochPosition
from uniseg.sampling.loader import require_read
from uniseg.sampling.patches import PatchReader
from uniseg.sampling.requests import PatchRequest

REQUEST = PatchRequest(task=0, case_id="a", seed=0, force_foreground=False, augmentation=None, step=0, batch_index=0)
ERRORS = [
    InputError("scan", "half of it", "all of it", "fetch it again"),
    OSError(errno.EIO, "Input/output error", "image.b2nd"),
    MemoryError("no memory"),
    FloatingPointError("overflow"),
]


def fail(error):
    def read_box(*_):
        raise error

    return SimpleNamespace(
        task=SimpleNamespace(num_modalities=1),
        entries={"a": SimpleNamespace(shape=(8, 8, 8))},
        read_box=read_box,
        annotated=lambda case_id: {},
    )


def loader(error, **settings):
    return DataLoader(
        PatchReader([fail(error)], (8, 8, 8)), batch_sampler=[[REQUEST]], collate_fn=lambda batch: batch, **settings
    )


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_a_reader_is_raised_in_the_main_process(error, num_workers):
    (batch,) = loader(error, num_workers=num_workers)
    pinned = pin_memory(batch)
    assert isinstance(pinned, ReadFailure)
    with pytest.raises(type(error)) as raised:
        require_read(pinned)
    assert str(raised.value) == str(error)
    assert pickle.loads(pickle.dumps(raised.value)).args == error.args


def test_an_error_of_our_own_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError, match="in read_box"):
        list(loader(ZeroDivisionError("x"), num_workers=1))


def test_a_state_of_an_older_version_is_read():
    position = EpochPosition(4)
    position.load_state_dict({"consumed": 6})
    assert position.steps_left() == range(6, 8)
    position.step_done(7)
    assert position.steps_left() == range(8, 12)


def test_an_epoch_gets_its_new_length():
    before = EpochPosition(4)
    assert before.steps_left() == range(4)
    before.step_done(3)
    before.steps_left()
    before.step_done(5)
    after = EpochPosition(6)
    after.load_state_dict(before.state_dict())
    assert after.steps_left() == range(6, 10)
    before.step_done(7)
    after.load_state_dict(before.state_dict())
    assert after.steps_left() == range(8, 14)
