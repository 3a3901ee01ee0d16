"""Where a task's scans lie, how they are laid out, whose they are: the ``source`` block of a task file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uniseg import plugins
from uniseg.datasets.split_file import expand_splits, read_splits
from uniseg.errors import InputError
from uniseg.normalization.base import Normalization
from uniseg.settings import COUNT, GROUPED_PATTERN, NOT_NEGATIVE, TEXT, bounded, word
from uniseg.task import SEGMENTATION, Task

LAYOUTS = "uniseg.datasets.layouts"
REFUSE, ABSENT, LATER = "refuse", "absent", "later"  # what becomes of missing and of overlapping masks


@dataclass(frozen=True)
class Source:
    """The ``source`` block of a task file.

    Attributes:
        layout: module of ``uniseg.datasets.layouts`` that finds the files, or the name of an installed package's.
        root: folder of the dataset.
        label_map: every label value in the file but 0 -> label value of the task; empty: they are those of the task
            already.
        ignore: label value in the file of voxels that do not count.
        absent: case ids without a label, or with one that holds no target, in which the target is known to be absent.
        patient_pattern: regular expression on the case id whose group 1 is the patient; None: a case is a patient.
        cases_per_patient: that many consecutive case numbers (group 1) belong to one patient.
        patient_namespace: datasets that share patients share this word; None: the root folder's name.
        splits: ``{train: [...], val: [...], test: [...]}`` by case id or patient, or a split in a JSON file as
            ``<path>`` or ``<path>#<key>`` (see ``split_file``), or None for what the dataset itself states, else the
            hash rule.
        pseudo: case ids whose labels a network wrote (``uniseg complete``), not a person.
        pseudo_weight: of their loss beside 1 of the others.
        homepage: where the data can be had.
        licence: of the data.
        citation: of the work that made them; cards of networks that learnt from them name it.
        masks: of a layout with one mask per class: class -> the masks that make it up; a class that is not listed has
            the mask of its own name.
        missing_masks: whether a mask that a case lacks is an error, or says that the scan has no such class.
        overlapping_masks: whether a voxel of two classes is an error, or of the later class in the task.

    Raises:
        InputError: a pattern that is none or has no group, a number below 1 of cases per patient, or another word for
            masks.

    Example:
        >>> source = Source("nnunet", Path("data/Task04_Hippocampus"), patient_pattern="_([0-9]+)$")
        >>> source.patient_id("hippocampus_007")
        'Task04_Hippocampus/007'
    """

    layout: str
    root: Path
    label_map: Mapping[int, int] = field(default_factory=dict)
    ignore: int | None = None
    absent: tuple[str, ...] = ()
    patient_pattern: str | None = field(default=None, metadata=bounded(GROUPED_PATTERN))
    cases_per_patient: int = field(default=1, metadata=bounded(COUNT))
    patient_namespace: str | None = None
    splits: Mapping[str, Sequence[str] | Mapping[str, str]] | str | None = field(default=None, metadata=TEXT)
    pseudo: tuple[str, ...] = ()
    pseudo_weight: float = field(default=1.0, metadata=bounded(NOT_NEGATIVE))
    homepage: str = ""
    licence: str = ""
    citation: str = ""
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing_masks: str = field(default=REFUSE, metadata=bounded(word(REFUSE, ABSENT)))
    overlapping_masks: str = field(default=LATER, metadata=bounded(word(LATER, REFUSE)))

    def __post_init__(self) -> None:
        for key, names in (("absent", self.absent), ("pseudo", self.pseudo)):
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise InputError(f"source.{key}", f"{names!r:.60}", "a list of case ids", "correct the task file")
        if not NOT_NEGATIVE.holds(self.pseudo_weight):
            found = f"{self.pseudo_weight!r:.60}"
            raise InputError("source.pseudo_weight", found, NOT_NEGATIVE.expected, "correct the task file")
        number = self.cases_per_patient
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InputError(
                "source.cases_per_patient", f"{number!r:.60}", "a whole number from 1", "correct the task file"
            )
        if self.patient_pattern is not None:
            self._check_pattern(self.patient_pattern)
        for key, words in (("missing_masks", (REFUSE, ABSENT)), ("overlapping_masks", (LATER, REFUSE))):
            if getattr(self, key) not in words:
                found = f"{getattr(self, key)!r:.60}"
                raise InputError(f"source.{key}", found, f"one of {', '.join(words)}", "correct the task file")

    @staticmethod
    def _check_pattern(pattern: str) -> None:
        expected, fix = "a regular expression whose group 1 is the patient, as '^(P[0-9]+)_'", "correct the task file"
        try:
            groups = re.compile(pattern).groups
        except (re.error, RecursionError, OverflowError, TypeError) as error:
            raise InputError("source.patient_pattern", f"'{pattern}' ({error})", expected, fix) from error
        if groups < 1:
            raise InputError("source.patient_pattern", f"'{pattern}' without a group", expected, fix)

    def patient_id(self, case_id: str) -> str:
        """``<namespace>/<patient>`` of a case.

        Raises:
            InputError: the pattern does not fit the case id, or finds no number where cases are counted.
        """
        patient = case_id
        if self.patient_pattern is not None:
            match = re.search(self.patient_pattern, case_id)
            if match is None or not match.group(1):
                expected = f"a name that fits patient_pattern '{self.patient_pattern}'"
                raise InputError(self.root, f"case '{case_id}'", expected, "correct the pattern")
            patient = match.group(1)
        if self.cases_per_patient > 1:
            if re.fullmatch("[0-9]{1,18}", patient) is None:
                found = f"'{patient}' of case '{case_id}' with cases_per_patient {self.cases_per_patient}"
                raise InputError(
                    self.root, found, "a case number", "let group 1 of source.patient_pattern be the number"
                )
            patient = str(-(-int(patient) // self.cases_per_patient))
        return self.global_id(patient)

    def global_id(self, patient: str) -> str:
        """``<namespace>/<patient>``."""
        return f"{self.patient_namespace or self.root.name}/{patient}"

    def given_splits(self) -> dict[str, list[str]] | None:
        """The names in each split that the task file gives, in full; None where it gives none.

        Raises:
            InputError: the splits or their file are malformed.
        """
        if self.splits is None:
            return None
        return read_splits(self.splits) if isinstance(self.splits, str) else expand_splits(self.root, self.splits)

    def loss_weights(self) -> dict[str, float]:
        """Case id -> weight of its loss, where that is not 1."""
        return {} if self.pseudo_weight == 1 else dict.fromkeys(self.pseudo, float(self.pseudo_weight))

    def find_layout(self) -> Any:
        """The module that finds the files, as ``layouts.base`` describes it.

        Raises:
            InputError: no layout has that name.
        """
        return plugins.load(LAYOUTS, self.layout, self.root, "layout")


@dataclass(frozen=True)
class TaskBlock:
    """A task file: what a network has to know of the task, and where the data lie.

    Attributes:
        normalization: by modality: its mode with the mode's parameters, as ``conf/normalization`` lists them.
        regions: label values by class, where classes overlap.
        codes: SNOMED CT codes by class, as of ``ClassCodes``; DICOM files of predictions carry them.
        kind: ``segmentation``, or ``pretext``: its scans need no labels.
        objective: what a pretext task learns: ``mae``, ``volume_fusion``, ``supervoxel`` or one of your own.
        modalities, classes, spacing_mm, optional, reference: as of ``Task``.

    Examples:
        >>> normalization = {"CT": {"mode": "window", "lower": -325, "upper": 325}}
        >>> source = Source("nnunet", Path("data"))
        >>> block = TaskBlock(("CT",), ("background", "liver"), (3, 1.5, 1.5), normalization, source)
        >>> block.make_task("liver").num_classes
        2
    """

    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    spacing_mm: tuple[float, ...]
    normalization: Mapping[str, Any]
    source: Source
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    reference: str | None = None
    codes: Mapping[str, Any] = field(default_factory=dict)
    kind: str = SEGMENTATION
    objective: str | None = None

    def make_task(self, name: str) -> Task:
        """The task called ``name``.

        Raises:
            InputError: a value that a task refuses.
        """
        return make_task(name, {each: getattr(self, each) for each in self.__dataclass_fields__ if each != "source"})


def make_task(name: str, values: dict) -> Task:
    """A task from the plain containers of its YAML block; keys that describe the source are not read."""
    fields = {key: values[key] for key in ("modalities", "classes", "spacing_mm")}
    missing = [modality for modality in values["modalities"] if modality not in values["normalization"]]
    if missing:
        raise InputError(
            f"task '{name}'", f"no normalization for {missing}", "one for each modality", "correct the task file"
        )
    where, hows = f"task '{name}'", values["normalization"]
    normalization = [Normalization.from_dict(hows[modality], where) for modality in values["modalities"]]
    regions = values.get("regions") or {}
    if set(regions) - set(fields["classes"][1:]) or (regions and len(regions) != len(fields["classes"]) - 1):
        raise InputError(
            f"task '{name}'",
            f"regions {list(regions)}",
            f"one for each of {fields['classes'][1:]}",
            "correct the task file",
        )
    return Task(
        name,
        normalization=tuple(normalization),
        regions=tuple(regions[c] for c in fields["classes"][1:]) if regions else (),
        optional=values.get("optional") or (),
        reference=values.get("reference"),
        codes=values.get("codes") or (),
        kind=values.get("kind") or SEGMENTATION,
        objective=values.get("objective"),
        **fields,
    )
