"""Tasks that fit, with their reasons."""

import pytest

from samples import make_task
from uniseg import InputError, TaskSet
from uniseg.inference.task_selection import explain_selection, guessed_tasks
from uniseg.preprocessing.modality import Guess

TASKS = TaskSet(
    [
        make_task("liver"),
        make_task("brain", ("T1",)),
        make_task("prostate", ("T2",)),
        make_task("sarcoma", ("CT", "T1")),
        make_task("turned", ("T1", "CT")),
    ]
)
CT, MR = Guess("CT", "air"), Guess("MR", "dull")


def test_kinds_and_their_order_decide():
    assert guessed_tasks(TASKS, [CT], "x") == ["liver"]
    assert guessed_tasks(TASKS, [MR], "x") == ["brain", "prostate"]
    assert guessed_tasks(TASKS, [CT, MR], "x") == ["sarcoma"]


def test_the_reason_is_explained():
    line = explain_selection(TASKS, ["brain", "prostate"], [MR])
    assert line == (
        "MR (dull); taken for T1 or T2, since values do not tell sequences apart: brain, prostate; does not fit: "
        "liver (CT), sarcoma (CT+T1), turned (T1+CT)"
    )


def test_what_fits_nothing_is_refused():
    with pytest.raises(
        InputError,
        match=r"scan\.nii: found PET \(hot\); expected one of CT, CT\+T1, T1, T1\+CT, T2; "
        r"if that is wrong, state .*modality=\[CT\]",
    ):
        guessed_tasks(TASKS, [Guess("PET", "hot")], "scan.nii")
    with pytest.raises(InputError, match="channel 1: odd"):
        guessed_tasks(TASKS, [CT, Guess("", "odd")], "scan.nii")
