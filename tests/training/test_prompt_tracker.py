"""What every validation measures of prompts, bottleneck, weights, and the files that grow with the epochs."""

import logging
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from uniseg.errors import InputError
from uniseg.evaluation.health import NetworkHealth
from uniseg.evaluation.prompt_files import PromptEvolution
from uniseg.evaluation.prompts import batch_prompts, cosine_matrix
from uniseg.models.conditioning.base import Conditioning
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.sampling.batch import Batch
from uniseg.training.callbacks.prompt_tracker import MOST_WINDOWS, PromptTracker


class Pictures:
    def __init__(self) -> None:
        self.taken = []

    def log_image(self, key, images, step) -> None:
        self.taken.append((key, images[0].shape, step))


def random_batch(num_windows: int = 2) -> Batch:
    task = torch.arange(num_windows) % 2 * 2
    return Batch(torch.randn(num_windows, 4, 8, 16, 16), torch.zeros(num_windows, 8, 16, 16), task, ["a"], 0)


def validate(tracker, model, epoch: int, step: int, *loggers, batches=None) -> dict[str, float]:
    """What one validation logs."""
    trainer = SimpleNamespace(
        sanity_checking=False,
        is_global_zero=True,
        global_step=step,
        current_epoch=epoch,
        loggers=loggers,
        precision_plugin=SimpleNamespace(forward_context=nullcontext),
    )
    logged: dict[str, float] = {}
    module = SimpleNamespace(
        model=model,
        task_indices=torch.arange(len(model.tasks)),
        log=lambda name, value, rank_zero_only: logged.update({name: value}),
    )
    tracker.on_validation_epoch_start(trainer, module)
    for i, batch in enumerate([random_batch(), random_batch()] if batches is None else batches):
        tracker.on_validation_batch_end(trainer, module, None, batch, i)
    tracker.on_validation_epoch_end(trainer, module)
    return logged


@pytest.fixture
def tracker(tmp_path) -> PromptTracker:
    return PromptTracker(tmp_path, lambda cosine, names: np.zeros((len(cosine), len(names), 3), np.uint8))


def test_a_resumed_run_drops_what_came_later(tracker, model, tmp_path):
    pictures = Pictures()
    for epoch in range(4):
        validate(tracker, model, epoch, 10 * (epoch + 1), pictures, object())
    batches = [random_batch(), random_batch()]
    validate(tracker, model, 1, 20, batches=batches)
    kept = PromptEvolution.load(RunFolder(tmp_path).prompt_evolution)
    assert kept.epochs.tolist() == [0, 1]
    assert kept.steps.tolist() == [10, 20]
    assert kept.tasks.tolist() == list(model.tasks.names)
    with torch.no_grad():
        expected = cosine_matrix(batch_prompts(model, batches[0].image, batches[0].task)).numpy()
    np.testing.assert_allclose(kept.cosine[1], expected, atol=1e-6)
    assert pictures.taken == [("prompts/similarity", (3, 3, 3), 10 * n) for n in (1, 2, 3, 4)]
    assert NetworkHealth.load(RunFolder(tmp_path).health).steps.tolist() == [10, 20]


def test_values_that_are_logged_are_those_of_the_file(tracker, model, tmp_path):
    logged = validate(tracker, model, 0, 10)
    health = NetworkHealth.load(RunFolder(tmp_path).health)
    shares = {
        f"prompts/image_share/{name}": s for name, s in zip(health.tasks, health.task_image_share[0], strict=True)
    }
    assert logged == pytest.approx(
        {
            "prompts/image_share": health.image_share[0],
            **shares,
            "bottleneck/dead_channels": health.dead_channels[0],
            "norms/growth_median": np.median(health.growth[0]),
            "norms/growth_max": health.growth[0].max(),
        }
    )
    assert 0.1 < logged["prompts/image_share"] < 1
    assert logged["norms/growth_median"] == pytest.approx(1, abs=0.1)
    with torch.no_grad():
        model.encoder.stages[1][0].conv.weight.mul_(7)
    assert validate(tracker, model, 1, 20)["norms/growth_max"] == pytest.approx(7, rel=0.2)


def test_no_more_windows_than_it_needs(tracker, model, monkeypatch):
    seen = []
    encode = UniSegModel.encode
    monkeypatch.setattr(
        UniSegModel, "encode", lambda self, image, task: seen.append(len(image)) or encode(self, image, task)
    )
    validate(tracker, model, 0, 10, batches=[random_batch(7) for _ in range(5)])
    assert seen == [7] * -(-MOST_WINDOWS // 7)


def test_a_network_without_prompts_has_no_values_of_prompts(tracker, model, tmp_path):
    model.conditioning = Conditioning()
    pictures = Pictures()
    logged = validate(tracker, model, 0, 10, pictures)
    assert not pictures.taken
    assert set(logged) == {"bottleneck/dead_channels", "norms/growth_median", "norms/growth_max"}
    assert not RunFolder(tmp_path).prompt_evolution.exists()
    assert NetworkHealth.load(RunFolder(tmp_path).health).task_image_share.shape == (1, 0)


def test_a_single_window_has_no_variance(tracker, model):
    assert set(validate(tracker, model, 0, 10, batches=[random_batch(1)])) == {
        "norms/growth_median",
        "norms/growth_max",
    }


def test_blindness_is_warned_of_once_per_crossing(tracker, model, caplog):
    def blind(factor: float) -> None:
        with torch.no_grad():
            model.conditioning.fuse[0].conv.weight[:, : model.encoder.channels[-1]].mul_(factor)

    def warnings() -> int:
        return sum("hardly see the image" in record.message for record in caplog.records)

    counts = []
    with caplog.at_level(logging.WARNING):
        for epoch, factor in enumerate((1, 1e-4, 1, 1e4, 1e-4)):
            blind(factor)
            logged = validate(tracker, model, epoch, 10 * (epoch + 1))
            counts.append((logged["prompts/image_share"] < 0.01, warnings()))
        assert counts == [(False, 0), (True, 1), (True, 1), (False, 1), (True, 2)]
        model.conditioning.sees_image = False
        blind(1e4)
        validate(tracker, model, 5, 60)
        blind(1e-4)
        assert validate(tracker, model, 6, 70)["prompts/image_share"] < 0.01
    assert warnings() == 2


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "evolution.npz"
    path.write_bytes(b"PK\x03\x04 not a whole file")
    with pytest.raises(InputError, match=r"evolution\.npz"):
        PromptEvolution.load(path)
