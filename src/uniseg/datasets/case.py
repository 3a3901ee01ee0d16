"""A case: which files it is made of; all cases of a dataset, as its layout lists them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.datasets.masks import ClassMasks, choose_masks
from uniseg.datasets.source import Source
from uniseg.errors import InputError


@dataclass(frozen=True)
class Case:
    """One image with, usually, its label.

    Attributes:
        case_id: unique within its dataset.
        patient_id: ``<namespace>/<patient>``: one person has one patient_id over all datasets.
        image_paths: one file or DICOM folder per modality, in the task's order; None: the case lacks this optional
            modality. A single 4-D file may hold all modalities.
        label_path: None where the case has no label.
        absent: the target is known to be absent: all of it is background, and so is its label where it has one.
        split: train, val or test where the dataset itself states it.
        masks: of each foreground class its files, where the case has masks in place of a label map; ``label_path`` is
            then the folder that holds them.

    Examples:
        >>> Case("a", "set/a", (Path("ct.nii"), None), None).files
        (PosixPath('ct.nii'),)
    """

    case_id: str
    patient_id: str
    image_paths: tuple[Path | None, ...]
    label_path: Path | None
    absent: bool = False
    split: str | None = None
    masks: ClassMasks = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read of this case."""
        return tuple(path for path in (*self.image_paths, *self.label_files) if path is not None)

    @property
    def label_files(self) -> tuple[Path, ...]:
        """The label map, or the masks."""
        if self.masks:
            return tuple(path for paths in self.masks for path in paths)
        return () if self.label_path is None else (self.label_path,)


def find_cases(
    source: Source,
    modalities: tuple[str, ...],
    optional: tuple[str, ...] = (),
    classes: tuple[str, ...] = (),
    *,
    labelled: bool = True,
) -> list[Case]:
    """All cases of a dataset that have a label or are known to lack the target, sorted by case id.

    Args:
        source: where to look.
        modalities: in the task's order.
        optional: those that a case may lack.
        classes: of the task; they choose among the masks of a layout that has one per class.
        labelled: False: labels are left where they lie; all cases with an image count.

    Raises:
        InputError: unknown layout, missing folder, missing file, a case id twice, a wrong name in ``absent``, no case
            at all; as ``choose_masks``.
    """
    layout = source.find_layout()
    holds = getattr(layout, "ROOT_HOLDS", "")
    expected = f"a dataset in layout '{source.layout}'" + (f": {holds}" if holds else "")
    if not source.root.is_dir():
        raise InputError(source.root, "no such folder", expected, "set paths.data or source.root")
    listed = list(layout.find_files(source.root, modalities))
    if labelled:
        _check_listed(source, listed)
        listed = [each for each in listed if each.label_path or each.absent or each.case_id in source.absent]
    else:
        listed = [replace(each, label_path=None, absent=False, masks=None) for each in _each_image_once(listed)]
    if not listed:
        raise InputError(source.root, "no labelled case" if labelled else "no image", expected, "check the folder")
    _check_names(source, listed)
    masks = choose_masks(source, classes, listed) if labelled else {}
    cases = [replace(_case(source, each, modalities, optional), masks=masks.get(each.case_id, ())) for each in listed]
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


def dataset_warnings(source: Source, cases: Sequence[Case]) -> list[tuple[Path, str, str]]:
    """(where, found, expected) of what is odd in the dataset's own description without harm."""
    layout = source.find_layout()
    return list(layout.dataset_warnings(source.root, cases)) if hasattr(layout, "dataset_warnings") else []


def _case(source: Source, listed: LayoutCase, modalities: Sequence[str], optional: Sequence[str]) -> Case:
    images, where = listed.image_paths, listed.where or source.root
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
                f"case '{listed.case_id}' without {lacking[0]}",
                "an image of every modality that is not optional",
                "name its file",
            )
    if not any(images):
        raise InputError(
            where, f"case '{listed.case_id}' without any image", "at least one", "name a file or remove the case"
        )
    if listed.namespace is not None:
        source = replace(source, patient_namespace=listed.namespace)
    patient_id = source.patient_id(listed.case_id) if listed.patient is None else source.global_id(listed.patient)
    absent = listed.label_path is None or listed.case_id in source.absent
    return Case(listed.case_id, patient_id, images, listed.label_path, absent=absent, split=listed.split)


def _each_image_once(listed: Iterable[LayoutCase]) -> Iterator[LayoutCase]:
    """Without cases whose images an earlier one has: a layout may name an image without label in more than one way."""
    seen: set[Path] = set()
    for each in listed:
        paths = {path for path in each.image_paths if path is not None}
        if not paths & seen:
            seen |= paths
            yield each


def _check_listed(source: Source, listed: Sequence[LayoutCase]) -> None:
    known = {each.case_id for each in listed}
    for key, names in (("source.absent", source.absent), ("source.pseudo", source.pseudo)):
        for case_id in names:
            if case_id not in known:
                expected = f"one for every name in {key}"
                raise InputError(source.root, f"no image of case '{case_id}'", expected, f"correct {key}")


def _check_names(source: Source, listed: Sequence[LayoutCase]) -> None:
    name, number = Counter(each.case_id for each in listed).most_common(1)[0]
    if number > 1:
        second = [each for each in listed if each.case_id == name][1]
        raise InputError(
            second.where or second.label_path or source.root,
            f"case '{name}' {number} times",
            "each case once",
            "rename or remove one",
        )
