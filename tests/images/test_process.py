"""Importing the readers, and reading, changes no setting that the whole process shares."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import SimpleITK

SCRIPT = """
import logging, sys, warnings
import blosc2, nibabel, numpy, pydicom, scipy.special, SimpleITK, torch  # which set filters for warnings of their own

def state():
    loggers = {name: own.level for name, own in logging.Logger.manager.loggerDict.items() if hasattr(own, "level")}
    return {
        "pydicom": {name: str(value) for name, value in vars(pydicom.config).items()},
        "nibabel": (loggers.get("nibabel.global"), nibabel.imageglobals.error_level),
        "loggers": {name: level for name, level in loggers.items() if name.startswith(("pydicom", "nibabel"))},
        "ITK": SimpleITK.ProcessObject.GetGlobalWarningDisplay(),
        "ITK threads": SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads(),
        "warnings": [str(each) for each in warnings.filters],
        "numpy": numpy.geterr(),
        "torch": (torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()),
        "blosc2": blosc2.nthreads,
    }

before = state()
import uniseg.images.files, uniseg.cache.store, uniseg.preprocessing.preprocess
uniseg.images.files.read_volume(sys.argv[1])
uniseg.images.files.read_volume(sys.argv[2])
after = state()
changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
assert not changed, changed
"""


def test_nothing_is_switched_for_the_whole_process(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    image = SimpleITK.GetImageFromArray(values)
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    paths = (str(tmp_path / "a.nii.gz"), str(tmp_path / "a.nrrd"))
    done = subprocess.run([sys.executable, "-c", SCRIPT, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
