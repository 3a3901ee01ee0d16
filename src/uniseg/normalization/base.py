"""What every normalisation is: a mode with its parameters, completed by preparation, applied to one modality."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from inspect import getmembers, isclass
from numbers import Real
from typing import Any

import numpy as np

from uniseg import plugins
from uniseg.errors import InputError
from uniseg.settings import Bound, bounded

PACKAGE = "uniseg.normalization"
LARGEST_INTENSITY = 1e30  # float32 ends at 3e38
SMALLEST_SD = 1e-8
# Keys of every file, null where a mode does not have them; other parameters are written where they differ from the
# default.
ALWAYS_WRITTEN = ("lower", "upper", "mean", "sd", "masked")
FIX = "correct the task file"


def _is_intensity(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) <= LARGEST_INTENSITY


INTENSITY = Bound("a finite number", _is_intensity)
TRUTH = Bound("true or false", lambda value: value is True or value is False)


def measured(bound: Bound) -> Any:
    """A parameter that is None until preparation measures it."""
    return field(default=None, metadata=bounded(bound))


@dataclass(frozen=True, init=False)
class Normalization:
    """How one modality's intensities become network input.

    Called itself it gives the class of the mode. A class of one's own derives from it, as a frozen dataclass whose
    fields are its parameters, the first ``mode`` with its name; an installed package registers it under that name in
    the entry-point group ``uniseg.normalization``.

    Attributes:
        mode: name of the class's file, or of its entry point.
        masked: whether voxels outside the body are 0 afterwards.

    Raises:
        InputError: an unknown mode, or a parameter out of its bound.

    Example:
        >>> Normalization("window", lower=-325, upper=325)
        IntensityWindow(mode='window', lower=-325, upper=325)
    """

    mode: str
    masked = None

    def __new__(cls, mode: str | None = None, *values: Any, **parameters: Any) -> "Normalization":
        return super().__new__(find_mode(mode) if cls is Normalization else cls)

    def __post_init__(self) -> None:
        for each in fields(self):
            if "bound" in each.metadata:
                _require(each.name, getattr(self, each.name), each.metadata["bound"])

    @property
    def resolved(self) -> bool:
        """Whether all parameters are known; measured ones are not before preparation."""
        return True

    @property
    def is_shared(self) -> bool:
        """Whether tasks with equal parameters give the network equal images, though theirs are still to be measured."""
        return True

    def resolve(self, where: str, samples: np.ndarray, crop_ratio: float) -> "Normalization":
        """Itself with the parameters that are measured.

        Args:
            where: task with modality, for messages.
            samples: intensities of foreground voxels of the cases for training; NaN where a case lacks the modality.
            crop_ratio: median over the cases of the voxels that cropping leaves.

        Raises:
            InputError: there is nothing to measure.
        """
        return self

    def apply(self, values: np.ndarray, body: np.ndarray) -> None:
        """Normalise ``values [Z,Y,X]`` float32 in place, since a whole-body scan is a gigabyte.

        Args:
            body: ``[Z,Y,X]``, the voxels that are not air around; used where ``masked``.
        """
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain values for files; ``from_dict`` reads them."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        changed = {each.name for each in fields(self) if values[each.name] != each.default}
        known = {"mode": self.mode, **{key: values.get(key) for key in ALWAYS_WRITTEN}}
        return known | {key: value for key, value in values.items() if key in changed}

    @staticmethod
    def from_dict(values: object, where: str) -> "Normalization":
        """The normalisation of ``to_dict``, or of a task's YAML block.

        Args:
            where: the task, for messages.

        Raises:
            InputError: no mapping, or a mode or parameter that is unknown.
        """
        if not isinstance(values, Mapping) or "mode" not in values:
            found = f"keys {list(values)!r:.100}" if isinstance(values, Mapping) else f"{values!r:.60}"
            raise InputError(where, f"{found} as a normalization", "its mode with its parameters", FIX)
        known = {each.name for each in fields(find_mode(values["mode"]))}
        parameters = dict(values)
        for key, value in values.items():
            if key in ALWAYS_WRITTEN:
                _require(key, value, TRUTH if key == "masked" else INTENSITY)
                parameters[key] = float(value) if isinstance(value, int) and key != "masked" else value
            elif key not in known:
                raise InputError(where, f"'{key!s:.60}' for mode {values['mode']}", ", ".join(sorted(known)), FIX)
        return Normalization(**{key: value for key, value in parameters.items() if key in known})


def _require(name: str, value: object, bound: Bound) -> None:
    """None is a parameter that is not known yet."""
    if value is not None and not bound.holds(value):
        raise InputError("normalization", f"{name} {value!r:.60}", bound.expected, FIX)


@cache
def _built_in(mode: str) -> type[Normalization]:
    module: Any = plugins.load(PACKAGE, mode, "normalization", "mode")
    return next(member for _, member in getmembers(module, isclass) if member.__module__ == module.__name__)


def find_mode(mode: object) -> type[Normalization]:
    """The class of a mode: a file's beside this one, or what an installed package registers.

    Raises:
        InputError: nothing has that name, or something else than a normalisation has.
    """
    if isinstance(mode, str) and mode in plugins.built_in(PACKAGE):
        return _built_in(mode)
    loaded = plugins.load(PACKAGE, mode, "normalization", "mode")
    if not (isclass(loaded) and issubclass(loaded, Normalization)):
        raise InputError("normalization", f"mode '{mode}' from {loaded!r:.100}", "a subclass of Normalization", FIX)
    return loaded


def clip_and_scale(values: np.ndarray, limits: tuple[float, float], shift: float, scale: float) -> None:
    """Clip to ``limits``, subtract ``shift``, divide by ``scale``, in place."""
    np.clip(values, *limits, out=values)
    values -= shift
    values /= scale
