"""The stream of requests: a pure function of (seed, step)."""

import hashlib
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from uniseg.errors import InputError
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.requests import RequestStream, TaskCases, round_counts, weights_of
from uniseg.sampling.settings import StreamSettings

TASKS = [
    TaskCases(name, tuple(f"{name}{i}" for i in range(n)), (False,) * m)
    for name, n, m in (("a", 3, 1), ("b", 50, 4), ("c", 7, 2))
]


def stream(tasks=TASKS, **changes):
    others = {"recipe": None, "seed": 7}
    others |= {name: changes.pop(name) for name in others if name in changes}
    return RequestStream(tasks, StreamSettings(**{"steps_per_epoch": 12} | changes), **others)


def test_any_step_can_be_rebuilt_alone():
    forward, fresh = stream(recipe=AugmentRecipe()), stream(recipe=AugmentRecipe())
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


@pytest.mark.parametrize(
    ("rule", "weights"),
    [("equal", [1, 1, 1]), ("by_cases", [3, 50, 7]), (2, [3**0.5, 50**0.5, 7**0.5]), ({"b": 5}, [1, 5, 1])],
)
def test_rules_of_weights(rule, weights):
    assert weights_of(rule, TASKS).tolist() == pytest.approx(weights)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "rule",
    [
        "by_case",
        0,
        -1.0,
        NAN,
        1e-3,
        None,
        [1, 1, 1],
        {"d": 1},
        {"a": -1},
        {"a": NAN},
        {"a": INF},
        {"a": "2"},
        {"a": 0, "b": 0, "c": 0},
    ],
)
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
        RequestStream([TaskCases("empty", (), (False,))], StreamSettings(), None, seed=0)


def test_a_weight_of_an_unknown_task_is_refused():
    with pytest.raises(InputError, match="'typo'"):
        stream(task_weights={"typo": 2})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps_per_epoch", 0),
        ("batch_size", 0),
        ("batch_size", -2),
        ("tasks_per_batch", 0),
        ("foreground_fraction", 1.1),
        ("foreground_fraction", NAN),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(InputError, match=rf"data\.{name}: found {value}"):
        stream(**{name: value})


ELEVEN = [
    TaskCases(f"task{i}", tuple(f"t{i}_case{j}" for j in range(5 + i)), (False,) * (1 + i % 3)) for i in range(11)
]


