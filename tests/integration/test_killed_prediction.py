"""A folder of twenty scans, killed and started again."""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import time

import nibabel as nib
import numpy as np
import pytest

from started import PYTHON, succeed

NUM_SCANS, NUM_KILLS = 20, 4


def command(folder, output):
    checkpoint = folder / "outputs/demo/checkpoints/last.ckpt"
    return [
        "predict",
        f"checkpoint={checkpoint}",
        f"input={folder / 'twenty'}",
        f"output={output}",
        "modality=[CT]",
        "tasks=[phantom_liver,phantom_spleen]",
    ]


def hashes(output):
    paths = sorted(output.rglob("*.nii.gz"))
    return {
        str(path.relative_to(output)): hashlib.sha256(np.asarray(nib.load(path).dataobj).tobytes()).hexdigest()
        for path in paths
    }


def count(output):
    return len(list(output.rglob("*.nii.gz")))


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_maps(trained, tmp_path):
    scan = next((trained / "outputs/phantoms/unseen").glob("*.nii.gz"))
    (trained / "twenty").mkdir()
    for k in range(NUM_SCANS):
        shutil.copy(scan, trained / "twenty" / f"scan{k:02d}.nii.gz")
    succeed(*command(trained, tmp_path / "whole"), cwd=tmp_path)
    whole = hashes(tmp_path / "whole")
    assert len(whole) == 2 * NUM_SCANS
    broken, moments, kept = tmp_path / "broken", random.Random(0), 0
    for _ in range(NUM_KILLS):
        name, *overrides = command(trained, broken)
        started = subprocess.Popen(
            [PYTHON, "-m", f"uniseg.{name}", *overrides],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while count(broken) == kept and started.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        started.send_signal(signal.SIGKILL)
        started.wait()
        maps = hashes(broken) if broken.exists() else {}
        assert maps.items() <= whole.items(), "what is there is whole and the same"
        assert len(maps) >= kept, "what was finished stays"
        kept = len(maps)
    records = {
        path: json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        for path in broken.rglob("*.nii.gz")
    }
    written = {path: path.stat().st_mtime_ns for path, record in records.items() if "unfinished" not in record}
    succeed(*command(trained, broken), cwd=tmp_path)
    assert hashes(broken) == whole
    assert written
    assert all(path.stat().st_mtime_ns == before for path, before in written.items()), (
        "finished scans are not computed again"
    )
