"""The scans of the study: phantoms, and real sets with the hippocampus as target."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scans:
    """What is learnt without labels, which other tasks have some, whom the few labelled patients are of.

    Attributes:
        name: of the experiments, ``<name>_base`` and ``<name>_target``.
        num_patients: labelled, of the target.
    """

    name: str
    target: str
    labelled: Sequence[str]
    mae: str
    volume_fusion: str
    num_patients: Sequence[int]

    @property
    def bases(self) -> dict[str, list[tuple[Sequence[str], float, list[str]]]]:
        """Base -> its trainings, one after the other: tasks, fraction of the steps, other settings."""
        # Half of the samples, as in the last arm, which has the same steps.
        half = [f"data.task_weights={{{self.mae}: {len(self.labelled)}}}"]
        return {
            "mae": [([self.mae], 1, [])],
            "volume fusion": [([self.volume_fusion], 1, [])],
            "segmentation": [(self.labelled, 1, [])],
            "segmentation with mae": [([*self.labelled, self.mae], 1, half)],
            "mae, then segmentation": [([self.mae], 0.5, []), (self.labelled, 0.5, [])],
        }


ORGANS = ["liver", "kidney", "hepatic_vessel", "pancreas", "lung", "spleen", "vertebrae", "prostate", "brain_tumour"]
PHANTOMS = Scans(
    "pretext", "pretext_stomach", [f"phantom_{name}" for name in ORGANS], "pretext_mae", "pretext_volume_fusion", (2,)
)
HIPPOCAMPUS = Scans(
    "pretext_hippocampus",
    "hippocampus",
    ["chaos_t2", "acdc", "sts_ctmr", "brats2015", "ms_lesion"],
    "hippocampus_mae",
    "hippocampus_volume_fusion",
    (1, 2, 5),
)
SCANS = {"phantoms": PHANTOMS, "hippocampus": HIPPOCAMPUS}
