"""Every command of docs/serve.md runs, in the order of the page, against a service in a process of its own."""

import re
import shlex
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from pages import DOCS
from samples import make_task, small_model
from served import save_scan, started
from started import succeed
from uniseg import TaskSet, save_model

PAGE = (DOCS / "serve.md").read_text()
BLOCKS = re.findall(r"^```(bash|text)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PYTHON = f'set -e\npython() {{ {shlex.quote(sys.executable)} "$@"; }}\n'


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    (_, serve), *others = [block for block in BLOCKS if "8765" in block[1]]
    words = shlex.split(serve)
    assert words[:2] == ["uniseg", "serve"]
    tasks = TaskSet([make_task("phantom_liver"), make_task("phantom_spleen")])
    save_model(small_model(tasks), tmp_path / "outputs/demo/checkpoints/last.ckpt")
    save_scan(tmp_path / "scan.nii.gz")
    arguments = [word for word in words[2:] if not word.startswith("port=")]
    with started(tmp_path, *arguments, "inference.device=cpu") as (_, address, _):
        for language, block in others:
            block = block.replace("http://127.0.0.1:8765", address)
            words = ["bash", "-c", PYTHON + block] if language == "bash" else [sys.executable, "-c", block]
            done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
            assert '"error":"' not in done.stdout.replace('"error":""', ""), block
    assert '"status":"ok"' in done.stdout
    assert '"state":"done"' in done.stdout, "with curl from the scan to its label map"
    assert (tmp_path / "liver.nii.gz").read_bytes() == (tmp_path / "out/phantom_liver/scan.nii.gz").read_bytes()
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/phantom_*/*"))
    assert written == [
        "named/phantom_liver/scan.nii.gz",
        "named/phantom_spleen/scan.nii.gz",
        "out/phantom_liver/scan.nii.gz",
        "slicer/phantom_liver/scan.seg.nrrd",
        "slicer/phantom_spleen/scan.seg.nrrd",
    ]
    succeed("predict", arguments[0], "input=scan.nii.gz", "output=ours", "inference.device=cpu", cwd=tmp_path)
    served, ours = (
        np.asarray(nib.load(tmp_path / name / "phantom_liver/scan.nii.gz").dataobj) for name in ("out", "ours")
    )
    assert len(np.unique(ours)) > 1
    np.testing.assert_array_equal(served, ours)
