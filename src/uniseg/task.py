"""What the model must know about a task, as plain frozen values."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite

from uniseg.errors import InputError
from uniseg.files import require_file_name

NORMALIZATION_MODES = ("window", "fingerprint", "zscore")


@dataclass(frozen=True)
class Normalization:
    """How one modality's intensities become network input.

    ``window``: clip to [lower, upper], then scale linearly to [0, 1].
    ``fingerprint``: clip to [lower, upper], subtract ``mean``, divide by ``sd``, all taken over the
    foreground of the training cases (nnU-Net's CT scheme). ``zscore``: each case by its own mean and standard
    deviation; with ``masked`` over its non-zero voxels, the others set to 0.

    Values that are None are filled in by preparation, which is the only reader that meets them.
    """

    mode: str
    lower: float | None = None
    upper: float | None = None
    mean: float | None = None
    sd: float | None = None
    masked: bool | None = None

    def __post_init__(self) -> None:
        if self.mode not in NORMALIZATION_MODES:
            raise InputError("normalization", f"mode '{self.mode}'", f"one of {', '.join(NORMALIZATION_MODES)}", "correct the task file")
        if self.mode == "window" and not (self.lower is not None and self.upper is not None and self.lower < self.upper):
            raise InputError("normalization", f"window [{self.lower}, {self.upper}]", "lower < upper", "give both in the task file")

    @property
    def resolved(self) -> bool:
        if self.mode == "fingerprint":
            return None not in (self.lower, self.upper, self.mean, self.sd)
        return self.mode == "window" or self.masked is not None


@dataclass(frozen=True)
class Task:
    """One prompt: which modalities come in, which classes go out, at which spacing.

    Classes exclude each other (softmax; label value k is ``classes[k]``) unless ``regions`` says of which label values
    each foreground class is the union; such classes may overlap (sigmoid). Row 0 of a region task's logits is not read.

    Attributes:
        name: unique within a TaskSet; it names folders, so it is one file name.
        modalities: names in channel order; their number is the image's M.
        classes: names, ``classes[0]`` is the background.
        spacing_mm: voxel size (z, y, x) in mm that the network sees.
        normalization: one per modality, in the same order.
        regions: empty, or the label values of each foreground class, in the order of ``classes[1:]``.
        optional: modalities that a case may lack; their channels are then 0.
        reference: the modality on whose grid the others are resampled; None: all lie on one grid.

    Raises:
        InputError: a name that cannot be a file's, fewer than two classes, repeated names, a spacing that is not three positive numbers, a number of
            normalizations or regions that does not fit, an unknown modality, or no modality that is not optional.
    """

    name: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    normalization: tuple[Normalization, ...]
    regions: tuple[tuple[int, ...], ...] = ()
    optional: tuple[str, ...] = ()
    reference: str | None = None

    def __post_init__(self) -> None:
        for field in ("modalities", "classes", "spacing_mm", "normalization", "optional"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        object.__setattr__(self, "regions", tuple(tuple(values) for values in self.regions))
        require_file_name("task set", "task", self.name)
        where = f"task '{self.name}'"
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise InputError(where, f"modalities {list(self.modalities)}", "one or more different names", "correct the task file")
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise InputError(where, f"classes {list(self.classes)}", "background and one or more different names", "correct the task file")
        if len(self.spacing_mm) != 3 or not all(isfinite(s) and s > 0 for s in self.spacing_mm):
            raise InputError(where, f"spacing_mm {list(self.spacing_mm)}", "three positive numbers (z, y, x)", "correct the task file")
        if len(self.normalization) != len(self.modalities):
            raise InputError(where, f"{len(self.normalization)} normalizations", f"one for each of {list(self.modalities)}", "correct the task file")
        if self.regions and (len(self.regions) != len(self.classes) - 1 or not all(v and min(v) > 0 for v in self.regions)):
            raise InputError(where, f"regions {list(self.regions)}", f"label values above 0 for each of {list(self.classes[1:])}", "correct the task file")
        for name in (*self.optional, *([self.reference] if self.reference else [])):
            if name not in self.modalities:
                raise InputError(where, f"optional or reference modality '{name}'", f"one of {list(self.modalities)}", "correct the task file")
        if set(self.optional) >= set(self.modalities) or self.reference in self.optional:
            raise InputError(where, f"optional modalities {list(self.optional)}", "one modality, the reference, that every case has", "correct the task file")

    @property
    def num_modalities(self) -> int:
        return len(self.modalities)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def class_values(self) -> tuple[tuple[int, ...], ...]:
        """The label values of each foreground class, in the order of ``classes[1:]``."""
        return self.regions or tuple((k,) for k in range(1, self.num_classes))

    @property
    def membership(self) -> tuple[tuple[bool, ...], ...]:
        """``[V][K-1]``: whether label value v belongs to foreground class k; without regions V is the number of classes."""
        return tuple(tuple(value in own for own in self.class_values) for value in range(1 + max(map(max, self.class_values))))

    @property
    def num_labels(self) -> int:
        """Label values, 0 included."""
        return len(self.membership)

    @property
    def reference_position(self) -> int | None:
        return None if self.reference is None else self.modalities.index(self.reference)

    def resolve(self, normalization: Iterable[Normalization]) -> "Task":
        """The same task with the values that preparation measured."""
        return replace(self, normalization=tuple(normalization))

    def to_dict(self) -> dict:
        """Plain containers, for JSON, YAML and checkpoints."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()} | {"regions": [list(v) for v in self.regions]}

    @classmethod
    def from_dict(cls, values: Mapping) -> "Task":
        return cls(**{**values, "normalization": tuple(Normalization(**n) for n in values["normalization"])})


class TaskSet(tuple[Task, ...]):
    """An ordered tuple of tasks; a task's index is its position.

    Raises:
        InputError: no task, or two tasks of one name.
    """

    def __new__(cls, tasks: Iterable[Task]) -> "TaskSet":
        self = super().__new__(cls, tasks)
        names = [task.name for task in self]
        if not names or len(set(names)) < len(names):
            raise InputError("task set", f"tasks {names}", "one or more tasks of different names", "correct the task list")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self)

    def position(self, name: str) -> int:
        """Index of the task called ``name``.

        Raises:
            InputError: no task has that name.
        """
        if name not in self.names:
            raise InputError("task", f"'{name}'", f"one of {', '.join(self.names)}", "correct the name")
        return self.names.index(name)

    def to_list(self) -> list[dict]:
        return [task.to_dict() for task in self]

    @classmethod
    def from_list(cls, tasks: Iterable[Mapping]) -> "TaskSet":
        return cls(Task.from_dict(task) for task in tasks)
