"""What tells a scan from another of its name."""

import os
import shutil

import numpy as np
import pytest

from samples import save_nifti
from scan_files import save_itk, save_series
from uniseg.errors import InputError
from uniseg.images.stamp import stamp

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
AFFINE = np.diag([-1.0, -1, 1, 1])


def later(path):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def test_a_file_by_size_and_time(tmp_path):
    path = save_nifti(tmp_path / "a.nii", ARRAY)
    stat = path.stat()
    assert stamp(path) == stamp(str(path)) == {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    later(path)
    assert stamp(path) == {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns + 1}
    with pytest.raises(InputError, match=r"b\.nii: found No such file"):
        stamp(tmp_path / "b.nii")


def test_a_series_by_every_slice(tmp_path):
    folder = save_series(tmp_path / "ct", ARRAY, AFFINE)
    before = stamp(folder)
    for name in ("ct.nii.gz", "ct.json", ".DS_Store"):
        (folder / name).write_text("ours, or the system's")
    assert stamp(folder) == before
    first, second = sorted(folder.glob("*.dcm"))
    os.utime(second, ns=(first.stat().st_atime_ns, first.stat().st_mtime_ns))
    alike = stamp(folder)
    shutil.move(first, folder / "spare")
    shutil.move(second, first)
    shutil.move(folder / "spare", second)
    assert stamp(folder) | {"files": ""} == alike | {"files": ""}
    os.utime(first, ns=(0, 0))
    assert stamp(folder)["files"] != alike["files"]


@pytest.mark.parametrize("ending", ["mhd", "nhdr"])
def test_a_header_with_its_voxels(tmp_path, ending):
    path = save_itk(tmp_path / f"a.{ending}", ARRAY, AFFINE)
    before = stamp(path)
    (voxels,) = (own for own in tmp_path.iterdir() if own != path)
    later(voxels)
    assert stamp(path)["files"] != before["files"]
