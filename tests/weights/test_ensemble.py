"""The members of an ensemble's folder are the folders in it, whatever its list says."""

import json

import pytest

from samples import make_task, small_model
from uniseg import InputError, load_ensemble
from uniseg.task import TaskSet
from uniseg.weights.ensemble import members, save_ensemble


@pytest.fixture
def folder(tmp_path):
    return save_ensemble([small_model(TaskSet([make_task()]), seed) for seed in (0, 1)], tmp_path / "both")


def test_members_in_their_order(folder):
    assert members(folder) == [folder / "member0", folder / "member1"]
    assert len(load_ensemble(folder)) == 2


ELSEWHERE = ["../both", "..", "", ".", "/etc", "member0/../..", "a\0", 3, None]


@pytest.mark.parametrize("listed", [*([name] for name in ELSEWHERE), [], "member0", None, ["member0", "member0"]])
def test_names_that_lead_elsewhere_are_refused(folder, listed):
    path = folder / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"members": listed}))
    with pytest.raises(InputError, match=r"ensemble\.json: found member"):
        load_ensemble(folder)


def test_a_member_that_is_not_there_is_named(folder):
    path = folder / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"members": ["member0", "member7"]}))
    with pytest.raises(InputError, match="member7"):
        load_ensemble(folder)
