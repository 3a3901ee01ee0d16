"""PET in SUV: the arithmetic, the units, what is refused."""

import numpy as np
import pytest
from pydicom import Dataset

from scan_files import dicom_slice, save_slices
from uniseg.errors import InputError
from uniseg.images.files import read_volume

AFFINE = np.diag([-4.0, -4, 3, 1])
ACTIVITY = np.arange(24).reshape(2, 3, 4) * 100
HALF_LIFE_S = 6586.2
DOSE_BQ = 3.7e8


def pet(**values):
    """Two slices, 70 kg, injected an hour before the scan."""
    series = []
    for index, plane in enumerate(ACTIVITY):
        dataset = dicom_slice(plane, AFFINE, index, slope=2, modality="PT")
        dataset.Units, dataset.DecayCorrection, dataset.PatientWeight = "BQML", "START", "70"
        dataset.SeriesDate = dataset.AcquisitionDate = "20240301"
        dataset.SeriesTime, dataset.AcquisitionTime = "100000", f"1000{30 * (1 - index):02d}"
        drug = Dataset()
        drug.RadionuclideTotalDose, drug.RadionuclideHalfLife, drug.RadiopharmaceuticalStartTime = (
            DOSE_BQ,
            HALF_LIFE_S,
            "090000",
        )
        dataset.RadiopharmaceuticalInformationSequence = [drug]
        for name, value in values.items():
            own = drug if name.startswith("Radio") and name != "RadiopharmaceuticalInformationSequence" else dataset
            if value is None:
                delattr(own, name)
            else:
                setattr(own, name, value)
        series.append(dataset)
    return series


def suv(tmp_path, **values):
    return read_volume([save_slices(tmp_path / "pet", pet(**values))]).array[0]


def expected(decay_s):
    return ACTIVITY * 2 * 70e3 / (DOSE_BQ * 2 ** (-decay_s / HALF_LIFE_S))


def test_the_dose_decays_until_the_scan(tmp_path):
    np.testing.assert_allclose(suv(tmp_path), expected(3600), rtol=1e-6)


def test_a_dose_at_administration_does_not_decay(tmp_path):
    np.testing.assert_allclose(suv(tmp_path, DecayCorrection="ADMIN"), expected(0), rtol=1e-6)


def test_an_injection_before_midnight(tmp_path):
    late = {"SeriesTime": "003000", "AcquisitionTime": "003100", "RadiopharmaceuticalStartTime": "233000"}
    np.testing.assert_allclose(suv(tmp_path, **late), expected(3600), rtol=1e-6)


def test_a_full_date_of_injection_counts_first(tmp_path):
    np.testing.assert_allclose(
        suv(tmp_path, RadiopharmaceuticalStartDateTime="20240301083000.00+0100"), expected(5400), rtol=1e-6
    )


def test_suv_units_are_used_as_they_are(tmp_path):
    np.testing.assert_allclose(suv(tmp_path, Units="GML", PatientWeight=None), ACTIVITY * 2, rtol=1e-6)


BAD = {
    "CNTS": ({"Units": "CNTS"}, "PET in units CNTS; expected BQML or GML"),
    "no units": ({"Units": None}, "PET in units none"),
    "no weight": ({"PatientWeight": None}, "no PatientWeight"),
    "zero weight": ({"PatientWeight": "0"}, "PatientWeight 0"),
    "no drug": ({"RadiopharmaceuticalInformationSequence": None}, "no RadiopharmaceuticalInformationSequence"),
    "no dose": ({"RadionuclideTotalDose": None}, "no RadionuclideTotalDose"),
    "no half-life": ({"RadionuclideHalfLife": None}, "no RadionuclideHalfLife"),
    "no injection": ({"RadiopharmaceuticalStartTime": None}, "PET times"),
    "no acquisition": ({"AcquisitionTime": None}, "PET times"),
    "uncorrected": ({"DecayCorrection": "NONE"}, "DecayCorrection 'NONE'"),
    "rewritten series": ({"SeriesTime": "120000"}, "after the acquisition"),
    "injected later": ({"RadiopharmaceuticalStartDateTime": "20240301110000"}, "an injection at"),
}


@pytest.mark.parametrize("name", BAD)
def test_pet_that_gives_no_suv_is_refused(tmp_path, name):
    values, message = BAD[name]
    with pytest.raises(InputError, match=f"pet: found {message}|pet: found an? .*{message}"):
        suv(tmp_path, **values)
