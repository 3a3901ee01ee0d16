"""The layout of AutoPET 2022, whole-body FDG-PET/CT with tumour lesions, in its NIfTI edition.

Get it: https://fdat.uni-tuebingen.de/records/wf9fy-txq84 (the DICOM original: https://doi.org/10.7937/gkr0-xv29).
Licence: see homepage. Cite: Gatidis et al., A whole-body FDG-PET/CT dataset with manually annotated tumor lesions,
Scientific Data 9, 2022.

The case id is the patient's folder with the study's rank among the sorted study folders: ``PETCT_0011f3deaf_0``. The
published case names look alike, but their index followed the order in which the authors' disk listed the folders, so it
cannot be found again: the published split is carried by patient. That deviates from it where a patient of the list has
further studies (without lesions, for instance, which the published recipe dropped): all of them are in the patient's
split.
"""

from collections.abc import Iterator
from pathlib import Path

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.errors import InputError

ROOT_HOLDS = "PETCT_<patient>/<study>/ with CTres.nii.gz, SUV.nii.gz, SEG.nii.gz"

IMAGES = {"CT": "CTres.nii.gz", "PET": "SUV.nii.gz"}
LABEL = "SEG.nii.gz"


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``PETCT_<patient>/<study>/`` with ``CTres.nii.gz`` (CT on the PET's grid), ``SUV.nii.gz`` (PET), ``SEG.nii.gz``.

    A study without lesions has a ``SEG.nii.gz`` too, of zeros: an ordinary case whose target is absent.

    Raises:
        InputError: a modality other than CT or PET.
    """
    unknown = [modality for modality in modalities if modality not in IMAGES]
    if unknown:
        raise InputError(
            root, f"modality '{unknown[0]}'", f"one of {', '.join(IMAGES)}", "correct the task's modalities"
        )
    for patient in sorted(root.glob("PETCT_*")):
        for rank, label in enumerate(sorted(patient.glob(f"*/{LABEL}"))):
            yield LayoutCase(
                f"{patient.name}_{rank}", tuple(label.parent / IMAGES[modality] for modality in modalities), label
            )
