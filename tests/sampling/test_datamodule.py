"""The streams of a run over prepared tasks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samples import make_task
from uniseg.cache.store import CaseEntry, write_case, write_task
from uniseg.datasets.splits import SplitTable
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.settings import StreamSettings
from uniseg.task import Normalization

NAMES = tuple(f"task{number}" for number in range(5))
SHAPE = (4, 6, 6)


@pytest.fixture
def caches(tmp_path) -> Path:
    """Five tasks of two cases; the last has none for val."""
    for name in NAMES:
        entries = [CaseEntry(f"{name}_{letter}", f"set/{name}_{letter}", SHAPE, "key") for letter in "ab"]
        task = replace(make_task(), name=name)
        for entry in entries:
            write_case(tmp_path / name, entry, np.ones((1, *SHAPE), np.float32), np.ones(SHAPE, np.int16), task)
        ids = tuple(entry.case_id for entry in entries)
        val, train = (ids[:1], ids[1:]) if name != NAMES[-1] else ((), ids)
        write_task(tmp_path / name, task, entries, SplitTable((), (val,), train, {i: f"set/{i}" for i in ids}))
    return tmp_path


def module(caches: Path, **changes) -> UniSegDataModule:
    settings = {"patch_size": (4, 4, 4), "batch_size": 2, "steps_per_epoch": 3, "val_steps": 1} | changes
    return UniSegDataModule(NAMES, caches, StreamSettings(**settings))


def test_the_stream_knows_what_is_masked_or_optional(caches):
    assert {(cases.optional, cases.masked) for cases in module(caches).train_stream.tasks} == {((False,), (False,))}
    own = replace(
        make_task("task0", ("T1", "CT"), optional=("CT",)),
        normalization=(Normalization("zscore", masked=True), make_task().normalization[0]),
    )
    entries = [CaseEntry(f"task0_{letter}", f"set/{letter}", SHAPE, "key") for letter in "ab"]
    write_task(
        caches / "task0",
        own,
        entries,
        SplitTable((), (("task0_a",),), ("task0_b",), {"task0_a": "set/a", "task0_b": "set/b"}),
    )
    first = module(caches).train_stream.tasks[0]
    assert (first.optional, first.masked) == ((False, True), (True, False))


@pytest.mark.parametrize(
    ("changes", "steps"), [({}, 2), ({"tasks_per_batch": 1}, 4), ({"batch_size": 8}, 1), ({"val_steps": 3}, 3)]
)
def test_a_validation_shows_every_task_that_has_dev_cases(caches, changes, steps):
    data = module(caches, **changes)
    assert data.val_steps == steps
    assert {request.task for step in range(steps) for request in data.val_stream.batch(step)} == {0, 1, 2, 3}
