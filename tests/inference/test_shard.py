"""A folder in several parts gives what it gives in one."""

import numpy as np
import pytest
from omegaconf import OmegaConf

from samples import make_task, save_nifti, small_model
from uniseg import InputError, Predictor, TaskSet
from uniseg.inference.predict_files import predict_cases
from uniseg.inference.shard import Shard

TASK = make_task("spleen", classes=("background", "spleen"), spacing_mm=(3, 1.5, 1.5))


@pytest.fixture
def predictor():
    return Predictor(small_model(TaskSet([TASK])), checkpoint_hash="abc")


@pytest.fixture
def folder(tmp_path):
    for name in ("d", "b", "a10", "a9", "c"):
        noise = np.random.default_rng(ord(name[-1])).normal(40, 150, (8, 20, 20)).astype(np.int16)
        save_nifti(tmp_path / f"scans/{name}.nii.gz", noise)
    return tmp_path / "scans"


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_parts_together_are_the_whole(predictor, folder, tmp_path):
    predict_cases(predictor, folder, tmp_path / "whole", tasks="spleen")
    names = []
    for part in ("0/3", "1/3", "2/3", "2/3"):  # one is started again: what is there stays
        outcomes = predict_cases(predictor, folder, tmp_path / "parts", tasks="spleen", shard=part)
        names.append([outcome.case_id for outcome in outcomes])
    assert names == [["a10", "c"], ["a9", "d"], ["b"], ["b"]]
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
    assert len(files(tmp_path / "whole")) == 10
    assert not predict_cases(predictor, folder, tmp_path / "more", tasks="spleen", shard="7/8"), "more parts than scans"


def test_every_scan_is_in_one_part_whatever_the_order():
    names = [f"case{k}" for k in range(17)]
    parts = [Shard.of(f"{k}/4").take(list(reversed(names)), key=str) for k in range(4)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert parts == [Shard.of(f"{k}/4").take(names, key=str) for k in range(4)]
    assert {len(part) for part in parts} == {4, 5}
    assert Shard.of(None).take(["b", "a"], key=str) == ["b", "a"]


def test_two_scans_of_one_name_are_refused_in_every_part(predictor, folder, tmp_path):
    (folder / "b.nii").write_bytes((folder / "c.nii.gz").read_bytes())
    for part in ("0/2", "1/2"):
        with pytest.raises(InputError, match="a second image named 'b'"):
            predict_cases(predictor, folder, tmp_path / "out", tasks="spleen", shard=part)


@pytest.mark.parametrize("text", ["4/4", "1", "-1/4", "1/0", "a/b", "1/4/2", "", 2, "0.5/2"])
def test_a_part_that_cannot_be_is_named(text):
    with pytest.raises(InputError, match=r"shard: found '.*'; expected a number and how many there are, from 0/4 to 3"):
        Shard.of(text)


def test_the_shell_gives_text():
    assert OmegaConf.from_dotlist(["shard=0/4"]).shard == "0/4"
