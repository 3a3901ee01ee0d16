"""A bundle as MONAI's commands take it: metadata, network, inference with the label map of ``uniseg predict``."""

import json
import runpy
import sys
import warnings
from unittest.mock import patch

import numpy as np
import pytest

from monai_schema import MONAI_SCHEMA
from samples import make_task, save_nifti, small_model
from started import run, succeed
from uniseg.artefacts.bundle import INFERENCE, METADATA, save_bundle
from uniseg.images.files import read_label, read_volume
from uniseg.inference.predictor import Predictor
from uniseg.inference.settings import InferenceSettings
from uniseg.models.provenance import Provenance
from uniseg.task import TaskSet
from uniseg.weights.folder import save_model


def monai_command(*words):
    """``python -m monai.bundle <words>``, in this process."""
    pytest.importorskip("fire", reason="the extra bundle is not installed")
    with patch.object(sys, "argv", ["monai.bundle", *map(str, words)]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_module("monai.bundle", run_name="__main__")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    model = small_model(TaskSet([make_task(), make_task("spleen", classes=("background", "spleen"))]))
    model.provenance = Provenance({name: {"licence": "CC BY-SA 4.0"} for name in ("liver", "spleen")})
    save_model(model, folder / "model")
    succeed("export", "checkpoint=model", "format=bundle", "output=bundle", "tasks=[spleen]", cwd=folder)
    return folder / "bundle"


def test_the_metadata_hold_what_monai_requires(bundle, tmp_path):
    """A schema that is there is not fetched."""
    pytest.importorskip("jsonschema", reason="the extra bundle is not installed")
    (tmp_path / "schema.json").write_text(json.dumps(MONAI_SCHEMA))
    given = ["--filepath", tmp_path / "schema.json", "--meta_file"]
    monai_command("verify_metadata", *given, bundle / METADATA)
    about = json.loads((bundle / METADATA).read_text())
    assert about["copyright"] == "Training data: CC BY-SA 4.0"
    assert about["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "spleen"}
    assert about["network_data_format"]["inputs"]["image"]["spatial_shape"] == [8, 16, 16]
    (tmp_path / "metadata.json").write_text(json.dumps(about | {"task": 3}))
    with pytest.raises(ValueError, match="3 is not of type 'string'"):
        monai_command("verify_metadata", *given, tmp_path / "metadata.json")


def test_the_network_is_as_the_metadata_say(bundle):
    given = ["--bundle_root", bundle, "--config_file", bundle / INFERENCE, "--meta_file", bundle / METADATA]
    monai_command("verify_net_in_out", "network_def", *given, "--device", "cpu")
    with pytest.raises(ValueError, match="output channel number `3`"):
        monai_command("verify_net_in_out", "network_def", *given, "--device", "cpu", "--task", "liver")


@pytest.mark.parametrize("task", ["liver", "spleen"])
def test_a_run_gives_the_label_map_of_predict(bundle, tmp_path, task):
    affine = np.array([[-0.9, 0.1, 0.0, 30.0], [0.08, 0.0, 1.3, -20.0], [0.0, 0.9, 0.1, 5.0], [0, 0, 0, 1]])
    values = np.random.default_rng(0).normal(-300, 400, size=(18, 26, 24)).astype(np.float32)
    scan = save_nifti(tmp_path / "scan.nii.gz", values, affine)
    given = ["--config_file", bundle / INFERENCE, "--bundle_root", bundle, "--device", "cpu"]
    chosen = [] if task == "spleen" else ["--task", task]  # spleen is the default
    monai_command("run", *given, *chosen, "--input", scan, "--output_dir", tmp_path / "out")
    predictor = Predictor.from_pretrained(bundle.parent / "model", settings=InferenceSettings(device="cpu"))
    ours = predictor.predict(read_volume(scan), [task])[task]
    assert len(np.unique(ours)) > 1
    np.testing.assert_array_equal(read_label(tmp_path / "out" / task / "scan.nii.gz", like=scan), ours)


def test_an_ensemble_and_what_is_in_the_way(bundle, tmp_path):
    models = [small_model(TaskSet([make_task()]), seed) for seed in (0, 1)]
    save_bundle(models, tmp_path / "both")
    save_bundle(models, tmp_path / "both")
    assert (tmp_path / "both/models/ensemble.json").is_file()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.tex").write_text("years")
    done = run("export", f"checkpoint={bundle.parent / 'model'}", "format=bundle", "output=taken", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "something else" in done.stderr
    refused = run("export", f"checkpoint={bundle.parent / 'model'}", "tasks=[liver]", "output=a", cwd=tmp_path)
    assert "error: tasks: found format=folder" in refused.stderr
    older = run("export", f"checkpoint={bundle.parent / 'model'}", "format=torchscript", "output=a", cwd=tmp_path)
    assert (older.returncode, older.stderr.count("\n")) == (2, 1)
    assert "choose torch_export, whose programs need torch alone as well: PyTorch has deprecated" in older.stderr
