"""Layouts of the public datasets: case ids, order of modalities, labels."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from scan_files import save_itk
from uniseg.datasets.case import dataset_warnings, find_cases
from uniseg.datasets.source import Source, make_task
from uniseg.datasets.splits import assign_splits
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.images.files import read_label

UPSTREAM = [
    "liver",
    "kidney",
    "hepatic_vessel",
    "pancreas",
    "colon",
    "lung",
    "spleen",
    "vertebrae",
    "prostate",
    "brain_tumour",
    "whole_body_tumour",
]


def save(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), value, np.uint8), np.eye(4)), path)


def cases_of(layout, root, modalities, **fields):
    return find_cases(Source(layout=layout, root=root, **fields), modalities)


def block(name):
    return yaml.safe_load((CONF_DIR / "task" / f"{name}.yaml").read_text())


def test_kits_takes_labelled_cases_only(tmp_path):
    for case_id in ("case_00007", "case_00000"):
        save(tmp_path / case_id / "imaging.nii.gz")
        save(tmp_path / case_id / "segmentation.nii.gz", 2)
    save(tmp_path / "case_00210" / "imaging.nii.gz")
    cases = cases_of("kits", tmp_path, ("CT",))
    assert [case.case_id for case in cases] == ["case_00000", "case_00007"]
    assert cases[1].image_paths == (tmp_path / "case_00007" / "imaging.nii.gz",)
    assert nib.load(cases[1].label_path).get_fdata().max() == 2


def test_kits_names_the_missing_image(tmp_path):
    save(tmp_path / "case_00003" / "segmentation.nii.gz")
    with pytest.raises(InputError, match=r"case_00003/imaging\.nii\.gz: found no such file \(1 missing"):
        cases_of("kits", tmp_path, ("CT",))


@pytest.mark.parametrize("layout", ["kits", "verse", "prostate_saml"])
def test_single_modality_layouts_refuse_two(tmp_path, layout):
    with pytest.raises(InputError, match=r"modalities \['CT', 'PET'\]"):
        cases_of(layout, tmp_path, ("CT", "PET"))


def test_verse_pools_subsets_with_series_of_one_subject(tmp_path):
    series = {
        "dataset-01training": ["sub-verse500_dir-ax", "sub-gl003_dir-sag"],
        "dataset-03test": ["sub-verse813_split-verse258", "sub-verse813_split-verse259"],
    }
    for subset, names in series.items():
        for name in names:
            subject = name.split("_")[0]
            save(tmp_path / subset / "rawdata" / subject / f"{name}_ct.nii.gz")
            save(tmp_path / subset / "derivatives" / subject / f"{name}_seg-vert_msk.nii.gz", 20)
    cases = cases_of(
        "verse",
        tmp_path,
        ("CT",),
        patient_pattern=block("vertebrae")["source"]["patient_pattern"],
        patient_namespace="verse",
    )
    assert [(case.case_id, case.patient_id) for case in cases] == [
        ("sub-gl003", "verse/sub-gl003"),
        ("sub-verse500", "verse/sub-verse500"),
        ("sub-verse813_split-verse258", "verse/sub-verse813"),
        ("sub-verse813_split-verse259", "verse/sub-verse813"),
    ]
    assert cases[1].image_paths[0] == tmp_path / "dataset-01training/rawdata/sub-verse500/sub-verse500_dir-ax_ct.nii.gz"
    assert cases[3].label_path.name == "sub-verse813_split-verse259_seg-vert_msk.nii.gz"
    splits = assign_splits("split", {"train": ["sub-gl003", "sub-verse813"], "test": ["sub-verse500"]}, cases)
    assert splits == {
        "sub-gl003": "train",
        "sub-verse500": "test",
        "sub-verse813_split-verse258": "train",
        "sub-verse813_split-verse259": "train",
    }


def test_verse_directly_below_root(tmp_path):
    save(tmp_path / "rawdata/sub-verse500/sub-verse500_ct.nii.gz")
    save(tmp_path / "derivatives/sub-verse500/sub-verse500_seg-vert_msk.nii.gz")
    assert [case.case_id for case in cases_of("verse", tmp_path, ("CT",))] == ["sub-verse500"]


def test_prostate_counts_ranks_in_each_site(tmp_path):
    for number in (0, *range(2, 13)):  # the real folder has no Case01
        save(tmp_path / "BIDMC" / f"Case{number:02d}.nii.gz")
        save(tmp_path / "BIDMC" / f"Case{number:02d}_segmentation.nii.gz", 2)
    for number in range(12):
        save(tmp_path / "HK" / f"Case{number + 13}.nii.gz")
        save(tmp_path / "HK" / f"Case{number + 13}_Segmentation.nii.gz", 1)
    cases = cases_of("prostate_saml", tmp_path, ("T2",))
    assert [case.case_id for case in cases] == [f"{site}_{rank:02d}" for site in ("BIDMC", "HK") for rank in range(12)]
    assert cases[1].image_paths[0] == tmp_path / "BIDMC" / "Case02.nii.gz"
    assert cases[-1].label_path == tmp_path / "HK" / "Case24_Segmentation.nii.gz"


def test_prostate_refuses_an_incomplete_site(tmp_path):
    save(tmp_path / "UCL" / "Case25.nii.gz")
    save(tmp_path / "UCL" / "Case25_segmentation.nii.gz")
    with pytest.raises(InputError, match=r"UCL: found 1 labels; expected 13"):
        cases_of("prostate_saml", tmp_path, ("T2",))


def test_brats_follows_the_order_of_modalities(tmp_path):
    for case_id in ("BraTS2021_00002", "BraTS2021_00000"):
        for ending in ("t1", "t1ce", "t2", "flair", "seg"):
            save(tmp_path / case_id / f"{case_id}_{ending}.nii.gz")
    save(tmp_path / "BraTS2021_00001" / "BraTS2021_00001_t1.nii.gz")
    cases = cases_of("brats", tmp_path, tuple(block("brain_tumour")["modalities"]))
    assert [case.case_id for case in cases] == ["BraTS2021_00000", "BraTS2021_00002"]
    assert [path.name for path in cases[1].image_paths] == [
        f"BraTS2021_00002_{m}.nii.gz" for m in ("t1", "t1ce", "t2", "flair")
    ]
    assert cases[1].label_path.name == "BraTS2021_00002_seg.nii.gz"
    flipped = cases_of("brats", tmp_path, ("FLAIR", "T1ce"))
    assert [path.name for path in flipped[0].image_paths] == [
        "BraTS2021_00000_flair.nii.gz",
        "BraTS2021_00000_t1ce.nii.gz",
    ]


def test_brats_names_the_missing_modality(tmp_path):
    for ending in ("t1", "t1ce", "flair", "seg"):
        save(tmp_path / "BraTS2021_00000" / f"BraTS2021_00000_{ending}.nii.gz")
    with pytest.raises(InputError, match=r"BraTS2021_00000_t2\.nii\.gz: found no such file"):
        cases_of("brats", tmp_path, ("T1", "T1ce", "T2", "FLAIR"))


def test_brats_reads_the_names_of_2023(tmp_path):
    for case_id in ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001"):
        for ending in ("t1n", "t1c", "t2w", "t2f", "seg"):
            save(tmp_path / case_id / f"{case_id}-{ending}.nii.gz")
    cases = cases_of(
        "brats",
        tmp_path,
        ("T1", "T1ce", "T2", "FLAIR"),
        patient_pattern=r"^(BraTS-GLI-\d+)-",
        patient_namespace="brats",
    )
    assert [case.patient_id for case in cases] == ["brats/BraTS-GLI-00000"] * 2
    assert [path.name for path in cases[1].image_paths] == [
        f"BraTS-GLI-00000-001-{ending}.nii.gz" for ending in ("t1n", "t1c", "t2w", "t2f")
    ]
    assert cases[1].label_path.name == "BraTS-GLI-00000-001-seg.nii.gz"
    with pytest.raises(InputError, match="modality 'T1w'; expected one of T1, T1ce"):
        cases_of("brats", tmp_path, ("T1w",))


def test_time_points_of_one_patient_that_count_as_several_are_noted(tmp_path):
    for case_id in ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00002-000"):
        for ending in ("t1n", "t1c", "t2w", "t2f", "seg"):
            save(tmp_path / case_id / f"{case_id}-{ending}.nii.gz")
    values = block("brats2023")
    modalities = tuple(values["modalities"])
    assert cases_of("brats", tmp_path, modalities)[0].image_paths[1].name == "BraTS-GLI-00000-000-t1c.nii.gz"
    for pattern, found in (
        (None, ["time points of BraTS-GLI-00000 as several patients (1 such)"]),
        (values["source"]["patient_pattern"], []),
    ):
        source = Source("brats", tmp_path, patient_pattern=pattern)
        assert [text for _, text, _ in dataset_warnings(source, find_cases(source, modalities))] == found
    assert values["source"]["label_map"] == {1: 2, 2: 1, 3: 3}


def test_amos_divides_by_number_and_by_folder(tmp_path):
    for part, numbers in {"Tr": (1, 499, 500, 507), "Va": (8, 541), "Ts": (2, 502)}.items():
        for number in numbers:
            save(tmp_path / f"images{part}/amos_{number:04d}.nii.gz")
            if part != "Ts":
                save(tmp_path / f"labels{part}/amos_{number:04d}.nii.gz", 15)
    (tmp_path / "labelsTr/._amos_0001.nii.gz").write_bytes(b"macOS")
    (tmp_path / "dataset.json").write_text("{}")
    found = {kind: cases_of("amos", tmp_path, (kind,)) for kind in ("CT", "MR")}
    assert {kind: [(case.case_id, case.split) for case in cases] for kind, cases in found.items()} == {
        "CT": [("amos_0001", None), ("amos_0008", "val"), ("amos_0499", None)],
        "MR": [("amos_0500", None), ("amos_0507", None), ("amos_0541", "val")],
    }
    assert found["CT"][1].image_paths == (tmp_path / "imagesVa/amos_0008.nii.gz",)
    assert found["MR"][2].label_path == tmp_path / "labelsVa/amos_0541.nii.gz"
    for modalities in (("PET",), ("CT", "MR")):
        with pytest.raises(InputError, match="expected one, CT or MR"):
            cases_of("amos", tmp_path, modalities)


@pytest.mark.parametrize("inside", ["", "FLARE22_LabeledCase50/", "Training/FLARE22_LabeledCase50/"])
def test_flare_takes_what_has_a_label(tmp_path, inside):
    for number in (1, 2):
        save(tmp_path / f"{inside}images/FLARE22_Tr_{number:04d}_0000.nii.gz")
        save(tmp_path / f"{inside}labels/FLARE22_Tr_{number:04d}.nii.gz", 13)
    save(tmp_path / f"{inside}images/FLARE22_Tr_0003_0000.nii.gz")
    save(tmp_path / "Unlabeled/Case_00001_0000.nii.gz")
    save(tmp_path / "Validation/FLARETs_0001_0000.nii.gz")
    cases = cases_of("flare", tmp_path, ("CT",))
    assert [(case.case_id, case.image_paths[0].name) for case in cases] == [
        (f"FLARE22_Tr_{number:04d}", f"FLARE22_Tr_{number:04d}_0000.nii.gz") for number in (1, 2)
    ]
    assert cases[0].image_paths[0].parent.parent == cases[0].label_path.parent.parent == tmp_path / inside
    (tmp_path / f"{inside}images/FLARE22_Tr_0001_0000.nii.gz").unlink()
    with pytest.raises(InputError, match=r"FLARE22_Tr_0001_0000\.nii\.gz: found no such file \(1 missing"):
        cases_of("flare", tmp_path, ("CT",))
    with pytest.raises(InputError, match="expected one, the CT"):
        cases_of("flare", tmp_path, ("CT", "PET"))


def test_autopet_orders_studies_of_a_patient(tmp_path):
    studies = {
        "PETCT_0011f3deaf": ["03-23-2003-NA-PET-CT a-96698"],
        "PETCT_01140d52d8": ["08-13-2005-NA b-1", "01-02-2004-NA c-2"],
    }
    for patient, names in studies.items():
        for name in names:
            for file in ("CT", "CTres", "SUV", "PET", "SEG"):
                save(tmp_path / patient / name / f"{file}.nii.gz")
    source = block("whole_body_tumour")["source"]
    cases = cases_of(
        "autopet", tmp_path, ("CT", "PET"), patient_pattern=source["patient_pattern"], patient_namespace="autopet"
    )
    assert [case.case_id for case in cases] == ["PETCT_0011f3deaf_0", "PETCT_01140d52d8_0", "PETCT_01140d52d8_1"]
    assert [case.patient_id for case in cases] == [
        "autopet/PETCT_0011f3deaf",
        "autopet/PETCT_01140d52d8",
        "autopet/PETCT_01140d52d8",
    ]
    assert [path.name for path in cases[0].image_paths] == ["CTres.nii.gz", "SUV.nii.gz"]
    assert cases[1].label_path == tmp_path / "PETCT_01140d52d8" / "01-02-2004-NA c-2" / "SEG.nii.gz"
    with pytest.raises(InputError, match="modality 'MR'"):
        cases_of("autopet", tmp_path, ("CT", "MR"))


def save_nnunet(root, ending, **description):
    for case_id in ("liver_0", "liver_1"):
        save_itk(root / "imagesTr" / f"{case_id}_0000{ending}", np.zeros((2, 3, 4), np.int16), np.eye(4))
        save_itk(root / "labelsTr" / f"{case_id}{ending}", np.ones((2, 3, 4), np.uint8), np.eye(4))
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, **description}))


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("is_named", [True, False])
def test_nnunet_folders_hold_any_format(tmp_path, ending, is_named):
    save_nnunet(tmp_path, ending, **({"file_ending": ending} if is_named else {}))
    cases = cases_of("nnunet", tmp_path, ("CT",))
    assert [(case.case_id, case.image_paths[0].name, case.label_path.name) for case in cases] == [
        (f"liver_{n}", f"liver_{n}_0000{ending}", f"liver_{n}{ending}") for n in range(2)
    ]
    assert read_label(cases[0].label_path, cases[0].image_paths).all()


def test_the_named_ending_decides_between_two_labels(tmp_path):
    save_nnunet(tmp_path, ".nrrd", file_ending=".nrrd")
    save(tmp_path / "labelsTr" / "liver_0.nii.gz")
    assert {case.label_path.suffix for case in cases_of("nnunet", tmp_path, ("CT",))} == {".nrrd"}
    save_nnunet(tmp_path, ".nrrd")
    with pytest.raises(
        InputError, match=r"liver_0\.nrrd: found a second label of case 'liver_0' beside liver_0\.nii\.gz"
    ):
        cases_of("nnunet", tmp_path, ("CT",))
    save_nnunet(tmp_path, ".nrrd", file_ending=".png")
    with pytest.raises(InputError, match=r"dataset\.json: found file_ending '\.png'"):
        cases_of("nnunet", tmp_path, ("CT",))


@pytest.mark.parametrize("name", UPSTREAM)
def test_task_files_describe_a_task_with_its_source(name):
    path = CONF_DIR / "task" / f"{name}.yaml"
    assert path.read_text().splitlines()[0] == f"# @package tasks.{name}"
    values = block(name)
    task = make_task(name, values)
    assert task.classes[0] == "background"
    source = Source(**{**values["source"], "root": Path("/nowhere")})
    assert source.splits == f"${{paths.splits}}/published.json#{name}"
    assert source.homepage.startswith("http")
    assert source.licence
    with pytest.raises(InputError, match="no such folder"):  # the layout exists, the data do not
        find_cases(source, task.modalities)
    mapped = set(source.label_map.values())
    assert mapped <= set(range(1, task.num_classes))


def test_task_files_hold_the_published_recipe():
    tasks = {name: make_task(name, block(name)) for name in UPSTREAM}
    assert [tasks[name].num_classes for name in UPSTREAM] == [3, 3, 3, 3, 2, 2, 2, 2, 2, 4, 2]
    assert [tasks[name].num_modalities for name in UPSTREAM] == [1] * 9 + [4, 2]
    assert [tasks[name].spacing_mm for name in UPSTREAM] == [(3, 1.5, 1.5)] * 7 + [
        (4, 2, 2),
        (3, 1.5, 1.5),
        (1, 1, 1),
        (8, 4, 4),
    ]
    for task in tasks.values():
        for modality, normalization in zip(task.modalities, task.normalization, strict=True):
            values = normalization.to_dict()
            window = ("window", -325, 325) if modality == "CT" else ("zscore", None, None)
            assert (values["mode"], values["lower"], values["upper"]) == window


def test_task_files_compose_with_paths_filled_in(tmp_path):
    root = {
        "hydra": {"searchpath": [f"file://{CONF_DIR}"]},
        "paths": {"data": "/data", "splits": str(CONF_DIR / "splits")},
    }
    (tmp_path / "root.yaml").write_text(
        yaml.safe_dump({"defaults": [{"task": ["liver", "vertebrae"]}, "_self_"], **root})
    )
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        config = compose("root")
    tasks = OmegaConf.to_container(config.tasks, resolve=True)
    assert list(tasks) == ["liver", "vertebrae"]
    source = Source(**tasks["vertebrae"]["source"])
    assert source.root == "/data/VerSe20"
    assert source.label_map == dict.fromkeys(range(1, 29), 1)
    assert len(source.given_splits()["test"]) == 43
