"""What a run keeps of a pretext task that gives back what was hidden: three planes of one validation patch."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from uniseg.evaluation.prompt_files import PromptFile, are_numbers


@dataclass(frozen=True)
class ReconstructedPatch(PromptFile):
    """Planes through the middle of the first modality, ``[4,rows,columns]`` each: the patch, what the network saw of
    it, what it gave back, 1 where it was hidden.

    Attributes:
        tasks: the name of the task alone.
        case_id, modality, step: of the patch; of the run.
        spacing_mm: z, y, x.
        axial, coronal, sagittal: cuts across z, y, x.

    Examples:
        >>> volume = np.zeros((2, 4, 4), np.float32)
        >>> cut = ReconstructedPatch.of([volume] * 4, "scans_mae", "case_1", "CT", 100, (2.0, 1.0, 1.0))
        >>> cut.axial.shape, cut.sagittal.shape
        ((4, 4, 4), (4, 2, 4))
    """

    case_id: np.ndarray
    modality: np.ndarray
    step: np.ndarray
    spacing_mm: np.ndarray
    axial: np.ndarray
    coronal: np.ndarray
    sagittal: np.ndarray

    @classmethod
    def of(
        cls,
        volumes: list[np.ndarray],
        task: str,
        case_id: str,
        modality: str,
        step: int,
        spacing_mm: tuple[float, float, float],
    ) -> Self:
        """Of four volumes ``[Z,Y,X]``: patch, seen, given back, hidden."""
        cuts = [
            np.stack([np.take(v, v.shape[axis] // 2, axis) for v in volumes]).astype(np.float16) for axis in range(3)
        ]
        words = (np.array(case_id), np.array(modality), np.array(step))
        return cls(np.array([task]), *words, np.array(spacing_mm, np.float32), *cuts)

    @property
    def cuts(self) -> tuple[np.ndarray, ...]:
        """Across z, y, x."""
        return (self.axial, self.coronal, self.sagittal)

    @property
    def fits(self) -> bool:
        words = all(word.shape == () and word.dtype.kind == "U" for word in (self.case_id, self.modality))
        shapes = all(cut.ndim == 3 and len(cut) == 4 and cut.size for cut in self.cuts)
        return (
            words
            and shapes
            and len(self.tasks) == 1
            and self.spacing_mm.shape == (3,)
            and are_numbers(self.spacing_mm, self.step, *self.cuts)
            and bool((self.spacing_mm > 0).all())
        )
