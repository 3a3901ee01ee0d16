"""One trained network, one scan: each task finds its own target, however the scan is stored."""

import json

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations as ornt

from started import succeed
from uniseg import Predictor
from uniseg.images.files import read_label, read_volume

LIVER, SPLEEN = "phantom_liver", "phantom_spleen"


@pytest.fixture(scope="module")
def predictor(prepared):
    """A network trained for liver in some scans, spleen in others."""
    settings = ["experiment=demo", f"task=[{LIVER},{SPLEEN}]", "run_dir=outputs/swap", "trainer.accelerator=cpu"]
    steps = ["data.batch_size=2", "data.steps_per_epoch=450", "data.val_steps=2", "trainer.max_epochs=1"]
    succeed("train", *settings, *steps, cwd=prepared)
    return Predictor.from_pretrained(prepared / "outputs/swap/checkpoints/last.ckpt")


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_each_task_finds_its_own_target(prepared, predictor):
    suite = prepared / "outputs/phantoms"
    scan = suite / "unseen/unseen_0000.nii.gz"
    truth = read_label(suite / "truth/unseen.nii.gz", [scan])
    value = json.loads((suite / "truth/structures.json").read_text())
    liver = np.isin(truth, [value[name] for name in ("liver", "hepatic_vessel", "liver_tumour")])
    spleen = truth == value["spleen"]
    labels = predictor.predict(read_volume([scan]), [LIVER, SPLEEN])
    assert dice(labels[LIVER] > 0, liver) > 0.6
    assert dice(labels[SPLEEN] > 0, spleen) > 0.4
    assert dice(labels[LIVER] > 0, spleen) < 0.1
    assert dice(labels[SPLEEN] > 0, liver) < 0.1


def test_the_orientation_of_the_file_does_not_matter(prepared, predictor, tmp_path):
    scan = prepared / "outputs/phantoms/unseen/unseen_0000.nii.gz"
    image = nib.load(scan)
    turned = image.as_reoriented(
        ornt.ornt_transform(ornt.io_orientation(image.affine), ornt.axcodes2ornt(("I", "R", "A")))
    )
    nib.save(turned, tmp_path / "turned.nii.gz")
    one = predictor.predict(read_volume([scan]), [LIVER])[LIVER]
    other = predictor.predict(read_volume([tmp_path / "turned.nii.gz"]), [LIVER])[LIVER]
    assert np.count_nonzero(one) > 100
    assert dice(one > 0, other > 0) >= 0.95
