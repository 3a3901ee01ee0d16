"""Real scans with TotalSegmentator's classes, in its layout: what the shipped tasks make of them."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from uniseg.commands.builders import sources_of, tasks_of
from uniseg.datasets.case import find_cases
from uniseg.datasets.labels import load_case
from uniseg.environment import CONF_DIR

DATA = Path(os.environ.get("UNISEG_DATA", Path(__file__).parents[3] / "shared" / "data"))
# Data set -> folder of the scan, its case, its name in the layout, number of classes.
SCANS = {
    "totalsegmentator": ("totalsegmentator_ct", "ct", "ct.nii.gz", 117),
    "totalsegmentator_mr": ("totalsegmentator_mr", "mrsm", "mri.nii.gz", 50),
}


@pytest.mark.parametrize("dataset", list(SCANS))
def test_merged_masks_are_the_label_map(dataset, tmp_path):
    """Whose numbers are those of TotalSegmentator, in the order of the classes of all tasks; of the first two here."""
    folder, case_id, image, num_classes = SCANS[dataset]
    scan = DATA / folder / f"imagesTr/{case_id}_0000.nii.gz"
    if not scan.is_file():
        pytest.skip(f"no scan {scan} (set UNISEG_DATA)")
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", [f"dataset=[{dataset}]", "run_dir=.", f"paths.data={tmp_path}"])
    tasks, sources = tasks_of(config), sources_of(config)
    names = [name for task in tasks for name in task.classes[1:]]
    assert len(set(names)) == len(names) == num_classes

    stored = nib.load(DATA / folder / f"labelsTr/{case_id}.nii.gz")
    values = np.asarray(stored.dataobj)
    subject = sources[tasks[0].name].root / "s0000"
    (subject / "segmentations").mkdir(parents=True)
    (subject / image).symlink_to(scan)
    last = sum(task.num_classes - 1 for task in tasks[:2])
    for value, name in enumerate(names[:last], start=1):
        mask = nib.Nifti1Image((values == value).astype(np.uint8), stored.affine)
        nib.save(mask, subject / f"segmentations/{name}.nii.gz")

    canonical = nib.as_closest_canonical(nib.Nifti1Image(values.astype(np.int16), stored.affine))  # RAS
    expected = np.asarray(canonical.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]  # Z=S, Y=P, X=L
    merged, first = np.zeros_like(expected), 0
    for task in tasks[:2]:
        source = sources[task.name]
        (case,) = find_cases(source, task.modalities, classes=task.classes)
        volume, label = load_case(task, source, case)
        assert volume.array.shape[1:] == label.shape
        assert not any("overlap" in note for note in volume.notes)
        merged[label > 0] = label[label > 0] + first
        first += task.num_classes - 1
    assert (merged == np.where(expected <= last, expected, 0)).all()
    assert len(np.unique(merged)) > 20
