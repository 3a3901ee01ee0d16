"""Descriptions with a wrong type at every key, cut, or of another kind: each is read, or refused in one line."""

import copy
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from samples import make_task, save_nifti
from uniseg.cache.store import CaseEntry, TaskCache, read_entry, write_case, write_task
from uniseg.datasets.case import Case, dataset_warnings, find_cases
from uniseg.datasets.dataset_json import describe
from uniseg.datasets.import_nnunet import import_nnunet_datasets
from uniseg.datasets.source import Source
from uniseg.datasets.split_file import read_splits
from uniseg.datasets.splits import SplitTable, assign_splits, split_cases
from uniseg.errors import InputError
from uniseg.phantom.suite import PhantomSettings, write_suite

SHAPE = (3, 4, 5)
NEST = "[" * 3000 + "]" * 3000
VALUES = [
    None,
    True,
    -1,
    0,
    1e300,
    float("nan"),
    10**30,
    "",
    "a",
    "../../x",
    "\x00",
    "x" * 300,
    "${oc.env:HOME}",
    [],
    [[]],
    ["a"],
    [1],
    {},
    {"a": 1},
    {"": None},
]
BYTES = [
    b"",
    b"\x00" * 40,
    b"\xff\xfe{\x00",
    b"\x89PNG\r\n",
    b"null",
    b"7",
    b'"text"',
    b"[1, 2]",
    b"{",
    b'{"a": 1,}',
    b'{"\xff": 1}',
    NEST.encode(),
]


def mutated(values, path=()) -> Iterator:
    """``values`` with one place replaced, removed or doubled."""
    places = (
        list(values.items())
        if isinstance(values, dict)
        else list(enumerate(values))
        if isinstance(values, list)
        else []
    )
    for key, own in places:
        for value in VALUES:
            yield changed(values, key, value)
        yield removed(values, key)
        for deeper in mutated(own):
            yield changed(values, key, deeper)
    if isinstance(values, dict):
        yield from (
            {**values, key: values[next(iter(values), "")] if values else 1}
            for key in ("", "../x", "\x00", "0", "-1", "x" * 300)
        )


def changed(values, key, value):
    copied = copy.copy(values)
    copied[key] = value
    return copied


def removed(values, key):
    copied = copy.copy(values)
    del copied[key]
    return copied


