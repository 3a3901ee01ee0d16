"""Splits as files: the published one, a user's own."""

import json
from pathlib import Path

import pytest

from uniseg.datasets.case import Case
from uniseg.datasets.layouts.prostate_saml import SITE_SIZES
from uniseg.datasets.source import Source
from uniseg.datasets.split_file import expand_splits, read_splits
from uniseg.datasets.splits import assign_splits
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError

PUBLISHED = CONF_DIR / "splits" / "published.json"
RECORD = CONF_DIR.parent.parent / "shared" / "published_splits" / "splits.json"
COUNTS = {
    "liver": (104, 27),
    "kidney": (168, 42),
    "hepatic_vessel": (242, 61),
    "pancreas": (224, 57),
    "colon": (100, 26),
    "lung": (50, 13),
    "spleen": (32, 9),
    "vertebrae": (171, 43),
    "prostate": (91, 25),
    "brain_tumour": (1000, 251),
    "whole_body_tumour": (391, 98),  # patients; 400 and 101 studies before, 403 and 98 after the correction
    "btcv": (21, 9),
    "vs": (193, 49),
}


def published(task):
    return read_splits(f"{PUBLISHED}#{task}")


@pytest.mark.parametrize("task", COUNTS)
def test_published_counts(task):
    split = published(task)
    assert (len(split["train"]), len(split["test"])) == COUNTS[task]
    assert not set(split["train"]) & set(split["test"])


def test_published_split_is_compact_with_every_key_known():
    assert PUBLISHED.stat().st_size < 25_000
    assert set(json.loads(PUBLISHED.read_text())) == {"about", "corrections", *COUNTS}


def test_published_corrections():
    kidney = published("kidney")
    assert {"case_00100", "case_00200"} <= set(kidney["test"])
    assert {"case_00001", "case_00002"} <= set(kidney["train"])
    assert sorted(kidney["train"] + kidney["test"]) == [f"case_{n:05d}" for n in range(210)]
    body = published("whole_body_tumour")
    assert {"PETCT_1a1712f7d0", "PETCT_32aa845af1", "PETCT_15f4b7254f"} <= set(body["train"])


def test_published_names_are_those_of_the_datasets():
    assert sorted(name for names in published("prostate").values() for name in names) == sorted(
        f"{site}_{rank:02d}" for site, size in SITE_SIZES.items() for rank in range(size)
    )
    assert published("hepatic_vessel")["test"][:2] == ["hepaticvessel_001", "hepaticvessel_008"]
    assert published("brain_tumour")["train"][0] == "BraTS2021_00000"
    assert published("spleen")["test"][0] == "spleen_9"


@pytest.mark.skipif(not RECORD.exists(), reason="the record of the published case names is not beside this checkout")
@pytest.mark.parametrize("task", COUNTS)
def test_published_parity(task):
    offsets, total = {}, 0
    for site, size in SITE_SIZES.items():
        offsets[site], total = total, total + size
    to_published = {
        "kidney": lambda name: f"kidney_{int(name.removeprefix('case_'))}",
        "prostate": lambda name: f"prostate_{offsets[name.split('_')[0]] + int(name.split('_')[1])}",
    }.get(task, lambda name: name)
    ours = {split: {to_published(name) for name in names} for split, names in published(task).items()}
    record = {split: set(names) for split, names in json.loads(RECORD.read_text())[task].items()}
    if task == "kidney":
        record["test"] = record["test"] - {"kidney_1", "kidney_2"} | {"kidney_100", "kidney_200"}
    if task == "whole_body_tumour":
        moved = {"PETCT_1a1712f7d0_1", "PETCT_32aa845af1_0", "PETCT_15f4b7254f_0"}
        assert moved <= record["test"]
        record = {"train": record["train"] | moved, "test": record["test"] - moved}
        assert (len(record["train"]), len(record["test"])) == (403, 98)
        record = {split: {name.rsplit("_", 1)[0] for name in names} for split, names in record.items()}
    assert ours == record


def write(tmp_path, values):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(values))
    return path


def test_own_split_without_key_with_dev(tmp_path):
    path = write(tmp_path, {"train": {"case_{:05d}": "0-2 5", "x{}": "9"}, "val": ["a"], "test": ["b", "c"]})
    split = read_splits(str(path))
    assert split == {
        "train": ["case_00000", "case_00001", "case_00002", "case_00005", "x9"],
        "val": ["a"],
        "test": ["b", "c"],
    }
    assert Source(layout="nnunet", root=tmp_path, splits=str(path)).given_splits() == split


def test_inline_split_and_none():
    root = Path("somewhere")
    assert Source(layout="nnunet", root=root, splits={"train": {"p{}": "1-2"}, "test": ["t"]}).given_splits() == {
        "train": ["p1", "p2"],
        "test": ["t"],
    }
    assert Source(layout="nnunet", root=root).given_splits() is None


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"train": ["a"]}, "found the keys train; expected the splits train, test"),
        ({"train": ["a"], "test": ["b"], "valid": ["c"]}, "the keys train, test, valid"),
        ({"train": ["a"], "test": ["b"], "dev": ["c"], "val": ["d"]}, "the keys train, test, dev, val"),
        (["a"], "found a list"),
        ({"train": ["a"], "test": ["a"]}, "'a' in train and in test"),
        ({"train": ["a", "a"], "test": ["b"]}, "'a' in train and in train"),
        ({"train": {"p{}": "1-x"}, "test": ["b"]}, "'1-x' with the pattern"),
        ({"train": {"p{:q}": "1"}, "test": ["b"]}, r"'1' with the pattern 'p\{:q\}'"),
        ({"train": {"p{}": "5-3"}, "test": ["b"]}, "range '5-3'"),
        ({"train": "a b", "test": ["b"]}, "a list of names or a mapping"),
        ({"train": None, "test": ["b"]}, "train: None; expected a list of names or a mapping"),
    ],
)
def test_malformed_split(values, complaint):
    with pytest.raises(InputError, match=complaint):
        expand_splits("split", values)


