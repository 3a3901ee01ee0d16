"""One mask file per class: which files make a label map, what wins where two overlap."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from uniseg.datasets.audit import check_datasets
from uniseg.datasets.case import dataset_warnings, find_cases
from uniseg.datasets.dataset import find_dataset
from uniseg.datasets.labels import load_case
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.evaluation.case_record import CaseRecord, read_cases, write_cases
from uniseg.normalization.base import Normalization
from uniseg.preprocessing.fingerprint import measure
from uniseg.run_folder import EvaluationFolder
from uniseg.task import Task

AFFINE = np.diag([-2.0, -2, 3, 1])
CLASSES = ("background", "liver", "stomach", "spleen")
X = {"liver": slice(1, 4), "stomach": slice(3, 5), "spleen": slice(6, 8)}  # the first two overlap at x=3


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, AFFINE), path)


def mask(name, value=1):
    values = np.zeros((9, 8, 7), np.uint8)
    values[X[name]] = value
    return values


@pytest.fixture
def root(tmp_path):
    for number in range(6):
        folder = tmp_path / "set" / f"s{number:04d}"
        save(folder / "ct.nii.gz", np.full((9, 8, 7), number, np.int16))
        for name in X:
            save(folder / "segmentations" / f"{name}.nii.gz", mask(name))
    return tmp_path / "set"


def task(classes=CLASSES, **fields):
    return Task("organs", ("CT",), classes, (3, 2, 2), (Normalization("zscore"),), **fields)


def found(root, classes=CLASSES, **fields):
    return find_dataset(task(classes), Source("totalsegmentator", root, **fields))


def load(dataset, case_id="s0000"):
    return load_case(dataset.task, dataset.source, dataset.cases[case_id])


def test_masks_become_one_label_map_in_the_order_of_the_classes(root):
    _, label = load(found(root, ("background", "spleen", "liver")))
    row = label[0, 0]  # along x, in the canonical orientation of the label: from right to left as stored
    assert row.tolist() == [0, 2, 2, 2, 0, 0, 1, 1, 0]
    assert label.dtype == np.int16


def test_the_later_class_has_what_two_claim(root):
    volume, label = load(found(root))
    assert label[0, 0].tolist() == [0, 1, 1, 2, 2, 0, 3, 3, 0]
    assert volume.notes == ("masks overlap: what 'liver' and 'stomach' both claim is 'stomach', the later class",)
    _, label = load(found(root, ("background", "stomach", "liver")))
    assert label[0, 0].tolist() == [0, 2, 2, 2, 1, 0, 0, 0, 0]


def test_the_audit_says_so_once(root):
    dataset = found(root)
    prints = {case_id: measure(*load(dataset, case_id), dataset.task) for case_id in dataset.cases}
    notes = [f for f in check_datasets([replace(dataset, fingerprints=prints)]) if "masks overlap" in f.found]
    assert len(notes) == 1
    assert notes[0].found.endswith("in 6 of 6 cases")
    assert (notes[0].expected, notes[0].fatal) == ("masks that exclude each other", False)


def test_an_overlap_may_be_refused(root):
    with pytest.raises(InputError, match=r"stomach.nii.gz: found 56 voxels that 'liver' and 'stomach' both claim"):
        load(found(root, overlapping_masks="refuse"))


def test_a_class_may_be_made_of_several_masks(root):
    dataset = found(root, ("background", "upper", "spleen"), masks={"upper": ("liver", "stomach")})
    volume, label = load(dataset)
    assert label[0, 0].tolist() == [0, 1, 1, 1, 1, 0, 2, 2, 0]
    assert volume.notes == ()
    assert [path.name for path in dataset.cases["s0000"].files] == [
        *("ct.nii.gz", "liver.nii.gz", "stomach.nii.gz", "spleen.nii.gz")
    ]


def test_a_missing_mask_is_an_error_unless_the_dataset_says_what_it_means(root):
    (root / "s0003/segmentations/liver.nii.gz").unlink()
    with pytest.raises(InputError, match=r"no mask 'liver' of case 's0003' \(1 missing .*source.missing_masks=absent"):
        found(root)
    dataset = found(root, missing_masks="absent")
    assert load(dataset, "s0003")[1][0, 0].tolist() == [0, 0, 0, 2, 2, 0, 3, 3, 0]


def test_a_case_without_any_of_the_masks_is_background(root):
    (root / "s0003/segmentations/liver.nii.gz").unlink()
    dataset = found(root, ("background", "liver"), missing_masks="absent")
    assert not load(dataset, "s0003")[1].any()
    assert dataset.cases["s0003"].label_files == ()


@pytest.mark.parametrize("missing", ["refuse", "absent"])
def test_a_mask_that_no_case_has_is_misspelt(root, missing):
    with pytest.raises(InputError, match=r"no mask 'livr' in 6 cases; .*did you mean liver\?"):
        found(root, ("background", "livr"), missing_masks=missing)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"masks": {"lung": ("liver",)}}, "source.masks: found 'lung'"),
        ({"label_map": {1: 1}}, "label_map beside one mask per class"),
        ({"ignore": 255}, "ignore beside one mask per class"),
        ({"missing_masks": "skip"}, "source.missing_masks: found 'skip'; expected one of refuse, absent"),
        ({"overlapping_masks": "first"}, "source.overlapping_masks: found 'first'; expected one of later, refuse"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(root, fields, message):
    with pytest.raises(InputError, match=message):
        found(root, **fields)


def test_masks_of_a_layout_without_are_refused(tmp_path):
    save(tmp_path / "case_00000/segmentation.nii.gz", mask("liver"))
    save(tmp_path / "case_00000/imaging.nii.gz", mask("liver"))
    with pytest.raises(InputError, match="masks with layout 'kits'; expected a layout of one mask per class"):
        find_cases(Source("kits", tmp_path, masks={"liver": ("liver",)}), ("CT",), classes=CLASSES)


def test_regions_are_refused(root):
    source = Source("totalsegmentator", root)
    regions = task(("background", "liver", "spleen"), regions=((1,), (1, 2)))
    dataset = find_dataset(regions, source)
    with pytest.raises(InputError, match="regions beside one mask per class"):
        load(dataset)


def test_a_label_map_is_no_mask(root):
    save(root / "s0001/segmentations/liver.nii.gz", mask("liver") + mask("spleen", 2))
    with pytest.raises(InputError, match=r"values \[0, 1, 2\]; expected one value beside 0"):
        load(found(root), "s0001")


def test_another_value_than_one_is_a_mask_too(root):
    save(root / "s0001/segmentations/liver.nii.gz", mask("liver", 255))
    assert load(found(root), "s0001")[1][0, 0].tolist() == load(found(root))[1][0, 0].tolist()


def test_which_files_make_which_class_is_in_the_record_of_an_evaluation(root, tmp_path):
    dataset = found(root)
    case = dataset.cases["s0002"]
    folder = EvaluationFolder(tmp_path / "evaluation")
    prediction = folder.path / "organs" / "s0002.nii.gz"
    save(prediction, mask("liver"))
    write_cases([CaseRecord.of(dataset.task, dataset.source, case, prediction)], folder)
    (record,) = read_cases(folder)
    assert record.case.masks == tuple((path.absolute(),) for (path,) in case.masks)
    _, reference, predicted = record.load()
    assert (reference == load(dataset, "s0002")[1]).all()
    assert (predicted[0, 0] == [0, 1, 1, 1, 0, 0, 0, 0, 0]).all()
    record.require_unchanged()
    save(case.masks[1][0], np.ones((9, 8, 7), np.uint8))
    with pytest.raises(InputError, match=r"liver\.nii\.gz: found another file than the one that was scored"):
        record.require_unchanged()


# The layout.


def write_table(root, *rows, heads="image_id;age;split"):
    (root / "meta.csv").write_text("\ufeff" + "\n".join([heads, *rows]) + "\n", encoding="utf-8")


def test_the_table_states_the_splits(root):
    splits = ["train", "train", "train", "train", "val", "test"]
    write_table(root, *(f"s{number:04d};60;{split}" for number, split in enumerate(splits)), "s0099;5;test")
    table = found(root).splits
    assert (table.test, table.folds, table.rest[0]) == (("s0005",), (("s0004",),), "s0000")


def test_without_a_table_or_its_column_a_hash_decides(root):
    without = found(root).splits
    write_table(root, *(f"s{number:04d};60" for number in range(6)), heads="image_id;age")
    assert found(root).splits == without
    assert len(without.folds) == 5


def test_a_subject_that_the_table_leaves_out_is_noted(root):
    write_table(root, "s0000;1;train", "s0001;1;val")
    source = Source("totalsegmentator", root)
    cases = find_cases(source, ("CT",), classes=CLASSES)
    ((where, text, _),) = dataset_warnings(source, cases)
    assert where == root / "meta.csv"
    assert text == "no split for 4 subjects (s0002, s0003, s0004, s0005)"


def test_a_wrong_split_is_refused(root):
    write_table(root, "s0000;1;training")
    with pytest.raises(InputError, match=r"meta.csv: found split 'training' of 's0000'"):
        found(root)


def test_files_of_macos_and_subjects_without_masks_are_passed_over(root):
    (root / "s0000/segmentations/._liver.nii.gz").write_bytes(b"macOS")
    (root / "._s0000").write_bytes(b"macOS")
    save(root / "s0100/ct.nii.gz", mask("liver"))
    assert sorted(found(root).cases) == [f"s{number:04d}" for number in range(6)]


def test_mr_is_found(root):
    for path in root.glob("*/ct.nii.gz"):
        path.rename(path.with_name("mri.nii.gz"))
    assert found(root).cases["s0000"].image_paths[0].name == "mri.nii.gz"


def test_a_subject_without_an_image_is_an_error(root):
    (root / "s0000/ct.nii.gz").unlink()
    with pytest.raises(InputError, match=r"s0000/ct.nii.gz: found no such file \(1 missing"):
        found(root)
    assert Path(root / "s0001/ct.nii.gz").exists()


def test_two_modalities_are_refused(root):
    with pytest.raises(InputError, match="one, the CT or MR"):
        find_cases(Source("totalsegmentator", root), ("CT", "PET"), classes=CLASSES)