@pytest.mark.parametrize(
    ("settings", "steps", "digest"),
    [
        (
            {"steps_per_epoch": 110, "foreground_fraction": 0.5, "task_weights": "equal", "seed": 0},
            range(230),
            "fa576d7eaa25cb13",
        ),
        ({"steps_per_epoch": 11, "foreground_fraction": 0.5, "seed": 1_000_003}, range(11), "88330517d48bff24"),
        ({"steps_per_epoch": 550, "batch_size": 2, "tasks_per_batch": 1}, range(500, 600), "85de9736b293ad60"),
        ({"steps_per_epoch": 20, "task_weights": {"task0": 0, "task1": 11}}, range(60), "7708496aec218af6"),
    ],
    ids=["demo", "validation of the demo", "published", "weights"],
)
def test_streams_whose_shares_are_whole_stay_as_they_were(settings, steps, digest):
    """Recorded before what does not divide went round."""
    requests = [stream(ELEVEN, **settings).batch(step) for step in steps]
    text = repr(requests).replace("batch_index=", "place=")  # its name then
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize(("steps_per_epoch", "batch_size"), [(1, 1), (2, 2), (4, 2), (5, 2), (3, 4)])
def test_a_round_shorter_than_the_tasks_leaves_none_out(steps_per_epoch, batch_size):
    short, length = stream(ELEVEN, steps_per_epoch=steps_per_epoch, batch_size=batch_size), steps_per_epoch * batch_size
    draws = [r.task for step in range(11 * steps_per_epoch) for r in short.batch(step)]
    assert Counter(draws) == dict.fromkeys(range(11), length)
    assert set(draws[: -(-11 // length) * length]) == set(range(11))


def test_what_does_not_divide_goes_round():
    uneven = stream(steps_per_epoch=5, batch_size=2)
    rounds = [Counter(r.task for step in range(5 * n, 5 * n + 5) for r in uneven.batch(step)) for n in range(30)]
    assert {tuple(sorted(counts.values())) for counts in rounds} == {(3, 3, 4)}
    assert sum(rounds, Counter()) == {0: 100, 1: 100, 2: 100}
    others = [stream(steps_per_epoch=5, batch_size=2, seed=seed) for seed in range(20)]
    assert {
        max(Counter(r.task for step in range(5) for r in one.batch(step)).items(), key=lambda item: item[1])[0]
        for one in others
    } == {0, 1, 2}


def test_rounds_are_parts_of_one_order():
    """Against the order written out; a share may be as small or as odd as it likes."""
    rng = np.random.default_rng(0)
    for length in (1, 3, 10, 64):
        for weights in (
            rng.random(7),
            np.array([1, 0, 1e-3, 0.5, 1, 1, 2.0]),
            np.exp(rng.normal(0, 4, 12)),
            np.ones(1),
            np.ones(200),
        ):
            shares, phases = weights / weights.sum(), (rng.permutation(len(weights)) + 0.5) / len(weights)
            due = sorted(
                ((j + p) / s, k)
                for k, (s, p) in enumerate(zip(shares, phases, strict=True))
                if s
                for j in range(int(40 * length * s) + 2)
            )
            for number in range(0, 20, 3):
                expected = np.bincount(
                    [k for _, k in due[number * length : (number + 1) * length]], minlength=len(weights)
                )
                assert round_counts(weights, phases, number, length).tolist() == expected.tolist()


def test_a_small_weight_is_drawn_in_proportion_without_long_rounds():
    weights, phases = np.array([1, 1e-6, 1]), np.array([1, 3, 5]) / 6
    rare = [number for number in range(0, 12_000) if round_counts(weights, phases, number, 400)[1]]
    assert [number * 400 for number in rare] == [pytest.approx(2e6 * (turn + 0.5), abs=400) for turn in range(2)]


def test_two_hundred_tasks_of_ten_thousand_cases_take_no_memory_of_the_run():
    tasks = [TaskCases(f"task{i}", tuple(f"case{j}" for j in range(50)), (False,)) for i in range(200)]
    large = stream(tasks, steps_per_epoch=250, batch_size=2, task_weights="by_cases")
    large.batch(0)
    tracemalloc.start()
    for step in range(10**6, 10**6 + 2000, 40):
        large.batch(step)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize(
    ("batch_size", "fraction", "mean"),
    [(1, 0.33, 0.33), (1, 0.5, 0.5), (2, 0.2, 0.4), (2, 0.33, 1), (4, 0.33, 1), (4, 0, 0), (4, 1, 4), (2, 0.9, 1.8)],
)
def test_foreground_is_forced_as_often_as_the_fraction_says(batch_size, fraction, mean):
    """Rounded as nnU-Net does; what would round to none or all is spread over steps."""
    forced = stream(batch_size=batch_size, foreground_fraction=fraction)
    flags = np.array([[r.force_foreground for r in forced.batch(step)] for step in range(200)])
    assert flags.sum(1).mean() == pytest.approx(mean, abs=0.01)
    assert np.ptp(flags.sum(1)) <= 1
    assert (np.diff(flags.astype(int), axis=1) >= 0).all()


def test_draws_follow_the_published_probabilities():
    rng, published = np.random.default_rng(0), AugmentRecipe()
    names = [type(transform).__name__ for transform in published.transforms]
    draws = [dict(zip(names, published.draw(rng, (False, False)).values, strict=True)) for _ in range(4000)]
    fractions = {
        "rotation": np.mean([any(d["Affine"].rotation) for d in draws]),
        "scale": np.mean([d["Affine"].scale != 1 for d in draws]),
        "noise": np.mean([not np.isnan(d["Noise"]) for d in draws]),
        "blur": np.mean([not np.isnan(d["Blur"][0]) for d in draws]),
        "low resolution": np.mean([not np.isnan(d["LowResolution"][1]) for d in draws]),
        "gamma": np.mean([not np.isnan(d["Gamma"][0]) for d in draws]),
        "mirror": np.mean([d["Mirror"][2] for d in draws]),
    }
    expected = {
        "rotation": 0.2,
        "scale": 0.2,
        "noise": 0.1,
        "blur": 0.1,
        "low resolution": 0.125,
        "gamma": 0.3,
        "mirror": 0.5,
    }
    assert fractions == pytest.approx(expected, abs=0.025)
    scales = np.array([d["Affine"].scale for d in draws if d["Affine"].scale != 1])
    assert scales.min() >= 0.7
    assert scales.max() <= 1.4
    assert np.mean(scales < 1) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("p_noise", 1.5), ("p_gamma", -0.1), ("p_blur", NAN), ("p_scale", "often"), ("p_blur_channel", None),
        ("scale", [1.4, 0.7]), ("scale", [0, 1]), ("scale", [1, 50]), ("gamma", [0.7]), ("gamma", 0.7),
        ("noise_sd", [-0.1, 0.1]), ("blur_sigma", [0.5, INF]), ("rotation_deg", [NAN, 30]),
        ("brightness", ["a", "b"]), ("mirror_axes", [3]), ("mirror_axes", [-1]), ("mirror_axes", 1),
        ("mirror_axes", "all"),
    ],
)  # fmt: skip
def test_a_recipe_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(InputError, match=rf"augment\.{name}: found .* correct the value"):
        AugmentRecipe(**{name: value})


def test_only_optional_modalities_are_dropped():
    rng, published = np.random.default_rng(0), AugmentRecipe()
    dropped = np.array([published.draw(rng, (False, True, True)).values[-1] for _ in range(2000)])
    assert dropped.mean(0) == pytest.approx([0, 0.2, 0.2], abs=0.03)
