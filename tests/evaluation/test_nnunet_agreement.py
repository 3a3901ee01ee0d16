"""An imported network against nnU-Net: the figure by hand, nnU-Net played by a script; with nnU-Net itself, slowly."""

import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samples import save_nifti
from started import run, succeed
from uniseg import InputError, load_ensemble
from uniseg.evaluation.nnunet_agreement import agreement, predict_with_nnunet
from uniseg.inference.postprocessing import ALL_CLASSES, read_postprocessing

sys.path.append(str(Path(__file__).parents[1] / "weights"))
from test_nnunet_results import trained, write_steps

ROOT = Path(__file__).parents[2]
CLASSES = {"liver": (1,), "tumour": (2,), "never": (3,)}


def test_the_figure():
    ours = np.array([[[1, 1, 2, 0]]])
    theirs = np.array([[[1, 0, 2, 0]]])
    found = agreement(ours, theirs, CLASSES)
    assert found.dice == {"liver": pytest.approx(2 / 3), "tumour": 1.0, "never": 1.0}
    assert (found.least, found.num_different) == (pytest.approx(2 / 3), 1)


@pytest.fixture
def interpreter(tmp_path) -> Path:
    """Says 1 in the first plane of every fold, where nnU-Net would predict."""
    path = tmp_path / "python"
    lines = [
        f"#!{sys.executable}",
        "import json, sys, numpy as np, nibabel as nib",
        "job = json.load(open(sys.argv[2]))",
        "image = nib.load(job['images'][0])",
        "label = np.zeros(image.shape, np.uint8); label[:, :, 0] = 1",
        "for fold in job['folds']:",
        "    nib.save(nib.Nifti1Image(label, image.affine), f\"{job['output']}/{fold}.nii.gz\")",
    ]
    path.write_text("\n".join(lines))
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


@pytest.fixture
def image(tmp_path) -> Path:
    values = np.random.default_rng(0).normal(50, 40, (18, 8, 24)).astype(np.float32)
    return save_nifti(tmp_path / "case_0000.nii.gz", values, np.diag([1.0, 6, 2, 1]))


def test_import_of_a_results_folder(tmp_path, interpreter, image):
    folder = trained(tmp_path / "results")
    trained(tmp_path / "results", configuration="2d", folds=("0",))
    write_steps(folder, [[1, 2]], "json")
    given = ["results=results", "output=own", f"images={image}", f"nnunet_python={interpreter}"]
    done = succeed("import", *given, cwd=tmp_path)
    name = f"Dataset123_plain/{folder.name}"
    own = tmp_path / "own" / name
    assert done.stdout.splitlines() == [f"own/{name}"]
    lines = done.stderr.splitlines()
    assert [line for line in lines if "2d: not taken: found configuration '2d', of two dimensions" in line]
    words = ("reading fold_0, fold_1", "uniseg predict", "is predicted by nnU-Net and here", "fold_0: Dice of both")
    places = [next(k for k, line in enumerate(lines) if f"{name}: " in line and each in line) for each in words]
    assert places == sorted(places), "what takes long is said before it begins"
    record = json.loads((own / "nnunet.json").read_text())
    assert list(record["folds"]) == ["fold_0", "fold_1"]
    assert record["mirror_axes"] == [1, 2]
    figures = record["folds"]["fold_1"]["agreement"]
    assert 0 <= figures["dice"]["liver"] < 1
    assert figures["num_different"] > 0
    assert read_postprocessing(own / "postprocessing.json")["plain"][ALL_CLASSES].largest
    command = shlex.split(record["predict"])[2:-2]
    assert command[:3] == [f"checkpoint=own/{name}", "inference=nnunet", "inference.mirror_axes=[1,2]"]
    assert len(load_ensemble(own)) == 2
    succeed("predict", *command, f"input={image}", "output=predicted", "modality=[CT]", cwd=tmp_path)
    assert (tmp_path / "predicted/plain/case.nii.gz").is_file()
    before = (own / "fold_0/model.safetensors").stat().st_mtime_ns
    again = succeed("import", *given[:2], cwd=tmp_path)
    assert "no agreement measured" in again.stderr
    assert (own / "fold_0/model.safetensors").stat().st_mtime_ns == before


def test_nothing_that_can_be_taken(tmp_path):
    trained(tmp_path / "results", configuration="2d", folds=("0",))
    done = run("import", "results=results", "output=own", cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "own").exists()


def test_an_interpreter_without_nnunet_is_named(tmp_path, image):
    with pytest.raises(InputError, match="nnunet_python"):
        predict_with_nnunet(str(tmp_path / "none"), tmp_path, {"fold_0": "a"}, [image], ".nii.gz", tmp_path)
    with pytest.raises(InputError, match=r"exit code 1 \(.*nnunetv2"):
        predict_with_nnunet(sys.executable, tmp_path, {"fold_0": "a"}, [image], ".nii.gz", tmp_path)


@pytest.mark.slow
def test_real_networks_agree(tmp_path):
    """Trains nnU-Net for some steps; UNISEG_NNUNET_PYTHON and UNISEG_HIPPOCAMPUS say where it and its data are."""
    python, data = os.environ.get("UNISEG_NNUNET_PYTHON"), os.environ.get("UNISEG_HIPPOCAMPUS")
    if python is None or data is None:
        pytest.skip("UNISEG_NNUNET_PYTHON: no interpreter with nnunetv2; UNISEG_HIPPOCAMPUS: no scans")
    words = ["--nnunet-python", python, "--data", data, "--output", str(tmp_path)]
    script = ROOT / "experiments/nnunet_agreement/run.py"
    subprocess.run([sys.executable, str(script), *words], check=True, timeout=3600)
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["networks"]) == 2
    for each in results["networks"].values():
        assert each["mean_dice"]["like nnU-Net"] >= 0.999
        assert max(case["voxels"] for case in each["cases"]) <= 5, "what float16 leaves"
        assert each["foreground_voxels"] > 0
