"""What the model must know about a task, as plain frozen values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from numbers import Integral, Real

from uniseg.errors import InputError
from uniseg.files import require_file_name
from uniseg.normalization.base import Normalization
from uniseg.terminology import ClassCodes, listed_codes

IGNORE = -1  # label of voxels that nobody has labelled
LARGEST_LABEL = 32767  # label maps are written in 16 bits
MOST_TASKS, MOST_MODALITIES = 1000, 256
LONGEST_TEXT = 200  # characters of a class's or modality's name
SPACINGS_MM = (1e-4, 1e3)
SEGMENTATION, PRETEXT = "segmentation", "pretext"  # kinds of tasks


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
        codes: empty, or those of each foreground class, in the order of ``classes[1:]``; a list or a mapping by class
            is taken too. They name what is written: two tasks that differ in them alone are equal.
        kind: ``segmentation``, or ``pretext``: learnt without labels; ``classes`` are then what its head gives.
        objective: of a pretext task, by name (see ``uniseg.pretext``); None for a segmentation.

    Raises:
        InputError: a value of another type, a name that cannot be a file's, fewer than two classes, repeated names, a
            spacing that is not three positive numbers, a number of normalizations or regions that does not fit, a label
            value above ``LARGEST_LABEL``, an unknown modality, no modality that is not optional, or an objective of a
            segmentation.

    Examples:
        >>> zscore = Normalization("zscore")
        >>> task = Task("ms", ("T1", "FLAIR"), ("background", "lesion"), (1, 1, 1), (zscore, zscore), optional=("T1",))
        >>> task.num_modalities, task.class_values
        (2, ((1,),))
    """

    name: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    normalization: tuple[Normalization, ...]
    regions: tuple[tuple[int, ...], ...] = ()
    optional: tuple[str, ...] = ()
    reference: str | None = None
    codes: tuple[ClassCodes | None, ...] = field(default=(), compare=False)
    kind: str = SEGMENTATION
    objective: str | None = None

    def __post_init__(self) -> None:
        require_file_name("task set", "task", self.name)
        where = f"task '{self.name}'"
        for name in ("modalities", "classes", "optional"):
            object.__setattr__(self, name, tuple(_texts(getattr(self, name), where, name)))
        for name in ("spacing_mm", "normalization", "regions"):
            object.__setattr__(self, name, tuple(_listed(getattr(self, name), where, name)))
        object.__setattr__(self, "regions", tuple(tuple(_listed(values, where, "regions")) for values in self.regions))
        if not 0 < len(self.modalities) <= MOST_MODALITIES or len(set(self.modalities)) < len(self.modalities):
            raise InputError(
                where, f"modalities {_shown(self.modalities)}", "one or more different names", "correct the task file"
            )
        self._check_kind(where)
        fewest = 1 if self.is_pretext else 2
        if not fewest <= len(self.classes) <= 1 + LARGEST_LABEL or len(set(self.classes)) < len(self.classes):
            raise InputError(
                where,
                f"classes {_shown(self.classes)}",
                "background and one or more different names",
                "correct the task file",
            )
        if len(self.spacing_mm) != 3 or not all(_is_number(s, *SPACINGS_MM) for s in self.spacing_mm):
            expected = "three positive numbers (z, y, x), from {:g} to {:g} mm".format(*SPACINGS_MM)
            raise InputError(where, f"spacing_mm {_shown(self.spacing_mm)}", expected, "correct the task file")
        sound = all(isinstance(how, Normalization) for how in self.normalization)
        if len(self.normalization) != len(self.modalities) or not sound:
            found = f"{len(self.normalization)} normalizations"
            raise InputError(where, found, f"one for each of {_shown(self.modalities)}", "correct the task file")
        self._check_regions(where)
        object.__setattr__(self, "codes", listed_codes(self.codes, self.classes, where))
        for name in (*self.optional, *([] if self.reference is None else [self.reference])):
            if name not in self.modalities:
                found = f"optional or reference modality {name!r:.60}"
                raise InputError(where, found, f"one of {_shown(self.modalities)}", "correct the task file")
        if set(self.optional) >= set(self.modalities) or self.reference in self.optional:
            found = f"optional modalities {_shown(self.optional)}"
            expected = "one modality, the reference, that every case has"
            raise InputError(where, found, expected, "correct the task file")

    def _check_kind(self, where: str) -> None:
        objective = self.objective
        fits = self.kind in (SEGMENTATION, PRETEXT) and self.is_pretext == isinstance(objective, str) != (
            objective is None
        )
        if not fits or (self.is_pretext and self.regions):
            found = f"kind {self.kind!r:.60} with objective {objective!r:.60}" + " and regions" * bool(self.regions)
            expected = f"{PRETEXT} with an objective and no regions, or {SEGMENTATION} without one"
            raise InputError(where, found, expected, "correct the task file")

    def _check_regions(self, where: str) -> None:
        sound = all(values and all(_is_label(value) for value in values) for values in self.regions)
        if self.regions and (len(self.regions) != len(self.classes) - 1 or not sound):
            expected = f"label values above 0, up to {LARGEST_LABEL}, for each of {_shown(self.classes[1:])}"
            raise InputError(where, f"regions {_shown(self.regions)}", expected, "correct the task file")

    @property
    def is_pretext(self) -> bool:
        """Whether it is learnt without labels, so that nothing of it is predicted or scored."""
        return self.kind == PRETEXT

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
        """``[V][K-1]``: whether label value v belongs to foreground class k; without regions V is the number of
        classes.
        """
        rows: dict[int, set[int]] = {}
        for k, values in enumerate(self.class_values):
            for value in values:
                rows.setdefault(value, set()).add(k)
        nowhere = (False,) * (self.num_classes - 1)  # one row for the many values between
        return tuple(
            tuple(k in rows[value] for k in range(self.num_classes - 1)) if value in rows else nowhere
            for value in range(self.num_labels)
        )

    @property
    def num_labels(self) -> int:
        """Label values, 0 included."""
        return 1 + max(map(max, self.class_values), default=0)

    @property
    def reference_position(self) -> int | None:
        return None if self.reference is None else self.modalities.index(self.reference)

    def resolve(self, normalization: Iterable[Normalization]) -> "Task":
        """The same task with the values that preparation measured."""
        return replace(self, normalization=tuple(normalization))

    def is_prepared_as(self, prepared: "Task") -> bool:
        """Whether ``prepared`` is this task but for normalisations that preparation measured."""
        if replace(self, normalization=prepared.normalization) != prepared:
            return False
        pairs = zip(self.normalization, prepared.normalization, strict=True)
        return all(open_ == done or (not open_.resolved and open_.mode == done.mode) for open_, done in pairs)

    def to_dict(self) -> dict:
        """Plain containers, for JSON, YAML and checkpoints."""
        codes = {"codes": [each and asdict(each) for each in self.codes]} if self.codes else {}
        return self.definition() | codes

    def definition(self) -> dict:
        """What makes two tasks equal, in plain containers."""
        values = asdict(replace(self, codes=()))
        for key in ("codes", *(() if self.is_pretext else ("kind", "objective"))):  # as files of older versions have it
            del values[key]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()} | {
            "normalization": [how.to_dict() for how in self.normalization],
            "regions": [list(v) for v in self.regions],
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> "Task":
        """The task of ``to_dict``.

        Raises:
            InputError: a key that is missing or unknown, or a value that a task refuses.
        """
        given = _of_type(values, cls, "task")
        where = f"task {given['name']!r:.{LONGEST_TEXT}}"
        normalization = _listed(given["normalization"], where, "normalization")
        return cls(**{**given, "normalization": [Normalization.from_dict(how, where) for how in normalization]})


class TaskSet(tuple[Task, ...]):
    """An ordered tuple of tasks; a task's index is its position.

    Raises:
        InputError: no task, more than ``MOST_TASKS``, or two tasks of one name.

    Examples:
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (3, 1.5, 1.5), (Normalization("fingerprint"),))
        >>> TaskSet([liver]).names
        ('liver',)
    """

    def __new__(cls, tasks: Iterable[Task]) -> "TaskSet":
        self = super().__new__(cls, tasks)
        names = [task.name for task in self]
        if not 0 < len(names) <= MOST_TASKS or len(set(names)) < len(names):
            raise InputError(
                "task set", f"tasks {_shown(names)}", "one or more tasks of different names", "correct the task list"
            )
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

    @property
    def segmentations(self) -> tuple[Task, ...]:
        """Those that are predicted and scored: all but pretext tasks."""
        return tuple(task for task in self if not task.is_pretext)

    def to_list(self) -> list[dict]:
        return [task.to_dict() for task in self]

    @classmethod
    def from_list(cls, tasks: Iterable[Mapping]) -> "TaskSet":
        return cls(Task.from_dict(task) for task in _listed(tasks, "task set", "tasks"))


def _of_type(values: object, kind: type, where: str) -> dict:
    """``values``, if they are a mapping with the fields of the dataclass ``kind``, at least those without a default."""
    names = {field.name: field for field in fields(kind)}
    required = {name for name, field in names.items() if field.default is MISSING}
    if not isinstance(values, Mapping) or not required <= values.keys() <= names.keys():
        found = f"keys {_shown(list(values))}" if isinstance(values, Mapping) else f"{values!r:.60}"
        raise InputError(where, found, f"the fields of a {kind.__name__}: {', '.join(names)}", "correct the task file")
    return dict(values)


def _listed(values: object, where: str, field: str) -> Sequence:
    """``values``, if they are a list: the letters of a text are none."""
    if not isinstance(values, (list, tuple)):
        raise InputError(where, f"{field} {values!r:.60}", "a list", "correct the task file")
    return values


def _texts(values: object, where: str, field: str) -> Sequence[str]:
    for value in _listed(values, where, field):
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable():
            expected = f"printable names of at most {LONGEST_TEXT} characters"
            raise InputError(
                where, f"{value!r:.60} among the {field}", expected, "correct the task file; put numbers in quotes"
            )
    return values


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and low <= value <= high


def _is_label(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 1 <= value <= LARGEST_LABEL


def _shown(values: Sequence) -> str:
    """In one line, however many."""
    return f"{list(values[:12])!r:.300}" + (f" and {len(values) - 12} more" if len(values) > 12 else "")