def test_unreadable_file_and_unknown_key(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_splits(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="expected the key 'heart'"):
        read_splits(f"{PUBLISHED}#heart")
    with pytest.raises(InputError, match="the splits train, test"):
        read_splits(f"{PUBLISHED}#about")


def folds(*held_out, always=()):
    names = [name for fold in held_out for name in fold]
    return [{"train": [*always, *(name for name in names if name not in fold)], "val": list(fold)} for fold in held_out]


def test_folds_as_nnunet_writes_them(tmp_path):
    path = write(tmp_path, folds("ab", "c", "d", always=["x"]))
    expected = {"train": ["x"], "fold_0": ["a", "b"], "fold_1": ["c"], "fold_2": ["d"]}
    assert Source(layout="nnunet", root=tmp_path, splits=str(path)).given_splits() == expected


def test_a_single_fold_is_train_with_dev(tmp_path):
    assert read_splits(str(write(tmp_path, [{"train": ["a", "b"], "val": ["c"]}]))) == {
        "train": ["a", "b"],
        "val": ["c"],
        "test": [],
    }


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([], "an empty list"),
        ([{"train": ["a"], "test": ["b"]}], "fold 0 with train, test; expected train and val"),
        ([{"train": ["a"], "val": "b"}], "fold 0: val: 'b'; expected a list of names"),
        (folds("ab", "bc"), r"'b' held out twice \(1 such names\)"),
        ([*folds("a", "b", "c")[:2], {"train": ["a"], "val": ["c"]}], "fold 2: 'b' not in train"),
        ([folds("a", "b")[0], {"train": ["a", "b"], "val": ["b"]}], "fold 1: 'b' in train"),
    ],
)
def test_malformed_folds(values, complaint, tmp_path):
    with pytest.raises(InputError, match=complaint):
        read_splits(str(write(tmp_path, values)))


def case(case_id, patient):
    return Case(case_id, f"set/{patient}", (Path("i"),), Path("l"))


def test_sides_of_cases_by_case_or_patient():
    cases = [case("p1_0", "p1"), case("p1_1", "p1"), case("p2_0", "p2"), case("p3_0", "p3")]
    split = {"train": ["p1"], "test": ["p2_0"]}
    assert assign_splits("split", split, cases) == {"p1_0": "train", "p1_1": "train", "p2_0": "test"}


def test_sides_refuse_unknown_names_with_their_number():
    with pytest.raises(InputError, match=r"'p8' \(2 unknown names\)"):
        assign_splits("split", {"train": ["p1", "p8"], "test": ["p9"]}, [case("p1_0", "p1")])


@pytest.mark.parametrize("split", [{"train": ["p1_0"], "test": ["p1_1"]}, {"train": ["p1"], "test": ["p1_1"]}])
def test_sides_refuse_a_patient_on_two(split):
    with pytest.raises(InputError, match="patient 'set/p1' in t"):
        assign_splits("split", split, [case("p1_0", "p1"), case("p1_1", "p1")])


def test_numbers_become_names():
    assert expand_splits("x", {"train": [1, "2"], "test": [30]}) == {"train": ["1", "2"], "test": ["30"]}
    for value in (True, 1.5, None, ["a"]):
        with pytest.raises(InputError, match=r"train: .*; expected names"):
            expand_splits("x", {"train": [value], "test": []})


@pytest.mark.parametrize(
    ("pattern", "numbers", "complaint"),
    [
        ("c{}", "0-99999999999", "at most 1000000 names in a split"),
        ("c{}", "0-600000 600001-1200000", "at most 1000000 names in a split"),
        ("c{}", "9" * 30, "a number or range"),
        ("c{}", "-5", "a number or range"),
        ("c{:999999999d}", "1", "a pattern like"),
        ("c{0.__class__}", "1", "a pattern like"),
        ("c{}{}", "1", "a pattern like"),
        ("c", "1", "a pattern like"),
    ],
)
def test_ranges_are_counted_before_they_are_made(pattern, numbers, complaint):
    with pytest.raises(InputError, match=complaint):
        expand_splits("x", {"train": {pattern: numbers}, "test": []})


def test_a_path_may_hold_a_number_sign(tmp_path):
    folder = tmp_path / "a#b"
    folder.mkdir()
    (folder / "s.json").write_text(json.dumps({"k": {"train": ["a"], "test": ["b"]}}))
    assert read_splits(f"{folder / 's.json'}#k") == {"train": ["a"], "test": ["b"]}
    (folder / "s.json").write_text(json.dumps({"train": ["a"], "test": ["b"]}))
    assert read_splits(str(folder / "s.json")) == {"train": ["a"], "test": ["b"]}


def test_dev_of_earlier_files_is_val():
    assert expand_splits("x", {"train": ["a"], "dev": {"b{}": "1-2"}, "test": []}) == {
        "train": ["a"],
        "val": ["b1", "b2"],
        "test": [],
    }
