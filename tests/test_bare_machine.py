"""What a machine without the readers of other formats, and without an installed uniseg, must still do."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samples import make_task, save_nifti, small_model
from uniseg.environment import PACKAGE_DIR
from uniseg.task import TaskSet
from uniseg.weights.folder import save_model

# In a process of its own, where nothing is imported yet.
WORK = """
import importlib, importlib.metadata, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("SimpleITK", "pydicom", "wandb", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

installed = importlib.metadata.version
def version(name):
    if name == "uniseg":
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)

sys.meta_path.insert(0, Missing())
importlib.metadata.version = version
for command in ("prepare", "train", "evaluate", "report", "export"):
    importlib.import_module(f"uniseg.{command}")
from uniseg.commands.app import run
inputs = ("scans", "scan.nrrd", "slices")
codes = [run(["predict", *sys.argv[1:], f"input={name}", "output=out"]).code for name in inputs]
assert codes == [0, 2, 2], codes
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    save_nifti(folder / "scans/case_0000.nii.gz", np.zeros((10, 20, 20), np.int16))
    save_model(small_model(TaskSet([make_task()])), folder / "model")
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 1\nencoding: raw\n\n"
    (folder / "scan.nrrd").write_bytes(header.encode() + bytes(16))
    (folder / "slices").mkdir()
    (folder / "slices/1.dcm").write_bytes(bytes(128) + b"DICM" + bytes(64))
    return folder


def test_nifti_needs_no_reader_of_other_formats(folder):
    words = [sys.executable, "-c", WORK, f"checkpoint={folder / 'model'}", "tasks=[liver]"]
    environment = {"PYTHONPATH": str(PACKAGE_DIR.parent), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "installed" in line]
    assert [line.partition("found ")[2].partition(";")[0] for line in lines] == [
        "no SimpleITK installed",
        "no pydicom installed",
    ]
    written = json.loads((folder / "out/liver/case.json").read_text())
    assert written["uniseg"].endswith("+source")
