"""PET activity -> standardised uptake value by body weight.

The vendor-neutral calculation of QIBA (https://qibawiki.rsna.org/index.php/Standardized_Uptake_Value_(SUV)): the dose
at the time to which the scanner corrected for decay, per gram of the body.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from uniseg.errors import InputError
from uniseg.images.dicom_file import Tags

SUV_TAGS = (
    "Units",
    "DecayCorrection",
    "PatientWeight",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "RadiopharmaceuticalInformationSequence",
    *("RealWorldValueMappingSequence", "DecayCorrected", "DecayCorrectionDateTime"),  # of multi-frame files
)
UNITS = {"g/ml{SUVbw}": "GML", "Bq/ml": "BQML"}  # of UCUM, in multi-frame files
MALFORMED = (ValueError, TypeError, AttributeError, IndexError, OverflowError)


def suv_factor(headers: Sequence[Tags], folder: Path) -> float:
    """Factor from rescaled voxels to SUV; 1 where they are SUV already (Units GML).

    Raises:
        InputError: other units than BQML or GML, or a tag that the calculation needs is missing or senseless.
    """
    first = headers[0]
    units = {header.text("Units") for header in headers}
    if units == {"GML"}:
        return 1.0
    if units != {"BQML"}:
        raise InputError(
            folder, f"PET in units {', '.join(sorted(units)) or 'none'}", "BQML or GML", "convert the scan to SUV"
        )
    weight_g = 1000 * _positive(first, "PatientWeight", folder)
    sequence = first.items("RadiopharmaceuticalInformationSequence")
    if not sequence:
        raise _lacking("RadiopharmaceuticalInformationSequence", folder)
    dose = _positive(sequence[0], "RadionuclideTotalDose", folder)
    correction = first.text("DecayCorrection")
    if correction == "START":
        dose *= 2 ** (-_decay_s(headers, sequence[0], folder) / _positive(sequence[0], "RadionuclideHalfLife", folder))
    elif correction != "ADMIN":
        raise InputError(folder, f"DecayCorrection '{correction}'", "START or ADMIN", "convert the scan to SUV")
    return weight_g / dose


def measured_units(mapping: Tags) -> str:
    """UCUM code of an item of RealWorldValueMappingSequence; empty where it has none."""
    return next((item.text("CodeValue") for item in mapping.items("MeasurementUnitsCodeSequence")), "")


def multi_frame_suv_factor(header: Tags, units: str, path: Path) -> float:
    """As ``suv_factor``, of a multi-frame file, whose frames say which units their rescaling leads to.

    Raises:
        InputError: other units, or a tag that the calculation needs is missing or senseless.
    """
    from pydicom.valuerep import DT

    if UNITS.get(units) == "GML":
        return 1.0
    if UNITS.get(units) != "BQML":
        raise InputError(path, f"PET in units {units or 'none'}", " or ".join(UNITS), "convert the scan to SUV")
    sequence = header.items("RadiopharmaceuticalInformationSequence")
    if not sequence:
        raise _lacking("RadiopharmaceuticalInformationSequence", path)
    if header.text("DecayCorrected") != "YES":
        raise InputError(path, f"DecayCorrected '{header.text('DecayCorrected')}'", "YES", "convert the scan to SUV")
    try:
        corrected = DT(header.text("DecayCorrectionDateTime")).replace(tzinfo=None)
        given = DT(sequence[0].text("RadiopharmaceuticalStartDateTime")).replace(tzinfo=None)
    except MALFORMED as error:
        found, expected = f"PET times that cannot be read ({error})", "times of injection and decay correction"
        raise InputError(path, found, expected, "convert it to SUV") from error
    if abs(corrected - given) >= timedelta(days=1):
        found = f"an injection at {given} for decay corrected to {corrected}"
        raise InputError(path, found, "less than a day between", "convert the scan to SUV")
    half_life = _positive(sequence[0], "RadionuclideHalfLife", path)
    dose = _positive(sequence[0], "RadionuclideTotalDose", path)
    dose *= 2 ** (-(corrected - given).total_seconds() / half_life)
    return 1000 * _positive(header, "PatientWeight", path) / dose


def _decay_s(headers: Sequence[Tags], drug: Tags, folder: Path) -> float:
    """Seconds from the injection to the start of the scan."""
    from pydicom.valuerep import DT

    try:
        start = _moment(headers[0].text("SeriesDate"), headers[0].text("SeriesTime"))
        acquired = min(_moment(header.text("AcquisitionDate"), header.text("AcquisitionTime")) for header in headers)
        start_time = drug.text("RadiopharmaceuticalStartDateTime")
        given = DT(start_time).replace(tzinfo=None) if start_time else None
        injected = given or _moment(headers[0].text("SeriesDate"), drug.text("RadiopharmaceuticalStartTime"))
    except MALFORMED as error:
        raise InputError(
            folder,
            f"PET times that cannot be read ({error})",
            "times of series, acquisition and injection",
            "convert it to SUV",
        ) from error
    if start > acquired:
        raise InputError(
            folder,
            f"a series time, {start}, after the acquisition, {acquired}",
            "that of the scanner's own series",
            "convert the scan to SUV",
        )
    if given is None and injected > start:
        injected -= timedelta(days=1)
    if not timedelta(0) <= start - injected < timedelta(days=1):
        raise InputError(
            folder,
            f"an injection at {injected} for a scan at {start}",
            "less than a day before the scan",
            "convert the scan to SUV",
        )
    return (start - injected).total_seconds()


def _moment(date: str, time: str) -> datetime:
    from pydicom.valuerep import DA, TM

    return datetime.combine(DA(date), TM(time))


def _positive(header: Tags, name: str, folder: Path) -> float:
    values = header.numbers(name)
    if len(values) != 1:
        raise _lacking(name, folder)
    if not 0 < values[0] < float("inf"):
        raise InputError(folder, f"{name} {values[0]:g}", "a positive number", "convert the scan to SUV")
    return values[0]


def _lacking(name: str, folder: Path) -> InputError:
    return InputError(folder, f"no {name}", "the tags that SUV needs", "convert the scan to SUV")
