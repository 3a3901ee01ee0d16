"""What prompts see, which channels are dead: by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from networks import build, mixed_image
from uniseg.errors import InputError
from uniseg.evaluation.health import NetworkHealth, dead_channels, image_shares

SHAPE = (2, 3, 2)


def test_prompts_that_no_image_changes_have_share_0():
    prompts = torch.randn(5, 1, *SHAPE).expand(-1, 4, -1, -1, -1)
    overall, per_task = image_shares(prompts)
    assert overall == 0
    assert per_task.tolist() == [0] * 5
    image, order = mixed_image()
    model = build("model.conditioning.fuse=false")
    assert image_shares(model.task_prompts(model.encode(image, order)).transpose(0, 1))[0] == 0


def test_prompts_that_only_images_change_have_share_1():
    prompts = torch.randn(1, 6, *SHAPE).expand(5, -1, -1, -1, -1)
    overall, per_task = image_shares(prompts + 1e-4 * torch.randn(5, 1, *SHAPE))
    assert overall == pytest.approx(1, abs=1e-5)
    assert per_task.min() > 0.999


def test_a_share_by_hand():
    """Two tasks at -1 and 1, of which the second moves by 1 up and down with the image: 0, 2."""
    prompts = torch.tensor([[-1.0, -1], [0, 2]]).reshape(2, 2, 1, 1, 1)
    overall, per_task = image_shares(prompts)
    assert per_task.tolist() == [0, 0.5]  # variances over images 0, 1; around the common mean of 0: 1, 2
    assert overall.item() == pytest.approx(1 / 3)


def test_equal_constants_are_no_variance():
    assert image_shares(torch.ones(3, 4, *SHAPE))[0] == 0
    assert image_shares(torch.full((1, 4, *SHAPE), 5.0) + 1e-6 * torch.randn(1, 4, *SHAPE))[0] == 0


def test_dead_channels_are_counted():
    bottleneck = torch.randn(6, 8, *SHAPE)
    bottleneck[:, 1] = 3
    bottleneck[:, 2] = 0
    bottleneck[:, 5] = torch.randn(SHAPE) + 1e-3 * torch.randn(6, *SHAPE)
    assert dead_channels(bottleneck) == 3 / 8


HEALTH = NetworkHealth.empty(["liver"], ["a", "b"]).append(
    0, 4, image_share=0.3, task_image_share=[0.3], dead_channels=0.1, growth=[1, 2]
)
PLAIN = NetworkHealth.empty([], []).append(0, 4, image_share=np.nan, task_image_share=[], dead_channels=0.1, growth=[])


@pytest.mark.parametrize("health", [HEALTH, PLAIN, NetworkHealth.empty([], ["a"])])
def test_what_is_saved_is_loaded(tmp_path, health):
    health.save(tmp_path / "h.npz")
    loaded = NetworkHealth.load(tmp_path / "h.npz")
    for name, array in vars(health).items():
        np.testing.assert_array_equal(getattr(loaded, name), array)


@pytest.mark.parametrize("odd", [{"growth": np.ones((1, 3))}, {"layers": np.ones(2)}, {"steps": np.array(["a"])}])
def test_arrays_that_do_not_belong_together(tmp_path, odd):
    replace(HEALTH, **odd).save(tmp_path / "h.npz")
    with pytest.raises(InputError, match=r"h\.npz"):
        NetworkHealth.load(tmp_path / "h.npz")
