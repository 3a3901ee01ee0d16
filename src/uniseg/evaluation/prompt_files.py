"""What a run keeps of its prompts, as NPZ files."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np

from uniseg.errors import InputError
from uniseg.files import write_atomically


@dataclass(frozen=True)
class PromptFile:
    """Arrays of one NPZ file, a field each; ``tasks`` are names ``[T]``.

    Examples:
        >>> PromptEvolution.load(Path("no_such_file.npz")) is None
        True
    """

    tasks: np.ndarray

    def save(self, path: Path) -> None:
        """The file appears whole or not at all."""
        with write_atomically(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """None where there is no file.

        Raises:
            InputError: not what ``save`` writes.
        """
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file) as content:
                loaded = cls(**{field.name: content[field.name] for field in fields(cls)})
            if loaded.tasks.ndim != 1 or loaded.tasks.dtype.kind != "U" or not loaded.fits:
                raise ValueError("arrays of other shapes or types")
        except Exception as error:  # NumPy's reader raises errors of many types over a damaged header
            reason = f"{type(error).__name__} ({' '.join(str(error).split())[:200]})"
            raise InputError(path, reason, "the arrays that uniseg writes", "remove the file") from error
        return loaded

    @property
    def fits(self) -> bool:
        """Whether the arrays have the shapes and types that belong together."""
        raise NotImplementedError


@dataclass(frozen=True)
class PromptSimilarity(PromptFile):
    """Cosine matrices ``[T,T]`` of the task prompts over ``num_windows`` validation windows, of the universal prompt's
    rows, which added tasks have not.

    Examples:
        >>> PromptSimilarity(np.array(["liver"]), np.eye(1), np.eye(1), np.array(2)).fits
        True
    """

    cosine: np.ndarray
    universal: np.ndarray
    num_windows: np.ndarray

    @property
    def fits(self) -> bool:
        rows = len(self.universal) if self.universal.ndim else -1
        shapes = self.cosine.shape == (len(self.tasks),) * 2 and self.universal.shape in ((rows,) * 2, (0,))
        numbers = (self.cosine, self.universal, self.num_windows)
        return (
            shapes
            and rows <= len(self.tasks)
            and self.num_windows.shape == ()
            and are_numbers(*numbers)
            and all(np.isfinite(n).all() for n in numbers)
        )


@dataclass(frozen=True)
class PromptMap(PromptFile):
    """Task prompts over one scan, at its task's spacing.

    Attributes:
        task, case_id, modality: what is seen in ``image``.
        spacing_mm: (z, y, x).
        image: ``[Z,Y,X]``, normalised.
        maps: ``[T,Z,Y,X]`` float16.

    Examples:
        >>> task, case, modality, image = *map(np.array, ("liver", "case_7", "CT")), np.zeros((2, 3, 4))
        >>> PromptMap(np.array(["liver"]), task, case, modality, np.ones(3), image, image[None]).fits
        True
    """

    task: np.ndarray
    case_id: np.ndarray
    modality: np.ndarray
    spacing_mm: np.ndarray
    image: np.ndarray
    maps: np.ndarray

    @property
    def fits(self) -> bool:
        words = all(word.shape == () and word.dtype.kind == "U" for word in (self.task, self.case_id, self.modality))
        shapes = (
            self.image.ndim == 3
            and self.maps.shape == (len(self.tasks), *self.image.shape)
            and self.spacing_mm.shape == (3,)
        )
        return (
            words
            and shapes
            and min(self.image.shape) > 0
            and are_numbers(self.spacing_mm, self.image, self.maps)
            and bool((self.spacing_mm > 0).all())
        )


@dataclass(frozen=True)
class PromptEvolution(PromptFile):
    """Cosine matrices of the task prompts on one validation batch: ``epochs [E]``, ``steps [E]`` that were done,
    ``cosine [E,T,T]``.

    Examples:
        >>> evolution = PromptEvolution.empty(["liver", "lung"]).append(0, 250, np.eye(2))
        >>> len(evolution.before(250).epochs)
        0
    """

    epochs: np.ndarray
    steps: np.ndarray
    cosine: np.ndarray

    @property
    def fits(self) -> bool:
        num_epochs, num_tasks = self.epochs.size, len(self.tasks)
        shapes = self.epochs.shape == self.steps.shape == (num_epochs,)
        shapes = shapes and self.cosine.shape == (num_epochs, num_tasks, num_tasks)
        return shapes and are_numbers(self.epochs, self.steps, self.cosine)

    def before(self, step: int) -> "PromptEvolution":
        """Without what was seen at ``step`` or later, as a run needs that resumes from an earlier step."""
        kept = self.steps < step
        return PromptEvolution(self.tasks, self.epochs[kept], self.steps[kept], self.cosine[kept])

    def append(self, epoch: int, step: int, cosine: np.ndarray) -> "PromptEvolution":
        """With one more matrix at the end."""
        return PromptEvolution(
            self.tasks,
            np.append(self.epochs, epoch),
            np.append(self.steps, step),
            np.concatenate([self.cosine, cosine[None]]),
        )

    @classmethod
    def empty(cls, tasks: list[str]) -> "PromptEvolution":
        """Of a run before its first validation."""
        return cls(
            np.array(tasks),
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.zeros((0, len(tasks), len(tasks)), np.float32),
        )


def are_numbers(*arrays: np.ndarray) -> bool:
    """Whether their elements are whole or floating-point numbers."""
    return all(array.dtype.kind in "iuf" for array in arrays)
