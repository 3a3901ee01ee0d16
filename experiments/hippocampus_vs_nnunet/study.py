"""Where the study runs, how long at most, which head is for what; a piece of work that is done stays done."""

import json
import math
import os
import random
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).parent
DATA = "hippocampus_msd"
SPLIT_SEED = 22
NUM_HEADS = {"train": 80, "val": 12, "test": 35}
SMOKE_HEADS = {"train": 6, "val": 2, "test": 2}  # all of them of the training heads


class TimeUpError(Exception):
    """Nothing is begun any more."""


def head(case_id: str) -> int:
    """Two crops may be the two sides of one head: numbers 1 and 2 are of head 1, 3 and 4 of head 2."""
    return math.ceil(int(case_id.rpartition("_")[2]) / 2)


def split_cases(case_ids: Sequence[str], *, smoke: bool) -> dict[str, list[str]]:
    """Cases for train, val and test: the heads, sorted, shuffled by ``random.Random(22)``: 80, then 12, then 35.

    Args:
        smoke: a few training heads play all three parts, so that no try opens the test.
    """
    heads = sorted({head(case_id) for case_id in case_ids})
    random.Random(SPLIT_SEED).shuffle(heads)
    if len(heads) != sum(NUM_HEADS.values()):
        raise ValueError(f"{len(heads)} heads, expected {sum(NUM_HEADS.values())}")
    splits, start = {}, 0
    for name, number in (SMOKE_HEADS if smoke else NUM_HEADS).items():
        taken = {*heads[start : start + number]}
        splits[name] = sorted(case_id for case_id in case_ids if head(case_id) in taken)
        start += number
    return splits


@dataclass(frozen=True)
class Study:
    """Folders, interpreters, limits.

    Attributes:
        data: the folder of the hippocampus set.
        end: on the monotonic clock; nothing is begun after it.
        minutes: of the trainings at equal time.
    """

    outputs: Path
    data: Path
    nnunet_python: str
    processes: int
    end: float
    smoke: bool
    minutes: Sequence[int]

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        names = sorted(path.name.removesuffix(".nii.gz") for path in (self.data / "labelsTr").glob("*.nii.gz"))
        return split_cases(names, smoke=self.smoke)

    def once(self, folder: Path, piece: str, work: Callable[[], None]) -> None:
        """``work``, unless ``folder`` says that it is done."""
        if (folder / f"{piece}.done").exists():
            return
        if time.monotonic() > self.end:
            raise TimeUpError
        folder.mkdir(parents=True, exist_ok=True)
        work()
        (folder / f"{piece}.done").touch()

    def call(
        self, words: Sequence[str], log: Path, cwd: Path, environment: Mapping[str, str], cores: int | None
    ) -> None:
        """A command whose words go to a log.

        Args:
            cores: threads that it may take; None: what it takes by itself.
        """
        everything = {**os.environ, **environment}
        everything.pop("OMP_NUM_THREADS", None)
        if cores is not None:
            everything["OMP_NUM_THREADS"] = str(cores)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            subprocess.run([*words], cwd=cwd, env=everything, stdout=file, stderr=file, check=True)

    def labels(self, split: str) -> Path:
        """A folder of the references of a split."""
        folder = self.outputs / "labels" / split
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.splits[split]:
            link = folder / f"{name}.nii.gz"
            if not link.exists():
                link.symlink_to(self.data / "labelsTr" / link.name)
        return folder

    def image(self, case_id: str) -> Path:
        return self.data / "imagesTr" / f"{case_id}_0000.nii.gz"

    def splits_file(self) -> Path:
        path = self.outputs / "splits.json"
        path.write_text(json.dumps(self.splits, indent=1))
        return path
