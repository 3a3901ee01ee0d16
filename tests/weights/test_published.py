"""What the published weights answer does not depend on a file that a user edits."""

from dataclasses import replace

import pytest
import torch
import yaml

from samples import make_task, small_model
from uniseg import InputError
from uniseg.datasets.source import make_task as task_from_yaml
from uniseg.environment import CONF_DIR
from uniseg.task import TaskSet
from uniseg.weights import import_published
from uniseg.weights.foreign.published_tasks import published_tasks
from uniseg.weights.foreign.write_published import write_published

NAMES = (
    "liver", "kidney", "hepatic_vessel", "pancreas", "colon", "lung", "spleen",
    "vertebrae", "prostate", "brain_tumour", "whole_body_tumour",
)  # fmt: skip


def test_the_eleven_tasks_are_those_that_are_shipped():
    """But for the z-scores, of which the YAML leaves open whether they are taken over the non-zero mask."""
    tasks = published_tasks()
    assert tasks.names == NAMES
    for task in tasks:
        shipped = task_from_yaml(task.name, yaml.safe_load((CONF_DIR / "task" / f"{task.name}.yaml").read_text()))
        masked = task.name == "brain_tumour"
        assert task == shipped.resolve(
            replace(n, masked=masked) if n.mode == "zscore" else n for n in shipped.normalization
        )
        assert all(n.resolved for n in task.normalization)


def test_no_configuration_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr("uniseg.environment.CONF_DIR", tmp_path)
    assert published_tasks()[0].spacing_mm == (3, 1.5, 1.5)


def test_weights_that_are_no_numbers_are_named(tmp_path):
    tasks = TaskSet([make_task()])
    path = write_published(small_model(tasks), tmp_path / "file")
    model = import_published(path, tasks)
    assert model.tasks == tasks
    assert "non-commercial" in model.provenance.licence
    assert "MICCAI 2023" in model.provenance.citations[0]
    content = torch.load(path, weights_only=True)
    content["state_dict"]["tu.0.weight"].view(-1)[0] = torch.nan
    torch.save(content, path)
    with pytest.raises(InputError, match=r"file: found NaN or inf in 'tu\.0\.weight'"):
        import_published(path, tasks)
