"""Datasets listed in a table; what every layout may say of a case."""

import pytest
import yaml

from uniseg.datasets.availability import missing_datasets
from uniseg.datasets.case import find_cases
from uniseg.datasets.source import Source
from uniseg.errors import InputError

MODALITIES = ("CT", "PET")
CASE = {
    "case": "a",
    "patient": "smith",
    "CT": "a/ct.nii.gz",
    "PET": "a/pet",
    "label": "a/label.nii.gz",
    "split": "train",
}


@pytest.fixture
def root(tmp_path):
    """A folder with the files of case a, the PET as a DICOM folder."""
    (tmp_path / "a" / "pet").mkdir(parents=True)
    for name in ("ct.nii.gz", "label.nii.gz", "pet/1.dcm"):
        (tmp_path / "a" / name).touch()
    return tmp_path


def write(root, *rows, kind="csv"):
    if kind == "yaml":
        (root / "manifest.yaml").write_text(yaml.safe_dump(list(rows)))
    else:
        (root / "manifest.csv").write_text(
            "\n".join(",".join(line) for line in [rows[0], *(row.values() for row in rows)])
        )


def cases(root, optional=(), **fields):
    return find_cases(Source(layout="manifest", root=root, **fields), MODALITIES, optional)


@pytest.mark.parametrize("kind", ["csv", "yaml"])
def test_both_kinds_say_the_same(root, kind):
    write(
        root,
        CASE | {"case": "b", "patient": "", "CT": str(root / "a/ct.nii.gz"), "label": "absent", "split": "test"},
        CASE,
        kind=kind,
    )
    first, second = cases(root, patient_namespace="ward")
    assert (first.case_id, first.patient_id, first.split, first.absent) == ("a", "ward/smith", "train", False)
    assert first.image_paths == (root / "a/ct.nii.gz", root / "a/pet")
    assert first.label_path == root / "a/label.nii.gz"
    assert (second.case_id, second.patient_id, second.split, second.absent) == ("b", "ward/b", "test", True)
    assert second.label_path is None
    assert not missing_datasets({"x": Source(layout="manifest", root=root)})


def test_a_patient_of_the_table_beats_the_pattern(root):
    write(root, CASE, CASE | {"case": "scan_7", "patient": ""})
    assert [case.patient_id.split("/")[1] for case in cases(root, patient_pattern=r"(\d)$")] == ["smith", "7"]


def test_dev_of_earlier_tables_is_val(root):
    write(root, CASE | {"split": "dev"})
    assert [case.split for case in cases(root)] == ["val"]


def test_patient_with_split_may_be_left_out(root):
    write(root, {key: value for key, value in CASE.items() if key not in ("patient", "split")})
    (case,) = cases(root)
    assert (case.patient_id, case.split) == (f"{root.name}/a", None)


def test_a_spreadsheet_with_a_byte_order_mark_and_blank_lines(root):
    header, row = ",".join(CASE), ", ".join(CASE.values())
    (root / "manifest.csv").write_text(f"{header}\n\n{row}\n{',' * 5}\n", encoding="utf-8-sig")
    assert [case.case_id for case in cases(root)] == ["a"]


def test_an_empty_cell_is_a_modality_that_the_case_lacks(root):
    write(root, CASE | {"PET": ""})
    assert cases(root, optional=("PET",))[0].image_paths == (root / "a/ct.nii.gz", None)
    with pytest.raises(InputError, match=r"manifest\.csv, row 2: found case 'a' without PET; .*not optional"):
        cases(root)


def test_a_case_of_optional_modalities_needs_one(root):
    write(root, CASE | {"CT": "", "PET": ""})
    with pytest.raises(InputError, match="row 2: found case 'a' without any image"):
        cases(root, optional=MODALITIES)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{key: value for key, value in CASE.items() if key != "label"}], r"manifest\.csv: found no column 'label'"),
        ([CASE | {"spilt": "x"}], r"an unknown column 'spilt'.*rename it to 'split'"),
        (
            [{("ct" if key == "CT" else key): value for key, value in CASE.items()}],
            "an unknown column 'ct'.*rename it to 'CT'",
        ),
        ([CASE | {"weather": "x"}], "an unknown column 'weather'.*delete it"),
        ([CASE, CASE], r"manifest\.csv, row 3: found case 'a' 2 times"),
        ([CASE, CASE | {"case": "b", "PET": "b/pet"}], r"manifest\.csv, row 3: found PET: no such file .*b/pet"),
        ([CASE | {"label": "a/none.nii.gz"}], r"row 2: found label: no such file .*none\.nii\.gz"),
        ([CASE | {"label": ""}], "row 2: found case 'a' without a label; expected a path, or absent"),
        ([CASE | {"split": "valid"}], "row 2: found split 'valid'; expected one of train, val, test"),
        ([CASE | {"case": "a/b"}], "row 2: found case 'a/b'"),
        ([CASE, {"case": "b"}], "row 3: found 1 cells; expected 6"),
    ],
)
def test_errors_name_the_row(root, rows, complaint):
    write(root, *rows)
    with pytest.raises(InputError, match=complaint):
        cases(root, optional=("PET",))


