"""A task's ONNX graph with its runtime gives the label map of ``uniseg predict``, without torch and uniseg."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from networks import PATCH, build
from samples import make_task, small_model
from uniseg.artefacts import graphs, uniseg_onnx
from uniseg.artefacts.graphs import ONNX_FILES, save_onnx, save_programs
from uniseg.artefacts.task_network import TaskNetwork
from uniseg.errors import InputError
from uniseg.images.files import read_label, read_volume
from uniseg.inference.predictor import Predictor
from uniseg.inference.settings import InferenceSettings
from uniseg.preprocessing import resample
from uniseg.task import Normalization, TaskSet

SHARP = 30  # on the head: few voxels are undecided, so that rounding changes none
ALONE = """
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "uniseg", "scipy", "monai"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
sys.path.insert(0, sys.argv[1])
import uniseg_onnx
for job in sys.argv[2:]:
    task, *scans, output = job.split(",")
    uniseg_onnx.predict(task, scans, output)
"""
OBLIQUE = np.array([[-0.9, 0.1, 0.0, 30.0], [0.08, 0.0, 1.3, -20.0], [0.0, 0.9, 0.1, 5.0], [0, 0, 0, 1]])
JOBS = {"ms": ["t1", "flair"], "cardiac": ["cine"], "added": ["t1", "-"]}
THICK = np.diag([0.8, -0.8, 4.0, 1.0])


def sharp_model():
    zscore = Normalization("zscore", masked=True)
    ms = make_task("ms", ("T1", "FLAIR"), ("background", "whole", "core"), (1.5, 1, 1), regions=((1, 2), (2,)))
    ms = ms.resolve([zscore, Normalization("window", lower=5, upper=80)])
    cardiac = make_task("cardiac", ("cine",), ("background", "wall"), (4, 1.2, 1.2))
    cardiac = cardiac.resolve([Normalization("fingerprint", lower=7, upper=85, mean=40, sd=21)])
    model = small_model(TaskSet([make_task(), ms, cardiac]))
    model.extend(
        [make_task("added", ("T1", "FLAIR"), ("background", "lesion"), optional=("FLAIR",))], adapter_channels=2
    )
    for weights in (model.head.convs[0].weight, model.added[0].head[0].weight):
        weights.data *= SHARP
    return model.eval()


def phantom(shape, seed, low, high):
    """Smooth blobs inside a body with a hole, air of 0 around."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    body = np.zeros(shape, bool)
    body[3:-2, 4:-3, 2:-4] = True
    body[8:11, 9:12, 5:8] = False
    values = low + (high - low) * (blobs - blobs.min()) / np.ptp(blobs)
    return np.where(body, values, 0).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    model = sharp_model()
    save_onnx([model], folder / "graphs", list(JOBS), checkpoint="0f")
    scans = {
        "t1": (phantom((28, 30, 22), 1, 10, 900).round().astype(np.int16), OBLIQUE),
        "flair": (phantom((28, 30, 22), 2, 5, 90), OBLIQUE),
        "cine": (phantom((34, 36, 14), 3, 5, 90), THICK),
    }
    for name, (values, affine) in scans.items():
        image = nib.Nifti1Image(values, affine)
        image.set_qform(affine, 2)
        nib.save(image, folder / f"{name}.nii.gz")
    return model, folder


@pytest.fixture(scope="module")
def predicted(exported):
    """In a process that has neither torch nor uniseg nor scipy."""
    _, folder = exported
    jobs = [
        ",".join([task, *(f"{name}.nii.gz" if name != "-" else "-" for name in names), f"{task}_onnx.nii.gz"])
        for task, names in JOBS.items()
    ]
    words = [sys.executable, "-c", ALONE, str(folder / "graphs"), *jobs]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("task", JOBS)
def test_the_label_map_is_that_of_predict(exported, predicted, task):
    model, folder = exported
    paths = [None if name == "-" else folder / f"{name}.nii.gz" for name in JOBS[task]]
    ours = Predictor(model, InferenceSettings(device="cpu")).predict(read_volume(paths), [task])[task]
    theirs = read_label(folder / f"{task}_onnx.nii.gz", like=paths[0])
    values = np.unique(ours)
    assert len(values) > 1
    for value in values:
        a, b = ours == value, theirs == value
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) >= 0.9999, value
    scan, label = nib.load(paths[0]), nib.load(folder / f"{task}_onnx.nii.gz")
    assert label.shape == scan.shape
    np.testing.assert_array_equal(label.affine, scan.affine)
    assert (int(label.header["sform_code"]), int(label.header["qform_code"])) == (
        int(scan.header["sform_code"]),
        int(scan.header["qform_code"]),
    )


