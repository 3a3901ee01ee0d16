"""What the published weights answer: the eleven upstream tasks, frozen as they were trained.

They equal ``conf/task`` as shipped, but a file that is edited there does not change what these weights mean.
"""

from uniseg.normalization.base import Normalization
from uniseg.normalization.window import IntensityWindow
from uniseg.normalization.zscore import ZScore
from uniseg.task import Task, TaskSet

SCAN = ZScore(masked=False)
BRAIN = ZScore(masked=True)  # BraTS is normalised inside its non-zero mask
ABDOMEN = (3, 1.5, 1.5)
PER_MODALITY = {"CT": IntensityWindow(lower=-325, upper=325)}  # the others are z-scored
CT, BRATS = ("CT",), ("T1", "T1ce", "T2", "FLAIR")


def published_tasks() -> TaskSet:
    """In the order of the universal prompt's channels."""
    return TaskSet(
        [
            _task("liver", CT, ("liver", "tumour"), ABDOMEN),
            _task("kidney", CT, ("kidney", "tumour"), ABDOMEN),
            _task("hepatic_vessel", CT, ("vessel", "tumour"), ABDOMEN),
            _task("pancreas", CT, ("pancreas", "tumour"), ABDOMEN),
            _task("colon", CT, ("tumour",), ABDOMEN),
            _task("lung", CT, ("tumour",), ABDOMEN),
            _task("spleen", CT, ("spleen",), ABDOMEN),
            _task("vertebrae", CT, ("vertebra",), (4, 2, 2)),
            _task("prostate", ("T2",), ("prostate",), ABDOMEN),
            _task("brain_tumour", BRATS, ("oedema", "non_enhancing", "enhancing"), (1, 1, 1), BRAIN),
            _task("whole_body_tumour", ("CT", "PET"), ("tumour",), (8, 4, 4)),
        ]
    )


def _task(
    name: str,
    modalities: tuple[str, ...],
    foreground: tuple[str, ...],
    spacing_mm: tuple[float, float, float],
    zscore: Normalization = SCAN,
) -> Task:
    normalization = tuple(PER_MODALITY.get(modality, zscore) for modality in modalities)
    return Task(name, modalities, ("background", *foreground), spacing_mm, normalization)
