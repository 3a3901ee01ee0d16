"""A task with its cases, their splits, what was measured of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from uniseg.datasets.case import Case, find_cases
from uniseg.datasets.source import Source
from uniseg.datasets.splits import SplitTable, check_patients, split_cases
from uniseg.preprocessing.fingerprint import CaseFingerprint
from uniseg.task import Task, TaskSet


@dataclass(frozen=True)
class Dataset:
    """Which of a task's cases are in which split.

    Attributes:
        fingerprints: of the cases that an audit has read.

    Examples:
        >>> from pathlib import Path
        >>> from uniseg.task import Normalization
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> cases = {name: Case(name, f"set/{name}", (Path(f"{name}.nii"),), None) for name in "tab"}
        >>> splits = SplitTable(("t",), (("a",), ("b",)), (), {name: f"set/{name}" for name in cases})
        >>> dataset = Dataset(liver, Source("nnunet", Path("data")), cases, splits)
        >>> [case.case_id for case in dataset.cases_of("val", fold=0)], dataset.kept
        (['a'], ['a', 'b'])
    """

    task: Task
    source: Source
    cases: Mapping[str, Case]
    splits: SplitTable
    fingerprints: Mapping[str, CaseFingerprint] = field(default_factory=dict)

    def cases_of(self, split: str, fold: int) -> list[Case]:
        """The cases of train, val or test."""
        return [self.cases[case_id] for case_id in self.splits.fold(self.task.name, fold)[split]]

    @property
    def kept(self) -> list[str]:
        """Cases that the cache holds: all but those for test."""
        test = set(self.splits.test)
        return [case_id for case_id in self.splits.patients if case_id not in test]


def find_dataset(task: Task, source: Source) -> Dataset:
    """Cases with their splits; headers and voxels are not read.

    Raises:
        InputError: as ``find_cases`` and ``split_cases``, or fold 0 leaves a split empty.
    """
    found = find_cases(source, task.modalities, task.optional, task.classes, labelled=not task.is_pretext)
    cases = {case.case_id: case for case in found}
    splits = split_cases(task.name, list(cases.values()), source.given_splits())
    splits.fold(task.name, 0)
    return Dataset(task, source, cases, splits)


def find_datasets(tasks: TaskSet, sources: Mapping[str, Source]) -> list[Dataset]:
    """The dataset of every task.

    Raises:
        InputError: as ``find_dataset``, or one patient is in two splits.
    """
    datasets = [find_dataset(task, sources[task.name]) for task in tasks]
    check_patients({dataset.task.name: dataset.splits for dataset in datasets}, fold=0)
    return datasets
