"""Where a task's scans lie, how they are laid out, whose they are."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from uniseg.datasets import layouts as datasets
from uniseg.datasets.case import Case
from uniseg.datasets.layouts import Files
from uniseg.datasets.split_file import expand_splits, read_splits
from uniseg.errors import InputError


@dataclass(frozen=True)
class Source:
    """The ``source`` block of a task file.

    Attributes:
        layout: module of ``uniseg.datasets.layouts`` that finds the files.
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
        homepage: where the data can be had.
        licence: of the data.

    Raises:
        InputError: a pattern that is none or has no group, or a number below 1 of cases per patient.
    """

    layout: str
    root: Path
    label_map: dict[int, int] = field(default_factory=dict)
    ignore: int | None = None
    absent: tuple[str, ...] = ()
    patient_pattern: str | None = None
    cases_per_patient: int = 1
    patient_namespace: str | None = None
    splits: dict[str, list[str]] | str | None = None
    homepage: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.absent, str) or not all(isinstance(name, str) for name in self.absent):
            raise InputError("source.absent", f"{self.absent!r:.60}", "a list of case ids", "correct the task file")
        number = self.cases_per_patient
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InputError(
                "source.cases_per_patient", f"{number!r:.60}", "a whole number from 1", "correct the task file"
            )
        if self.patient_pattern is not None:
            self._check_pattern(self.patient_pattern)

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


def find_cases(source: Source, modalities: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[Case]:
    """All cases of a dataset that have a label or are known to lack the target, sorted by case id.

    Args:
        source: where to look.
        modalities: in the task's order.
        optional: those that a case may lack.

    Raises:
        InputError: unknown layout, missing folder, missing file, a case id twice, a wrong name in ``absent``, no case
            at all.
    """
    layouts = sorted(m.name for m in iter_modules(datasets.__path__) if not m.name.startswith("_"))
    if source.layout not in layouts:
        raise InputError(
            source.root, f"layout '{source.layout}'", f"one of {', '.join(layouts)}", "correct source.layout"
        )
    if not source.root.is_dir():
        raise InputError(
            source.root, "no such folder", f"a dataset in layout '{source.layout}'", "set paths.data or source.root"
        )
    found = list(import_module(f"uniseg.datasets.layouts.{source.layout}").find_files(source.root, modalities))
    _check_absent(source, found)
    found = [files for files in found if files.label_path or files.absent or files.case_id in source.absent]
    if not found:
        raise InputError(source.root, "no labelled case", f"files in layout '{source.layout}'", "check the folder")
    _check_names(source, found)
    cases = [_case(source, files, modalities, optional) for files in found]
    missing = [
        path for case in cases for path in (*case.image_paths, case.label_path) if path and not os.path.exists(path)
    ]
    if missing:
        raise InputError(
            missing[0],
            f"no such file ({len(missing)} missing in {source.root})",
            "one image per modality and a label per case",
            "restore the files",
        )
    return sorted(cases, key=lambda case: case.case_id)


def remarks(source: Source, cases: Sequence[Case]) -> list[tuple[Path, str, str]]:
    """(where, found, expected) of what is odd in the dataset's own description without harm."""
    module = import_module(f"uniseg.datasets.layouts.{source.layout}")
    return list(module.remarks(source.root, cases)) if hasattr(module, "remarks") else []


def _case(source: Source, files: Files, modalities: Sequence[str], optional: Sequence[str]) -> Case:
    images, where = files.image_paths, files.where or source.root
    if len(images) == len(modalities):
        images = tuple(
            None if modality in optional and path and not os.path.exists(path) else path
            for path, modality in zip(images, modalities, strict=True)
        )
        lacking = [
            modality
            for path, modality in zip(images, modalities, strict=True)
            if path is None and modality not in optional
        ]
        if lacking:
            raise InputError(
                where,
                f"case '{files.case_id}' without {lacking[0]}",
                "an image of every modality that is not optional",
                "name its file",
            )
    if not any(images):
        raise InputError(
            where, f"case '{files.case_id}' without any image", "at least one", "name a file or remove the case"
        )
    patient_id = source.patient_id(files.case_id) if files.patient is None else source.global_id(files.patient)
    absent = files.label_path is None or files.case_id in source.absent
    return Case(files.case_id, patient_id, images, files.label_path, absent=absent, split=files.split)


def _check_absent(source: Source, found: Sequence[Files]) -> None:
    known = {files.case_id for files in found}
    for case_id in source.absent:
        if case_id not in known:
            raise InputError(
                source.root,
                f"no image of case '{case_id}'",
                "one for every name in source.absent",
                "correct source.absent",
            )


def _check_names(source: Source, found: Sequence[Files]) -> None:
    name, number = Counter(files.case_id for files in found).most_common(1)[0]
    if number > 1:
        second = [files for files in found if files.case_id == name][1]
        raise InputError(
            second.where or second.label_path or source.root,
            f"case '{name}' {number} times",
            "each case once",
            "rename or remove one",
        )
