"""The stream of requests: a pure function of (seed, step)."""

from collections import Counter

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from uniseg.config import CONF_DIR
from uniseg.errors import InputError
from uniseg.stream.augment.draws import draw
from uniseg.stream.requests import RequestStream, TaskCases, shares, weights_of

TASKS = [TaskCases(name, tuple(f"{name}{i}" for i in range(n)), (False,) * m) for name, n, m in (("a", 3, 1), ("b", 50, 4), ("c", 7, 2))]


def recipe(name="nnunet"):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return instantiate(compose("train", overrides=[f"augment={name}"]).augment, _convert_="all")


def stream(**changes):
    settings = {
        "steps_per_epoch": 12, "batch_size": 4, "tasks_per_batch": None, "task_weights": {},
        "foreground_fraction": 0.33, "recipe": None, "seed": 7,
    }  # fmt: skip
    return RequestStream(TASKS, **(settings | changes))


def test_any_step_can_be_rebuilt_alone():
    forward, fresh = stream(recipe=recipe()), stream(recipe=recipe())
    batches = [forward.batch(step) for step in range(30)]
    assert repr(fresh.batch(29)) == repr(batches[29])
    assert repr(batches[0]) != repr(batches[12])


def test_another_seed_is_another_stream():
    assert [r.case_id for r in stream(seed=8).batch(0)] != [r.case_id for r in stream().batch(0)]


def test_every_round_holds_the_quota():
    counts = Counter(r.task for step in range(12, 24) for r in stream().batch(step))
    assert counts == {0: 16, 1: 16, 2: 16}


def test_weights_are_kept_exactly():
    weighted = stream(task_weights={"a": 2, "c": 0})
    assert Counter(r.task for step in range(12) for r in weighted.batch(step)) == {0: 32, 1: 16}


@pytest.mark.parametrize(("rule", "weights"), [("equal", [1, 1, 1]), ("by_cases", [3, 50, 7]), (2, [3**0.5, 50**0.5, 7**0.5]), ({"b": 5}, [1, 5, 1])])
def test_rules_of_weights(rule, weights):
    assert weights_of(rule, TASKS).tolist() == pytest.approx(weights)


@pytest.mark.parametrize("rule", ["by_case", 0, -1.0, {"d": 1}, {"a": -1}, {"a": 0, "b": 0, "c": 0}])
def test_rules_that_make_no_sense_are_refused(rule):
    with pytest.raises(InputError, match=r"data\.task_weights"):
        weights_of(rule, TASKS)


def test_one_task_per_batch_is_the_published_behaviour():
    published = stream(tasks_per_batch=1, batch_size=2, steps_per_epoch=30)
    batches = [published.batch(step) for step in range(30)]
    assert all(len({r.task for r in batch}) == 1 for batch in batches)
    assert Counter(batch[0].task for batch in batches) == {0: 10, 1: 10, 2: 10}
    assert [[r.force_foreground for r in batch] for batch in batches] == [[False, True]] * 30


def test_cases_come_from_their_task():
    for request in (r for step in range(50) for r in stream().batch(step)):
        assert request.case_id in TASKS[request.task].case_ids


def test_a_task_without_cases_is_refused_by_name():
    with pytest.raises(InputError, match="task 'empty': found no case"):
        RequestStream(
            [TaskCases("empty", (), (False,))], steps_per_epoch=1, batch_size=1, tasks_per_batch=None, task_weights={},
            foreground_fraction=0, recipe=None, seed=0,
        )  # fmt: skip


def test_a_weight_of_an_unknown_task_is_refused():
    with pytest.raises(InputError, match="'typo'"):
        stream(task_weights={"typo": 2})


def test_shares_add_up():
    assert shares(np.array([1, 1, 1]), 10).tolist() == [4, 3, 3]
    assert shares(np.array([0.5, 0, 3]), 7).tolist() == [1, 0, 6]


def test_draws_follow_the_published_probabilities():
    rng = np.random.default_rng(0)
    published = recipe()
    draws = [draw(published, (False, False), rng) for _ in range(4000)]
    share = {
        "rotation": np.mean([any(d.rotation) for d in draws]),
        "scale": np.mean([d.scale != 1 for d in draws]),
        "noise": np.mean([d.noise_sd == d.noise_sd for d in draws]),
        "blur": np.mean([d.blur_sigma[0] == d.blur_sigma[0] for d in draws]),
        "low resolution": np.mean([d.zoom[1] == d.zoom[1] for d in draws]),
        "gamma": np.mean([d.gamma[0] == d.gamma[0] for d in draws]),
        "mirror": np.mean([d.mirror[2] for d in draws]),
    }
    expected = {"rotation": 0.2, "scale": 0.2, "noise": 0.1, "blur": 0.1, "low resolution": 0.125, "gamma": 0.3, "mirror": 0.5}
    assert share == pytest.approx(expected, abs=0.025)
    scales = np.array([d.scale for d in draws if d.scale != 1])
    assert scales.min() >= 0.7
    assert scales.max() <= 1.4
    assert np.mean(scales < 1) == pytest.approx(0.5, abs=0.06)


def test_nothing_is_drawn_where_nothing_is_wanted():
    plain = draw(recipe("none"), (True,) * 3, np.random.default_rng(0))
    assert not plain.is_spatial
    assert not any(plain.mirror)
    assert np.isnan([plain.noise_sd, *plain.blur_sigma, *plain.gamma, *plain.contrast]).all()


def test_only_optional_modalities_are_dropped():
    rng, published = np.random.default_rng(0), recipe()
    dropped = np.array([draw(published, (False, True, True), rng).dropped for _ in range(2000)])
    assert dropped.mean(0) == pytest.approx([0, 0.2, 0.2], abs=0.03)
