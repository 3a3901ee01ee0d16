"""Prompts of scans: what is compared and mapped, with bars that name it."""

from dataclasses import replace

import numpy as np
import pytest

from networks import TASKS, build
from samples import save_nifti
from uniseg.datasets.case import Case
from uniseg.evaluation.prompts import SeenCase, prompt_map, prompt_similarity

SHAPE = (12, 24, 20)  # larger than a window on every axis


@pytest.fixture
def seen(tmp_path):
    rng, task = np.random.default_rng(0), replace(TASKS[0], spacing_mm=(1, 1, 1))
    scans = [save_nifti(tmp_path / f"{name}.nii.gz", rng.normal(50, 9, SHAPE).astype(np.float32)) for name in "ab"]
    return [SeenCase(task, Case(path.name, path.name, (path,), None)) for path in scans]


def test_a_bar_names_what_is_worked_on(seen, capsys):
    model = build().eval()
    similarity = prompt_similarity(model, seen)
    assert similarity.num_windows == 2
    assert np.allclose(similarity.cosine.diagonal(), 1, atol=1e-5)
    seen_map = prompt_map(model, seen[0], [0, 2])
    assert seen_map.maps.shape == (2, *SHAPE)
    bars = [line.split(" ━")[0] for line in capsys.readouterr().err.splitlines() if "100%" in line]
    assert bars == ["prompts", "prompt map"]


def test_a_network_without_prompts_has_no_bar(seen, capsys):
    assert prompt_similarity(build("model/conditioning=none").eval(), seen) is None
    assert capsys.readouterr().err == ""