def contents(values, most: int) -> list[bytes]:
    """Files: every kind of junk, the whole file cut, and ``most`` of the mutations, always the same ones."""
    whole = json.dumps(values).encode()
    mutations = [json.dumps(one).encode() for one in mutated(values)]
    chosen = random.Random(0).sample(mutations, min(most, len(mutations)))
    return [*BYTES, *(whole[:stop] for stop in range(1, len(whole), 1 + len(whole) // 15)), *chosen]


def check(path: Path, files: list[bytes], read) -> None:
    """Each file is read, or refused by an InputError, whose message is one line."""
    messages = []
    for content in files:
        path.write_bytes(content)
        messages += refusal(read, content)
    assert len(messages) >= len(BYTES)


def refusal(read, content) -> list[str]:
    """The message of an InputError, if there is one; any other exception fails with what was read."""
    try:
        read()
    except InputError as error:
        message = str(error)
    except Exception as error:
        raise AssertionError(f"{error!r} from {content[:300]!r}") from error
    else:
        return []
    assert "\n" not in message
    assert len(message) < 2000
    return [message]


@pytest.fixture
def root(tmp_path):
    """An nnU-Net folder of two cases."""
    for k in range(2):
        save_nifti(tmp_path / "Dataset001_A" / f"imagesTr/c{k}_0000.nii.gz", np.zeros(SHAPE))
        save_nifti(tmp_path / "Dataset001_A" / f"labelsTr/c{k}.nii.gz", np.zeros(SHAPE, np.uint8))
    return tmp_path / "Dataset001_A"


DESCRIPTIONS = {
    "v2": {
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": [1, 2], "tumour": 2, "ignore": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz", "reference": "somebody", "licence": "CC0", "regions_class_order": [1, 2],
    },
    "v1": {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a", "4": "b"}, "reference": "x"},
    "listed": {
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1},
        "dataset": {"c0": {"images": ["imagesTr/c0_0000.nii.gz"], "label": "labelsTr/c0.nii.gz"}},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_dataset_json(root, tmp_path, kind, capsys):
    files = contents(DESCRIPTIONS[kind], 150)

    def read():
        source = Source("nnunet", root)
        dataset_warnings(source, find_cases(source, ("CT",)))

    check(root / "dataset.json", files, read)
    check(root / "dataset.json", files, lambda: describe(root))
    check(root / "dataset.json", files[::4], lambda: import_nnunet_datasets(root, tmp_path / "conf", overwrite=True))
    for path in (tmp_path / "conf").glob("*"):
        assert path.suffix == ".yaml"
        yaml.safe_load(path.read_text())


SPLITS = {
    "sides": {"train": {"c{}": "0-3 7"}, "val": ["c4"], "test": ["c5", "c6"]},
    "folds": [{"train": ["c0", "c1"], "val": ["c2"]}, {"train": ["c2", "c1"], "val": ["c0"]}],
}


@pytest.mark.parametrize("kind", SPLITS)
def test_splits(tmp_path, kind):
    cases = [Case(f"c{k}", f"set/c{k}", (), None) for k in range(9)]

    def read():
        given = read_splits(str(tmp_path / "s.json"))
        assign_splits("split", given, cases)
        split_cases("task", cases, given)

    check(tmp_path / "s.json", contents(SPLITS[kind], 300), read)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_splits_in_a_task_file(root, value):
    for splits in (
        value,
        {"train": value, "test": []},
        {"train": {"c{}": value}, "test": []},
        {"train": {str(value): "1-2"}, "test": [value]},
    ):
        refusal(partial(read_given, Source("nnunet", root, splits=splits)), repr(splits))


def read_given(source):
    given = source.given_splits()
    assert given is None or all(isinstance(name, str) for names in given.values() for name in names)


def test_manifests(root):
    rows = [
        {"case": "c0", "CT": "imagesTr/c0_0000.nii.gz", "label": "labelsTr/c0.nii.gz", "patient": "p", "split": "train"}
    ]
    source = Source("manifest", root)
    check(root / "manifest.yaml", contents(rows, 200), lambda: find_cases(source, ("CT",)))
    (root / "manifest.yaml").unlink()
    table = "case,CT,label\nc0,imagesTr/c0_0000.nii.gz,labelsTr/c0.nii.gz\n"
    rng = random.Random(0)
    for _ in range(200):
        text = list(table)
        for _ in range(rng.randint(1, 4)):
            text[rng.randrange(len(text))] = rng.choice(
                ['"', ",", "\n", "\r", ";", "\x00", "ä", "/", "", "\\", "x" * 300, "nan"]
            )
        (root / "manifest.csv").write_text("".join(text))
        refusal(lambda: find_cases(source, ("CT",)), "".join(text))


@pytest.fixture
def cache(tmp_path):
    folder, entry = tmp_path / "liver", CaseEntry("a", "set/a", SHAPE, "k1")
    write_case(folder, entry, np.zeros((1, *SHAPE), np.float32), np.ones(SHAPE, np.int16), make_task())
    write_task(folder, make_task(), [entry], SplitTable((), (("a",),), (), {"a": "set/a"}), {"a": "h"})
    return folder


@pytest.mark.parametrize("name", ["task.json", "splits.json"])
def test_the_cache_of_a_task(cache, name):
    def read():
        prepared = TaskCache(cache)
        for case_id, entry in prepared.entries.items():
            prepared.read_box(case_id, (0, 0, 0), entry.shape)
            prepared.foreground(case_id)
        split = prepared.splits.fold(prepared.task.name, 0)
        assert all(isinstance(prepared.splits.patients[case_id], str) for case_id in (*split.train, *split.test))
        assert all(isinstance(text, str) for text in (*prepared.task.classes, *prepared.task.modalities))

    check(cache / name, contents(json.loads((cache / name).read_text()), 400), read)


def test_the_description_of_a_case(cache):
    path = cache / "a/k1/case.json"
    for content in contents(json.loads(path.read_text()), 200):
        path.write_bytes(content)
        entry = read_entry(cache, "a", "k1")
        assert entry is None or (entry.shape, entry.case_id) == (SHAPE, "a")


def test_the_settings_of_the_phantom_suite(tmp_path):
    check(tmp_path / "suite.json", BYTES, lambda: write_suite(tmp_path, PhantomSettings(num_cases=1)))
    assert [path.name for path in tmp_path.iterdir()] == ["suite.json"]
