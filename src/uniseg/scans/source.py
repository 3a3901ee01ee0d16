"""Where a task's scans lie, how they are laid out, whose they are."""

import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from uniseg.errors import InputError
from uniseg.scans import datasets
from uniseg.scans.case import Case
from uniseg.scans.split_file import expand_split, read_split


@dataclass(frozen=True)
class Source:
    """The ``source`` block of a task file.

    Attributes:
        layout: module of ``uniseg.scans.datasets`` that finds the files.
        root: folder of the dataset.
        label_map: label value in the file -> class index; empty: values are class indices already.
        patient_pattern: regular expression on the case id whose group 1 is the patient; None: a case is a patient.
        cases_per_patient: that many consecutive case numbers (group 1) belong to one patient.
        patient_namespace: datasets that share patients share this word; None: the root folder's name.
        splits: ``{train: [...], dev: [...], test: [...]}`` by case id or patient, or such a split in a JSON file as
            ``<path>`` or ``<path>#<key>`` (see ``split_file``), or None for the hash rule.
        homepage: where the data can be had.
        licence: of the data.
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

    def patient_id(self, case_id: str) -> str:
        """``<namespace>/<patient>`` of a case.

        Raises:
            InputError: the pattern does not fit the case id.
        """
        patient = case_id
        if self.patient_pattern is not None:
            match = re.search(self.patient_pattern, case_id)
            if match is None:
                raise InputError(self.root, f"case '{case_id}'", f"a name that fits patient_pattern '{self.patient_pattern}'", "correct the pattern")
            patient = match.group(1)
        if self.cases_per_patient > 1:
            patient = str(-(-int(patient) // self.cases_per_patient))
        return f"{self.patient_namespace or self.root.name}/{patient}"

    def given_split(self) -> dict[str, list[str]] | None:
        """The names on each side of the split that the task file gives, in full; None where it gives none.

        Raises:
            InputError: the split or its file is malformed.
        """
        if self.splits is None:
            return None
        return read_split(self.splits) if isinstance(self.splits, str) else expand_split(self.root, self.splits)


def find_cases(source: Source, modalities: tuple[str, ...], optional=()) -> list[Case]:
    """All labelled cases of a dataset, sorted by case id.

    Raises:
        InputError: unknown layout, missing folder, missing channel file, no case at all.
    """
    layouts = sorted(m.name for m in iter_modules(datasets.__path__) if not m.name.startswith("_"))
    if source.layout not in layouts:
        raise InputError(source.root, f"layout '{source.layout}'", f"one of {', '.join(layouts)}", "correct source.layout")
    if not source.root.is_dir():
        raise InputError(source.root, "no such folder", f"a dataset in layout '{source.layout}'", "set paths.data or source.root")
    module = import_module(f"uniseg.scans.datasets.{source.layout}")
    cases = [Case(case_id, source.patient_id(case_id), tuple(images), label) for case_id, images, label in module.find_files(source.root, modalities)]
    if not cases:
        raise InputError(source.root, "no labelled case", f"files in layout '{source.layout}'", "check the folder")
    missing = [path for case in cases for path in (*case.image_paths, case.label_path) if path is not None and not path.exists()]
    if missing:
        raise InputError(
            missing[0], f"no such file ({len(missing)} missing in {source.root})", "one image per modality and a label per case", "restore the files"
        )
    return sorted(cases, key=lambda case: case.case_id)
