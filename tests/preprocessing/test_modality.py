"""Kinds of scans by header and values."""

import os
from pathlib import Path

import numpy as np
import pytest

from uniseg.images.files import read_volume
from uniseg.preprocessing.modality import foreign_kind, guess, kind_of

DATA = Path(os.environ.get("UNISEG_DATA", Path(__file__).parents[3] / "shared" / "data"))
KINDS = {
    "hippocampus_msd": ("MR",),
    "chaos_t2_abdomen": ("MR",),
    "acdc_heart": ("MR",),
    "sts_ct": ("CT",),
    "sts_ctmr": ("CT", "MR"),
    "sts_pet": ("PET",),
    "ms_lesion_ljubljana": ("MR",) * 4,
    "la2018_left_atrium": ("MR",),
    "lung_gtv_pycerr": ("CT",),
    "totalsegmentator_ct": ("CT",),
}
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(20, 20, 20))
BODY = np.abs(NOISE) < 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.where(BODY, 40 + 30 * NOISE, -1000), "CT"),
        (np.where(BODY, 40 + 30 * NOISE, -2048 + 0 * NOISE).clip(-1024), "CT"),
        (np.where(BODY, 300 + 90 * NOISE, 0).clip(0), "MR"),
        (np.where(BODY, 2 * NOISE + 1.6, -0.4), "MR"),  # z-scored inside
        (np.where(BODY, 0.3, 0.02) + (NOISE > 2.3) * 8, "PET"),
        (NOISE, ""),
        ((40 + 100 * NOISE).clip(-160, 240), ""),  # a window of CT: could be anything
    ],
)
def test_values_tell(values, kind):
    found = guess(values.astype(np.float32))
    assert (found.kind, "values from" in found.reason) == (kind, True)


def test_the_header_of_dicom_wins():
    assert guess(np.zeros((2, 2, 2), np.float32), "PT").kind == "PET"
    assert guess(np.zeros((2, 2, 2), np.float32), "US").kind == "MR", "what no task knows is not believed"


def test_sequences_are_of_mr():
    assert [kind_of(name) for name in ("CT", "PET", "T1ce", "cine")] == ["CT", "PET", "MR", "MR"]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real scans at {DATA}; set UNISEG_DATA")
@pytest.mark.parametrize("name", KINDS)
def test_real_scans_are_taken_for_what_they_are(name):
    for channel, kind in enumerate(KINDS[name]):
        paths = sorted(DATA.glob(f"{name}/imagesTr/*_{channel:04d}.nii.gz"))[:10]
        assert paths
        assert {guess(read_volume([path]).array[0]).kind for path in paths} == {kind}


def test_another_kind_is_reported_only_where_it_is_certain():
    rng = np.random.default_rng(0)
    ct = rng.normal(40, 12, (8, 8, 8)).astype(np.float32)
    mr, cropped = np.abs(ct) * 8, ct - 20
    with_air = ct.copy()
    with_air[:2] = -1000
    assert [foreign_kind(image, "", "CT") for image in (with_air, cropped, mr)] == ["", "", "MR"]
    assert [foreign_kind(image, "", "T1") for image in (with_air, cropped, mr)] == ["CT", "", ""]
    assert [foreign_kind(image, "", "PET") for image in (with_air, cropped, mr)] == ["CT", "", ""]
    assert foreign_kind(cropped, "MR", "CT") == "MR"
    assert foreign_kind(mr, "CT", "CT") == ""