def test_errors_of_a_yaml_manifest(root):
    write(root, CASE, CASE | {"case": 7}, kind="yaml")
    with pytest.raises(InputError, match=r"manifest\.yaml, row 2: found case: 7; expected text; put it in quotes"):
        cases(root)
    (root / "manifest.yaml").write_text("a: [")
    with pytest.raises(InputError, match="a readable YAML file"):
        cases(root)
    (root / "manifest.yaml").write_text("a: b")
    with pytest.raises(InputError, match="a list of mappings"):
        cases(root)


def test_one_manifest_is_wanted(root):
    with pytest.raises(InputError, match="found no manifest"):
        cases(root)
    write(root, CASE)
    write(root, CASE, kind="yaml")
    with pytest.raises(InputError, match=r"found manifest\.csv and manifest\.yaml"):
        cases(root)


HEADER = "case,CT,PET,label"
LINE = "{},a/ct.nii.gz,a/pet,a/label.nii.gz"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            f"{HEADER}\n{LINE.format('a')}\n".replace(",", ";"),
            r"row 1: found semicolons between the cells; .* in UTF-8, with commas",
        ),
        (f"{HEADER}\n{LINE.format('a')}\n".replace(",", "\t"), "row 1: found tabs between the cells"),
        (
            f"{HEADER}\n{LINE.format('a')}\n{LINE.format('Müller')}\n".encode("cp1252"),
            "row 3: found a byte 0xfc that is no UTF-8",
        ),
        (f"{HEADER}\n".encode("utf-16"), "row 1: found text in UTF-16"),
        (f"{HEADER}\n".encode("utf-16-le"), "row 1: found text in UTF-16"),
        (f",{HEADER}\n0,{LINE.format('a')}\n", r"found column 1 without a name; .*index=False"),
        (f"{HEADER}\na,nan,a/pet,a/label.nii.gz\n", "row 2: found CT: 'nan'; expected an empty cell"),
        (
            f"{HEADER}\na,a\\ct.nii.gz,a/pet,a/label.nii.gz\n",
            r"row 2: found CT: no such file .*; write / instead of \\",
        ),
        (f"{HEADER}\n../x,a/ct.nii.gz,a/pet,a/label.nii.gz\n", r"row 2: found case '\.\./x'; .*; rename the case"),
        (f"{HEADER}\n{'x' * 300},a/ct.nii.gz,a/pet,a/label.nii.gz\n", "row 2: found case 'xxx"),
        (f"{HEADER}\na,{'x' * 300},a/pet,a/label.nii.gz\n", "row 2: found CT: no such file"),
        (f'{HEADER}\na,"a/ct.nii.gz,a/pet,a/label.nii.gz\n', "unexpected end of data"),
    ],
)
def test_tables_as_programs_save_them(root, text, complaint):
    (root / "manifest.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=complaint):
        cases(root)


def test_a_comma_too_many_at_the_end_of_every_row_is_no_column(root):
    (root / "manifest.csv").write_text(f"{HEADER},\n{LINE.format('a')},\nb,a/ct.nii.gz,a/pet\n")
    with pytest.raises(InputError, match="found 3 cells"):
        cases(root)
    (root / "manifest.csv").write_text(f"{HEADER},,\n{LINE.format('a')},,\n{LINE.format('b')}\n")
    assert [case.case_id for case in cases(root)] == ["a", "b"]


def test_a_yaml_bomb_ends_in_one_line(root):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 30)
    ]
    row = "- {case: a, CT: *a29, PET: p, label: l}"
    (root / "manifest.yaml").write_text("- {" + ", ".join(lines) + "}\n" + row + "\n")
    with pytest.raises(InputError, match=r"manifest\.yaml"):
        cases(root)
    for text in ("- " + "[" * 5000, "!!int ''", "- {? [a] : b}", "- !!float ''", "2024-99-99"):
        (root / "manifest.yaml").write_text(text)
        with pytest.raises(InputError, match=r"manifest\.yaml"):
            cases(root)


def test_a_patient_is_printable(root):
    write(root, CASE | {"patient": "smi\x07th"})
    with pytest.raises(InputError, match=r"row 2: found patient 'smi.*; expected printable text"):
        cases(root)
