"""Which kind of scan an image is: as its header says, or as its values look."""

from dataclasses import dataclass

import numpy as np

CT, MR, PET = "CT", "MR", "PET"
NOT_MR = {"CT": CT, "CTA": CT, "CBCT": CT, "PET": PET, "PT": PET, "SUV": PET}
DICOM = {"CT": CT, "MR": MR, "PT": PET}
SAMPLE = 2**20
AIR_HU = (-1050, -850)
AIR_FRACTION = 0.01
LOWEST_HU = (-1100, -900)  # of a crop without air around
DIP = 0.5  # MR that was interpolated or z-scored goes below zero, but not as far as above
FRACTIONAL = 0.05
QUIET_SUV, BRIGHT_SUV, HIGHEST_SUV = 1.0, 1.5, 500


@dataclass(frozen=True)
class Guess:
    """``kind`` is CT, MR or PET, empty where nothing speaks for one; ``reason`` says what does.

    Examples:
        >>> guess(np.linspace(-1000, 1500, 1000).reshape(10, 10, 10)).kind
        'CT'
    """

    kind: str
    reason: str


def kind_of(modality: str) -> str:
    """CT, MR or PET; what a task calls otherwise (T1, FLAIR, cine) is a sequence of MR."""
    return NOT_MR.get(modality, MR)


def guess(values: np.ndarray, stated: str = "") -> Guess:
    """
    Args:
        values: of one modality ``[Z,Y,X]``.
        stated: Modality of a DICOM header; empty where there is none.
    """
    if stated in DICOM:
        return Guess(DICOM[stated], f"DICOM header says {stated}")
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.size // SAMPLE)]
    low, middle, high, highest = (float(v) for v in (sample.min(), *np.percentile(sample, [50, 99.5]), sample.max()))
    span = f"values from {low:.4g} to {highest:.4g}"
    air = float(((sample > AIR_HU[0]) & (sample < AIR_HU[1])).mean())
    if air >= AIR_FRACTION or LOWEST_HU[0] <= low <= LOWEST_HU[1]:
        return Guess(CT, f"{span}, {100 * air:.0f} % of them as air in Hounsfield units")
    if low < 0 and -low > DIP * highest:
        return Guess("", f"{span}: neither as CT, nor as MR, nor as PET")
    fractions = float((sample != np.rint(sample)).mean())
    if low >= 0 and fractions >= FRACTIONAL and middle < QUIET_SUV and high > BRIGHT_SUV and highest < HIGHEST_SUV:
        return Guess(PET, f"{span}, fractions, half of them below {middle:.2g}: as SUV")
    return Guess(MR, f"{span}: neither as CT nor as SUV")


def foreign_kind(values: np.ndarray, stated: str, modality: str) -> str:
    """The kind that an image certainly is although ``modality`` is another; empty where nothing is certain.

    Certain are a DICOM header, air in Hounsfield units, and, for CT, that no value is below 0.
    """
    kind = guess(values, stated).kind
    is_certain = stated in DICOM or kind == CT or (kind_of(modality) == CT and float(values.min()) >= 0)
    return kind if is_certain and kind != kind_of(modality) else ""
