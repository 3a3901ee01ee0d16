"""What a task says about its classes, and what it refuses."""

import json

import pytest
import torch

from samples import make_task
from uniseg.config import make_task as task_from_yaml
from uniseg.errors import InputError
from uniseg.models.heads.base import label_scores
from uniseg.task import Task

NESTED = make_task("tumour", classes=("background", "whole", "core"), regions=((1, 2, 3), (3,)), modalities=("T1", "T2"), optional=("T2",), reference="T1")


def test_membership_by_hand():
    assert make_task().membership == ((False, False), (True, False), (False, True))
    assert NESTED.membership == ((False, False), (True, False), (True, False), (True, True))
    assert (NESTED.num_labels, NESTED.num_classes, NESTED.reference_position) == (4, 3, 0)


def test_a_task_survives_json():
    assert Task.from_dict(json.loads(json.dumps(NESTED.to_dict()))) == NESTED


def test_a_task_of_an_older_checkpoint_is_read():
    values = make_task().to_dict()
    for later in ("regions", "optional", "reference"):
        del values[later]
    assert Task.from_dict(values) == make_task()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"regions": ((1,),)}, "label values above 0"),
        ({"regions": ((1,), (0, 2))}, "label values above 0"),
        ({"regions": ((1,), ())}, "label values above 0"),
        ({"optional": ("PET",)}, "'PET'"),
        ({"reference": "MR"}, "'MR'"),
        ({"optional": ("CT",)}, "one modality"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, told):
    with pytest.raises(InputError, match=told):
        make_task(**wrong)


def test_yaml_names_regions_by_class():
    values = {
        "modalities": ["T1"], "classes": ["background", "whole", "core"], "spacing_mm": [1, 1, 1],
        "normalization": {"T1": {"mode": "zscore"}}, "regions": {"core": [3], "whole": [1, 3]},
    }  # fmt: skip
    assert task_from_yaml("tumour", values).regions == ((1, 3), (3,))
    for wrong in ({"core": [3]}, {"core": [3], "hole": [1]}):
        with pytest.raises(InputError, match="regions"):
            task_from_yaml("tumour", values | {"regions": wrong})
    with pytest.raises(InputError, match="no normalization"):
        task_from_yaml("tumour", values | {"normalization": {}})


def test_the_likeliest_value_wins():
    """Four voxels: outside; whole; whole with core; a core without its whole, which no label value knows."""
    whole, core = torch.tensor([-1.0, 2, 2, -1]), torch.tensor([-2.0, -1, 1, 3])
    logits = torch.stack([torch.full((4,), 9.0), whole, core])[:, None, None]
    scores = label_scores(logits, NESTED)
    assert scores[:, 0, 0].argmax(0).tolist() == [0, 1, 3, 3]
    assert scores[3, 0, 0].tolist() == (whole + core).tolist()
    assert label_scores(torch.zeros(2, 5, 1, 1, 4), make_task()).shape == (2, 3, 1, 1, 4)
