"""``uniseg adapt`` as a user types it: label maps, record, site file; the base stays, what is finished too."""

import copy
import json

import numpy as np
import pytest
import torch

from samples import make_task, save_nifti, small_model
from started import run, succeed
from uniseg import Predictor, load_model, save_model
from uniseg.adaptation.adapt_files import adapt_files, judge_answers
from uniseg.adaptation.candidates import CANDIDATES, ScanAnswers
from uniseg.adaptation.settings import AdaptSettings
from uniseg.files import content_hash
from uniseg.images.files import read_volume
from uniseg.inference.settings import InferenceSettings
from uniseg.models.provenance import Provenance
from uniseg.preprocessing.histogram import histogram_knots
from uniseg.preprocessing.task_statistics import ClassRange, ClassSize, TaskStatistics
from uniseg.task import TaskSet

FEW = ["rounds=2", "patches_per_round=2", "inference.device=cpu"]
RANGES = {"liver": ClassRange((0.01, 5.0), (1, 60), 1.0), "tumour": ClassRange((0.01, 5.0), (1, 60), 1.0)}


def statistics():
    knots = histogram_knots([np.random.default_rng(1).uniform(0, 1, 4000).astype(np.float32)])
    return TaskStatistics((knots,), RANGES)


@pytest.fixture
def here(tmp_path):
    model = small_model(TaskSet([make_task(), make_task("brain", ("T1", "T2"), ("background", "oedema"))]))
    model.provenance = Provenance({"liver": {"licence": "CC0", "train": ["a"], "statistics": statistics().to_dict()}})
    save_model(model, tmp_path / "base")
    for number in range(2):
        scan = np.random.default_rng(number).normal(0, 200, (10, 20, 22)).astype(np.float32)
        save_nifti(tmp_path / f"scans/s{number}.nii.gz", scan, np.diag([1.0, 1, 2, 1]))
    return tmp_path


def adapt(here, *overrides):
    return succeed("adapt", "checkpoint=base", "input=scans", "modality=[CT]", "output=out", *FEW, *overrides, cwd=here)


def test_scan_by_scan_with_controls_record_and_resume(here, monkeypatch):
    before = content_hash(here / "base/model.safetensors")
    done = adapt(here)
    assert content_hash(here / "base/model.safetensors") == before
    record = json.loads((here / "out/adapt.json").read_text())
    assert set(record["cases"]) == {"s0", "s1"}
    content = record["cases"]["s0"]["liver"]
    assert set(content["candidates"]) == set(CANDIDATES)
    assert content["candidates"]["none"]["agreement"] == 1
    assert content["answer"] in ("none", "consistency")
    assert "| s0 | liver | " in done.stdout
    assert (here / "out/adapt.md").read_text() == done.stdout
    assert "scans" in done.stderr  # the bar
    label = read_volume([here / "out/liver/s1.nii.gz"]).array
    assert label.shape == (1, 10, 20, 22)

    monkeypatch.setattr(ScanAnswers, "of", lambda *_: pytest.fail("computed again"))
    adapt(here)
    assert json.loads((here / "out/adapt.json").read_text())["cases"] == record["cases"]


def test_an_interrupted_folder_goes_on_where_it_was(here, monkeypatch):
    of, calls = ScanAnswers.of, []

    def interrupted(self, *values):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return of(self, *values)

    monkeypatch.setattr(ScanAnswers, "of", interrupted)
    done = run("adapt", "checkpoint=base", "input=scans", "modality=[CT]", "output=out", *FEW, cwd=here)
    assert done.returncode == 130
    assert set(json.loads((here / "out/adapt.json").read_text())["cases"]) == {"s0"}
    adapt(here)
    assert len(calls) == 3
    assert set(json.loads((here / "out/adapt.json").read_text())["cases"]) == {"s0", "s1"}


def test_a_site_file_is_written_by_its_verdict_and_predicted_with(here):
    before = load_model(here / "base").state_dict()
    adapt(here, "mode=site", "min_gain=0", "max_distance=9", "min_agreement=0", "min_fraction=0", "lr=0.0001")
    site = here / "out/site.safetensors"
    assert site.stat().st_size < 10_000
    assert json.loads((here / "out/adapt.json").read_text())["site"]["liver"]["verdict"] == "use it"
    after = load_model(here / "base").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    words = ["predict", "checkpoint=base", "input=scans", "output=predicted", "site_file=out/site.safetensors"]
    succeed(*words, "modality=[CT]", "inference.device=cpu", cwd=here)
    assert "+" in json.loads((here / "predicted/liver/s0.json").read_text())["checkpoint"]
    refused = run(*words, "tasks=[brain]", "modality=[T1,T2]", cwd=here)
    assert (refused.returncode, "which the site file is for" in refused.stderr) == (2, True)


