"""One patient, one split: within a dataset, over datasets, over folds."""

import pytest

from uniseg.datasets.case import Case
from uniseg.datasets.splits import Splits, SplitTable, check_patients, first_patients, split_cases
from uniseg.errors import InputError


def cases(numbers, namespace="set", scans=1):
    return [Case(f"p{n:03d}_{s}", f"{namespace}/p{n:03d}", (), None) for n in numbers for s in range(scans)]


def test_scans_of_a_patient_stay_together():
    table = split_cases("a", cases(range(100), scans=3), None)
    for fold in range(5):
        split = table.fold("a", fold)
        splits = [{case[:4] for case in split[own]} for own in ("train", "val", "test")]
        assert sum(map(len, splits)) == 100
        assert not splits[0] & splits[1]
        assert not (splits[0] | splits[1]) & splits[2]
    assert 12 <= len(table.test) / 3 <= 28


def test_folds_partition_what_is_not_for_test():
    table = split_cases("a", cases(range(60)), None)
    held_out = [case for k in range(5) for case in table.fold("a", k).val]
    assert sorted([*held_out, *table.test]) == sorted(table.patients)


def test_two_datasets_of_one_namespace_agree():
    one, two = split_cases("a", cases(range(40)), None), split_cases("b", cases(range(20, 60)), None)
    check_patients({"a": one, "b": two}, fold=2)
    assert set(one.test) & set(two.patients) <= set(two.test)


def test_a_small_set_has_every_side():
    for size in range(7, 14):
        table = split_cases("a", cases(range(size), namespace=f"tiny{size}"), None)
        assert table.test
        assert table.fold("a", 0).val


def test_a_set_too_small_is_reported():
    with pytest.raises(InputError, match="no val case in fold 0 among 2 patients"):
        split_cases("a", cases(range(2)), None).fold("a", 0)


def test_given_sides_by_patient_with_an_empty_dev():
    table = split_cases("a", cases(range(3), scans=2), {"train": ["p000", "p001"], "val": [], "test": ["p002"]})
    split = table.fold("a", 0)
    assert split.train == ("p000_0", "p000_1", "p001_0", "p001_1")
    assert split.val == ()
    assert split.test == ("p002_0", "p002_1")


def test_given_folds_are_the_dev_sides_in_their_order():
    given = {"train": ["p009_0"], "fold_0": ["p001_0", "p000_0"], "fold_1": ["p002_0"]}
    table = split_cases("a", cases([0, 1, 2, 3, 9]), given)
    assert table.fold("a", 0).val == ("p000_0", "p001_0")
    assert table.fold("a", 1).val == ("p002_0",)
    assert table.fold("a", 1).train == ("p000_0", "p001_0", "p009_0")
    assert (table.test, "p003_0" in table.patients) == ((), False)


def stated(splits):
    return [Case(f"c{k}", f"set/c{k}", (), None, split=split) for k, split in enumerate(splits)]


def test_a_dataset_may_state_its_sides():
    table = split_cases("a", stated(["train", "val", "test", None]), None)
    split = table.fold("a", 0)
    assert (split.train, split.val, split.test) == (("c0", "c3"), ("c1",), ("c2",))


def test_a_stated_test_leaves_the_others_to_folds():
    table = split_cases("a", stated(["test", "test", *[None] * 20]), None)
    assert table.test == ("c0", "c1")
    assert sorted(case for fold in table.folds for case in fold) == sorted(f"c{k}" for k in range(2, 22))


def test_a_stated_test_joins_given_folds_but_not_a_given_test():
    known = stated(["test", None, None])
    assert split_cases("a", known, {"train": [], "fold_0": ["c1"], "fold_1": ["c2"]}).test == ("c0",)
    assert split_cases("a", known, {"train": ["c1"], "test": ["c2"]}).test == ("c2",)


def test_one_patient_on_two_sides_is_refused_by_name():
    with pytest.raises(InputError, match="'set/p000'"):
        split_cases("a", cases(range(3), scans=2), {"train": ["p000_0", "p001"], "test": ["p000_1"]})
    one = SplitTable(("x",), (("d",),), ("t",), {"x": "s/1", "d": "s/2", "t": "s/3"})
    two = SplitTable((), (("d",),), ("t",), {"d": "s/1", "t": "s/4"})
    with pytest.raises(InputError, match=r"patient 's/1' in test of 'a' and in val of 'b'"):
        check_patients({"a": one, "b": two}, fold=0)


def test_an_unknown_fold_is_refused():
    with pytest.raises(InputError, match="0 to 4"):
        split_cases("a", cases(range(40)), None).fold("a", 5)


def test_the_table_survives_json():
    table = split_cases("a", cases(range(30)), None)
    assert SplitTable.from_dict(table.to_dict()) == table


def test_few_patients_come_whole_and_in_nested_draws():
    patients = {f"p{i}_{k}": f"p{i}" for i in range(8) for k in range(2)}
    split = Splits(tuple(patients), ("d",), ("t",))
    draws = {(n, seed): first_patients("liver", split, patients, n, seed) for n in (1, 2, 5, 8) for seed in range(4)}
    assert all(len(own.train) == 2 * n and (own.val, own.test) == (("d",), ("t",)) for (n, _), own in draws.items())
    assert all(set(draws[1, s].train) < set(draws[2, s].train) < set(draws[5, s].train) for s in range(4))
    assert len({draws[2, seed].train for seed in range(4)}) > 1
    assert draws[8, 0] == split
    for number in (0, 9):
        with pytest.raises(InputError, match="1 to 8"):
            first_patients("liver", split, patients, number, 0)
