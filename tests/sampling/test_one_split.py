"""What a run refuses to mix."""

import json

import numpy as np
import pytest

from samples import make_task
from uniseg.cache.store import CaseEntry, write_case, write_fingerprint, write_task
from uniseg.datasets.splits import SplitTable
from uniseg.errors import InputError
from uniseg.preprocessing.fingerprint import CaseFingerprint
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.settings import StreamSettings

SHAPE = (6, 8, 8)


def write_cache(folder, name, hashes):
    """A prepared task of three cases: for training, val, test; ``hashes`` in that order."""
    task, ids = make_task(name), [f"{name}_{k}" for k in range(3)]
    entries = [CaseEntry(case_id, f"{name}/{case_id}", SHAPE, "k") for case_id in ids[:2]]
    for entry in entries:
        write_case(folder / name, entry, np.zeros((1, *SHAPE), np.float32), np.ones(SHAPE, np.int16), task)
    splits = SplitTable((ids[2],), ((ids[1],),), (ids[0],), {case_id: f"{name}/{case_id}" for case_id in ids})
    write_task(folder / name, task, entries, splits, dict(zip(ids, hashes, strict=True)))
    for case_id, image_hash in zip(ids, hashes, strict=True):
        write_fingerprint(
            folder / name, case_id, "k", CaseFingerprint(1.0, np.ones((1, 1), np.float32), image_hash, (1.0, 1.0), True)
        )


def module(folder, names=("liver", "spleen")):
    settings = StreamSettings(patch_size=(4, 8, 8), batch_size=2, steps_per_epoch=4, val_steps=2)
    return UniSegDataModule(names, folder, settings)


@pytest.mark.parametrize("is_old", [False, True])
def test_one_scan_for_training_here_and_test_there_is_refused(tmp_path, is_old):
    write_cache(tmp_path, "liver", ("h0", "h1", "h2"))
    write_cache(tmp_path, "spleen", ("h2", "h4", "h5"))
    if is_old:
        for path in tmp_path.glob("*/task.json"):
            path.write_text(
                json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "image_hashes"})
            )
    with pytest.raises(
        InputError,
        match=r"case 'spleen_0' of task 'spleen': found the voxels of 'liver_2' of 'liver' \(test\), here for train",
    ):
        module(tmp_path)
    assert module(tmp_path, ["spleen"]).tasks.names == ("spleen",)


def test_one_scan_on_one_side_of_two_tasks_is_in_order(tmp_path):
    write_cache(tmp_path, "liver", ("h0", "h1", "h2"))
    write_cache(tmp_path, "spleen", ("h0", "h1", "h2"))
    assert module(tmp_path).tasks.names == ("liver", "spleen")
