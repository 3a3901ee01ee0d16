"""nnU-Net's folders become task files."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from samples import save_nifti
from uniseg.datasets.case import find_cases
from uniseg.datasets.dataset_json import read_labels, task_name
from uniseg.datasets.import_nnunet import import_nnunet_datasets, patient_note
from uniseg.datasets.source import Source, make_task
from uniseg.errors import InputError
from uniseg.preprocessing.resample import target_spacing

V2 = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
V1 = {
    "modality": {"0": "MRI", "1": "CT", "2": "MRI"},
    "labels": {"0": "background", "1": "zone", "4": "tumour"},
    "licence": "CC0",
    "reference": "somebody",
}


def make(root, description, cases=8, channels=1, spacing=(3, 1, 1), test=0, whole=False):
    """A dataset of empty scans; ``spacing`` is z, y, x."""
    affine = np.diag([*spacing[::-1], 1.0])
    for part, number in (("Tr", cases), ("Ts", test)):
        for k in range(number):
            for channel in range(channels):
                save_nifti(
                    root / f"images{part}" / (f"{part}_{k}.nii.gz" if whole else f"{part}_{k}_{channel:04d}.nii.gz"),
                    np.zeros((3, 4, 5)),
                    affine,
                )
            save_nifti(root / f"labels{part}" / f"{part}_{k}.nii.gz", np.zeros((3, 4, 5), np.uint8), affine)
    (root / "dataset.json").write_text(json.dumps({"numTraining": 99} | description))
    return root


def imported(folder, task_dir, preprocessed=None, overwrite=False):
    return {
        path.stem: yaml.safe_load(path.read_text())
        for path in import_nnunet_datasets(folder, task_dir, preprocessed, overwrite=overwrite)
    }


def folds(names, number=5):
    return [
        {"train": [n for k, n in enumerate(names) if k % number != f], "val": names[f::number]} for f in range(number)
    ]


def test_a_v2_dataset(tmp_path, capsys):
    root = make(tmp_path / "Dataset004_Hippocampus", V2)
    values = imported(tmp_path, tmp_path / "conf")["hippocampus"]
    assert values == {
        "modalities": ["CT"],
        "classes": ["background", "liver"],
        "spacing_mm": [3.0, 1.0, 1.0],
        "normalization": {"CT": {"mode": "fingerprint"}},
        "source": {"layout": "nnunet", "root": str(root)},
    }
    text = (tmp_path / "conf/hippocampus.yaml").read_text()
    assert text.startswith(
        "# @package tasks.hippocampus\n# Imported from Dataset004_Hippocampus, in place.\nmodalities: [CT]\n"
    )
    assert f"source:\n  layout: nnunet\n  root: {root}\n" in text
    assert make_task("hippocampus", values).spacing_mm == (3, 1, 1)
    output = capsys.readouterr().err
    assert "by patient: 5 folds" in output
    assert "comes before the packaged task" in output
    plan, without = output.splitlines()[-2:]
    assert plan == "Next, a plan: uniseg prepare plan=true task=[hippocampus] gpu_memory_gb=24"
    assert without == "Or without one: uniseg prepare task=[hippocampus]"


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["patient001_frame01", "patient001_frame12", "patient002_frame01"], 2),
        (["7_1", "7_2", "8_1"], 2),
        (["patient001_frame01", "patient002_frame01"], 0),  # one case each
        (["BraTS2021_00000", "BraTS2021_00002"], 0),  # the name of the data set
        (["liver_1", "liver_2"], 0),
        (["p1_1", "p1_2", "other"], 0),
    ],
)
def test_names_that_look_like_several_cases_of_a_patient(names, patients):
    note = patient_note(names)
    assert bool(note) == bool(patients)
    if patients:
        assert note.startswith(f"{patients} names before the last number")
        pattern = note.split("patient_pattern: ")[1].strip("'")
        assert (
            len({Source("nnunet", Path("data"), patient_pattern=pattern).patient_id(name) for name in names})
            == patients
        )


def test_a_v1_folder_with_labels_out_of_order(tmp_path):
    make(tmp_path / "nnUNet_raw_data" / "Task017_My-Brain", V1, channels=3)
    values = imported(tmp_path, tmp_path / "conf")["my_brain"]
    assert values["modalities"] == ["MRI_0", "CT", "MRI_1"]
    assert values["normalization"] == {
        "MRI_0": {"mode": "zscore"},
        "CT": {"mode": "fingerprint"},
        "MRI_1": {"mode": "zscore"},
    }
    assert values["classes"] == ["background", "zone", "tumour"]
    assert values["source"]["label_map"] == {1: 1, 4: 2}
    assert (values["source"]["licence"], values["source"]["homepage"]) == ("CC0", "somebody")


def test_a_decathlon_dataset_by_itself(tmp_path):
    make(tmp_path / "Task01_BrainTumour", V1, whole=True)
    assert list(imported(tmp_path / "Task01_BrainTumour", tmp_path / "conf")) == ["braintumour"]


def test_regions_with_an_ignored_label(tmp_path, capsys):
    labels = {"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    make(tmp_path / "Dataset137_BraTS", V2 | {"labels": labels, "regions_class_order": [1, 2, 3]})
    values = imported(tmp_path, tmp_path / "conf")["brats"]
    assert values["classes"] == ["background", "whole tumour", "core", "enhancing"]
    assert values["regions"] == {"whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
    assert values["source"]["ignore"] == 4
    assert "label_map" not in values["source"]
    assert "4 as regions" in capsys.readouterr().err


def test_splits_final_gives_the_five_folds_with_labelled_test_cases(tmp_path, capsys):
    root = make(tmp_path / "raw" / "Dataset001_A", V2, cases=10, test=2)
    other = make(tmp_path / "raw" / "Dataset002_B", V2, cases=10)
    names = [f"Tr_{k}" for k in range(10)]
    for folder in (tmp_path / "preprocessed" / "Dataset001_A", other):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "splits_final.json").write_text(json.dumps(folds(names)))
    tasks = imported(tmp_path / "raw", tmp_path / "conf", tmp_path / "preprocessed")
    assert tasks["a"]["source"]["splits"] == str(tmp_path / "preprocessed/Dataset001_A/splits_final.json")
    assert tasks["b"]["source"]["splits"] == str(other / "splits_final.json")
    assert tasks["a"]["source"]["root"] == str(root)
    output = capsys.readouterr().err
    assert "splits_final.json: 5 folds, 2 for test" in output
    assert "splits_final.json: 5 folds, 0 for test" in output


def test_a_pickle_is_not_read(tmp_path, capsys):
    root = make(tmp_path / "Dataset001_A", V2)
    (root / "splits_final.pkl").write_bytes(pickle.dumps(folds([f"Tr_{k}" for k in range(8)])))
    assert "splits" not in imported(root, tmp_path / "conf")["a"]["source"]
    assert "splits_final.pkl is not read" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_what_does_not_fit_is_named_beside_what_does(tmp_path, capsys):
    for number, (key, value) in enumerate(
        {
            "labels": {"background": 0, "organ": "all"},
            "channel_names": {"0": "noNorm"},
            "file_ending": ".png",
            "modality": 3,
        }.items()
    ):
        make(tmp_path / f"Dataset00{number}_{key}", (V2 if key != "modality" else {"labels": {}}) | {key: value})
    (make(tmp_path / "Dataset007_split", V2) / "splits_final.json").write_text(json.dumps(folds(["x", "y"], 2)))
    make(tmp_path / "Dataset008_tiny", V2, cases=1)
    make(tmp_path / "Dataset009_good", V2)
    assert sorted(imported(tmp_path, tmp_path / "conf")) == ["good", "tiny"]
    output = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert output.count("not imported:") == 5
    for text in (
        "the label 'organ': 'all'",
        "the channel 'noNorm'",
        "file_ending '.png'",
        "2 unknown names",
        "too few patients for its splits",
    ):
        assert text in output
    assert output.endswith("task=[good]")


def test_nothing_is_overwritten_unless_asked(tmp_path):
    make(tmp_path / "raw/Dataset001_A", V2)
    make(tmp_path / "raw/Dataset002_B", V2)
    conf = tmp_path / "conf"
    imported(tmp_path / "raw/Dataset002_B", conf)
    before = (conf / "b.yaml").read_text()
    (conf / "b.yaml").write_text(before + "# mine\n")
    with pytest.raises(
        InputError, match=r"b\.yaml: found another task file of this name; .*nothing was written.*overwrite=true"
    ):
        imported(tmp_path / "raw", conf)
    assert not (conf / "a.yaml").exists()
    imported(tmp_path / "raw", conf, overwrite=True)
    assert (conf / "b.yaml").read_text() == before
    assert sorted(path.name for path in conf.iterdir()) == ["a.yaml", "b.yaml"]
    assert list(imported(tmp_path / "raw", conf)) == ["a", "b"]


def test_two_datasets_of_one_name_are_refused(tmp_path):
    make(tmp_path / "Dataset001_Liver", V2)
    make(tmp_path / "Dataset002_liver", V2)
    with pytest.raises(InputError, match="Dataset001_Liver and Dataset002_liver, both task 'liver'"):
        imported(tmp_path, tmp_path / "conf")
    assert not (tmp_path / "conf").exists()


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match=r"found no dataset\.json"):
        imported(tmp_path, tmp_path / "conf")
    make(tmp_path / "Dataset001_A", V2)
    with pytest.raises(InputError, match="expected nnUNet_preprocessed"):
        imported(tmp_path, tmp_path / "conf", preprocessed=tmp_path / "none")
    (tmp_path / "Dataset001_A/dataset.json").write_text("[]")
    with pytest.raises(InputError, match="no dataset that a task file can describe"):
        imported(tmp_path, tmp_path / "conf")


def test_spacing_is_the_median_over_training_cases(tmp_path):
    root = make(tmp_path / "Dataset001_A", V2, cases=3, spacing=(2, 1, 1))
    make(root, V2, cases=2, spacing=(4, 0.5, 1))
    make(root, V2, cases=0, test=9, spacing=(9, 9, 9))
    assert imported(root, tmp_path / "conf")["a"]["spacing_mm"] == [4, 0.5, 1]


def test_a_coarse_axis_takes_the_tenth_percentile():
    coarse = np.array([[5.0, 1, 1]] + [[10.0, 1.5, 1.5]] * 9)
    shapes = np.tile([10, 200, 250], (10, 1))
    assert target_spacing(coarse, shapes) == (9.5, 1.5, 1.5)  # 10th percentile of [5, 10 x 9] is 5 + 0.9 * 5
    assert target_spacing(coarse, np.tile([100, 200, 250], (10, 1))) == (10, 1.5, 1.5)  # coarse, but not fewer voxels
    # never finer than the others
    assert target_spacing(np.array([[1.0, 1.5, 1.5]] * 2 + [[10.0, 1.5, 1.5]] * 3), shapes[:5]) == (1.5, 1.5, 1.5)
    # less than three times as coarse
    assert target_spacing(np.array([[4.0, 1.5, 1.5], [4.5, 1.5, 1.5]]), shapes[:2]) == (4.25, 1.5, 1.5)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({"liver": 1}, "a background of value 0"),
        ({"background": 0}, "then classes of other values"),
        ({"background": 0, "a": 1, "b": 1}, r"label values \[1, 1\]; expected each once"),
        ({"background": 0, "a": 1, "ignore": 1}, "expected each once"),
        ({"background": 0, "a": -1}, "'a': -1; expected 0 or more"),
        ({"background": 0, "a": [0, 1]}, "a background of value 0"),
        ({"0": "background", "1": "a", "2": "a"}, "different names"),
    ],
)
def test_labels_that_make_no_sense(labels, complaint):
    with pytest.raises(InputError, match=complaint):
        read_labels("dataset.json", labels)


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "a": 1.5},
        {"background": 0, "a": True},
        {"background": 0, "a": [1, None]},
        {"background": 0, "a": []},
        {"background": 0, "a": "1e3"},
    ],
)
def test_label_values_are_not_bent(labels):
    with pytest.raises(InputError, match=r"the label 'a': .*; expected a whole number"):
        read_labels("dataset.json", labels)


@pytest.mark.parametrize("value", [32_768, 2_000_000_000])
def test_label_values_are_bounded(value):
    with pytest.raises(InputError, match="expected 0 or more, up to 32767"):
        read_labels("dataset.json", {"background": 0, "a": [1, value]})


@pytest.mark.parametrize("name", ["", " ", "???", "a\nb", "a\x1b[31m"])
def test_classes_and_channels_have_printable_names(tmp_path, name, capsys):
    make(tmp_path / "Dataset001_A", V2 | {"labels": {"background": 0, name: 1}})
    make(tmp_path / "Dataset002_B", V2 | {"channel_names": {"0": name}})
    make(tmp_path / "Dataset003_C", V2)
    assert list(imported(tmp_path, tmp_path / "conf")) == ["c"]
    assert capsys.readouterr().err.count("printable names") == 2


TRICKY = [
    "${oc.env:HOME}",
    "${",
    "$",
    "\\${x}",
    "\\\\${x}",
    "a\\",
    "1e5",
    "0x1F",
    "1:30",
    ".5",
    "yes",
    "null",
    "[/x]",
    "# no comment",
    "a: b",
    "'",
    '"',
    "{a",
    "@x",
    "ä",
]


def test_what_strangers_wrote_is_composed_as_it_stands(tmp_path):
    """Through Hydra, as every command does; an interpolation would put the environment into checkpoints."""
    root = tmp_path / "raw ${oc.env:HOME}" / "Dataset001_Tricky"
    labels = {"background": 0} | {name: k for k, name in enumerate(TRICKY, start=1)}
    channels = {str(k): name for k, name in enumerate(TRICKY)}
    make(
        root,
        {"channel_names": channels, "labels": labels, "licence": "${oc.env:HOME} ${", "reference": "${"},
        channels=len(TRICKY),
    )
    (root / "splits_final.json").write_text(json.dumps(folds([f"Tr_{k}" for k in range(8)])))
    imported(root, tmp_path / "conf" / "task")
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        values = OmegaConf.to_container(compose(overrides=["+task=tricky"]), resolve=True)["tasks"]["tricky"]
    assert values["classes"] == ["background", *TRICKY]
    assert values["modalities"] == list(values["normalization"]) == TRICKY
    source = values["source"]
    assert (source["licence"], source["homepage"], source["root"]) == ("${oc.env:HOME} ${", "${", str(root))
    assert source["splits"] == str(root / "splits_final.json")
    task = make_task("tricky", values)
    assert len(find_cases(Source(**source | {"root": Path(source["root"])}), task.modalities)) == 8


def test_text_for_people_is_one_printable_line(tmp_path):
    make(tmp_path / "Dataset001_A", V2 | {"licence": "CC\n0 \x1b[31m", "reference": "???"})
    source = imported(tmp_path, tmp_path / "conf")["a"]["source"]
    assert (source["licence"], "homepage" in source) == ("CC 0 ?[31m", False)


def test_a_dataset_without_training_cases_is_refused(tmp_path, capsys):
    make(tmp_path / "Dataset001_A", V2, cases=0, test=3)
    make(tmp_path / "Dataset002_B", V2)
    assert list(imported(tmp_path, tmp_path / "conf")) == ["b"]
    assert "3 cases, all for test" in capsys.readouterr().err


@pytest.mark.parametrize(
    "folder", ["Dataset001_Merged", f"Dataset001_{'x' * 120}", "Dataset001_x\n# @package _global_"]
)
def test_a_folder_whose_name_leads_elsewhere(tmp_path, folder):
    make(tmp_path / folder, V2)
    make(tmp_path / "Dataset002_B", V2)
    assert sorted(imported(tmp_path, tmp_path / "conf")) == (["b", "x_package__global"] if "\n" in folder else ["b"])
    for path in (tmp_path / "conf").iterdir():
        assert path.read_text().startswith(f"# @package tasks.{path.stem}\n# Imported from ")
        assert path.read_text().count("\n#") == 1


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Dataset004_Hippocampus", "hippocampus"),
        ("Task08_HepaticVessel", "hepaticvessel"),
        ("sts_ct", "sts_ct"),
        ("Dataset027_3D-CT", "task_3d_ct"),
        ("Dataset005_Ärzte_é", "arzte_e"),
        ("Dataset006_肝臓", "task_006"),
        ("..", "task_"),
    ],
)
def test_names_of_tasks(folder, name):
    assert task_name(folder) == name