def test_the_description_says_what_surrounds_the_graph(exported):
    _, folder = exported
    about = json.loads((folder / "graphs" / ONNX_FILES).read_text())
    assert (about["patch_size"], about["overlap"], about["checkpoint"]) == ([8, 16, 16], 0.5, "0f")
    assert list(about["tasks"]) == list(JOBS)
    assert about["tasks"]["ms"]["label_values"] == {"whole": [1, 2], "core": [2]}
    assert {path.name for path in (folder / "graphs").iterdir()} - {"__pycache__"} == {
        *(f"{task}.onnx" for task in about["tasks"]),
        ONNX_FILES,
        "uniseg_onnx.py",
    }


@pytest.mark.parametrize(("size", "new_size"), [(1, 4), (2, 5), (3, 2), (17, 30), (40, 13), (9, 9)])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_its_interpolation_is_ours(size, new_size, order):
    ours = resample.axis_matrix(size, new_size, order)
    np.testing.assert_allclose(uniseg_onnx.axis_matrix(size, new_size, order), ours, atol=2e-6)


def test_its_holes_are_scipys():
    for seed in range(5):
        body = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(14, 15, 16)), 0.8) > 0.03
        np.testing.assert_array_equal(uniseg_onnx.fill_holes(body), ndimage.binary_fill_holes(body))


def test_the_runtime_is_short_and_needs_little():
    text = graphs.ONNX_RUNTIME.read_text()
    assert len(text.splitlines()) <= 200
    words = {line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert words - set(sys.stdlib_module_names) == {"nibabel", "numpy", "onnxruntime"}


def test_an_ensemble_averages_scores():
    models = [small_model(TaskSet([make_task()]), seed) for seed in (0, 1)]
    image = torch.randn(3, 1, 8, 16, 16)
    with torch.no_grad():
        scores = TaskNetwork(models, 0)(image)
        mean = torch.stack([model(image, torch.zeros(3, dtype=torch.long))[0] for model in models]).mean(0)
    torch.testing.assert_close(scores, mean)


@pytest.mark.parametrize("head", ["static", "dynamic", "per_task"])
def test_a_fixed_task_gives_its_logits_with_every_head(head):
    model = build(f"model/head={head}").eval()
    image, task = torch.randn(2, 2, *PATCH), torch.full((2,), 2)
    with torch.no_grad():
        torch.testing.assert_close(TaskNetwork([model], 2)(image), model(image, task)[0], atol=1e-4, rtol=1e-4)


def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, monkeypatch):
    model = small_model(TaskSet([make_task()]))
    with pytest.raises(InputError, match="task: found 'spleen'; expected one of liver"):
        save_onnx([model], tmp_path / "a", ["spleen"])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.tex").write_text("years")
    with pytest.raises(InputError, match="taken: found something else"):
        save_onnx([model], tmp_path / "taken")
    unresolved = small_model(TaskSet([make_task("t", ("MR",)).resolve([Normalization("zscore")])]))
    with pytest.raises(InputError, match="normalisation zscore without its numbers"):
        save_onnx([unresolved], tmp_path / "a")
    monkeypatch.setattr(graphs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"no package onnx, onnxscript; .*pip install 'uniseg\[onnx\]'"):
        save_onnx([model], tmp_path / "a")
    assert not (tmp_path / "a").exists()


PROGRAM = """
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("uniseg", "monai", "lightning"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import torch
image, scores = torch.load("window.pt")
program = torch.export.load("programs/ms.pt2").module()
torch.testing.assert_close(program(image), scores, atol=1e-3, rtol=1e-4)
"""


def test_a_program_of_one_task_needs_torch_alone(tmp_path):
    model = sharp_model()
    save_programs([model], tmp_path / "programs", ["ms"])
    image = torch.randn(3, 2, 8, 16, 16)
    with torch.no_grad():
        logits = model(image, torch.full((3,), 1))[0]
    scores = torch.stack([torch.zeros_like(logits[:, 0]), logits[:, 1], logits[:, 1] + logits[:, 2]], 1)
    torch.save((image, scores), tmp_path / "window.pt")
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=300, env={"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "programs/uniseg_programs.json").read_text())
    assert about["tasks"]["ms"]["graph"] == "ms.pt2"