def test_an_adapted_network_is_that_of_the_last_call(here):
    """Not of one with other settings; gone where the guard turns it down."""
    accepts = ["min_gain=0", "max_distance=9", "min_agreement=0", "min_fraction=0"]
    hashes = []
    for rate in ("0.0001", "0.001"):
        adapt(here, "mode=site", "trains=all", *accepts, f"lr={rate}")
        hashes.append(content_hash(here / "out/model/model.safetensors"))
        assert json.loads((here / "out/model/adapted.json").read_text())["liver"]["verdict"] == "use it"
    assert hashes[0] != hashes[1]
    adapt(here, "mode=site", "trains=all", "min_gain=1")
    assert not (here / "out/model").exists()


def test_a_folder_that_is_not_ours_stays(here):
    (here / "out/model").mkdir(parents=True)
    (here / "out/model/mine.txt").write_text("mine")
    adapt(here, "mode=site", "min_gain=1")
    assert (here / "out/model/mine.txt").read_text() == "mine"


def test_a_site_that_the_guard_rejects_is_called_so(here):
    done = adapt(here, "mode=site", "min_gain=1")
    assert (here / "out/site_rejected.safetensors").exists()
    assert not (here / "out/site.safetensors").exists()
    assert "task liver: **keep the base**, 0 of 2 scans speak for it" in done.stdout


def test_a_base_that_knows_nothing_of_its_training_is_kept(here):
    model = load_model(here / "base")
    model.provenance = Provenance()
    save_model(model, here / "old")
    done = adapt(here, "checkpoint=old", "min_gain=0", "min_agreement=0")
    assert "does not say what its training cases were like" in done.stderr
    assert "adapted answer for 0 of 2 scans" in done.stdout


@pytest.mark.parametrize("row", [0, 1])
def test_a_network_driven_to_nothing_or_everything_is_refused(here, row):
    predictor = Predictor.from_pretrained(here / "base", settings=InferenceSettings(device="cpu"))
    sabotaged = copy.deepcopy(predictor.model)
    with torch.no_grad():  # the last features are 1, of which the head makes the class of one row
        norm = sabotaged.decoder.stages[0].conv.adn.N
        norm.weight.zero_(), norm.bias.fill_(1)
        for conv in sabotaged.head.modules():
            if isinstance(conv, torch.nn.Conv3d):
                conv.weight.fill_(-1)
                conv.weight[row] = 1
    settings = AdaptSettings(rounds=2, patches_per_round=1)
    ranges = {"liver": ClassRange((0.01, 3.0), (1, 60), 1.0), "tumour": ClassRange((0.01, 3.0), (1, 60), 0.5)}
    known = {"liver": TaskStatistics(statistics().histograms, ranges)}
    answers = ScanAnswers(predictor, settings, known, site=sabotaged)
    volume = read_volume([here / "scans/s0.nii.gz"])
    found = answers.of(volume, ["liver"], candidates=("none", "consistency"))["liver"]
    base, broken = (found[name].evidence for name in ("none", "consistency"))
    assert broken.sizes["liver"].volume_ml == pytest.approx(row * volume.voxel_ml * 10 * 20 * 22)
    assert broken.consistency > max(base.consistency, 0.999)  # which alone would speak for it
    verdict = judge_answers(found, "liver", answers)["consistency"]
    assert not verdict.use
    assert "nothing is left of " in verdict.reason
    base.sizes["tumour"] = base.sizes["liver"] = ClassSize(0.0, 0)  # a base that found nothing is no way out
    verdict = judge_answers(found, "liver", answers)["consistency"]
    assert verdict.use is False


def test_an_ensemble_is_refused(here):
    predictor = Predictor([load_model(here / "base")] * 2, InferenceSettings(device="cpu"))
    with pytest.raises(ValueError, match="checkpoint: found 2 networks; expected one to adapt"):
        adapt_files(predictor, here / "scans", here / "out")
