"""Normalisations: a file and a YAML for each mode, one more from an installed package, the same numbers as in files."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

import plugin
from samples import make_task
from uniseg import plugins
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.normalization.base import PACKAGE, Normalization, find_mode
from uniseg.preprocessing.preprocess import normalize
from uniseg.task import Task

BODY = np.array([[[False, True, True]]])
SCAN = np.array([[[[0, 2, 4]]]], np.float32)
MODES = plugins.built_in(PACKAGE)


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_has_a_yaml_with_its_parameters(mode):
    defaults = {each.name: each.default for each in fields(find_mode(mode))}
    assert yaml.safe_load((CONF_DIR / "normalization" / f"{mode}.yaml").read_text()) == defaults
    assert defaults["mode"] == mode


def test_each_yaml_has_a_mode():
    assert sorted(path.stem for path in (CONF_DIR / "normalization").glob("*.yaml")) == MODES


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Normalization("window", lower=-2, upper=2), [0.5, 1, 1]),
        (Normalization("fingerprint", lower=1, upper=3, mean=1, sd=2), [0, 0.5, 1]),
        (Normalization("zscore", masked=True), [0, -1, 1]),
        (Normalization("zscore", masked=False), [-(1.5**0.5), 0, 1.5**0.5]),
    ],
)
def test_what_each_mode_makes_of_a_scan(how, expected):
    assert normalize(SCAN, (how,), BODY, (True,)).ravel().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "window", "lower": -325, "upper": 325, "mean": None, "sd": None, "masked": None},
        {"mode": "fingerprint", "lower": 0.5, "upper": 2.0, "mean": 1.0, "sd": 0.1, "masked": None},
        {"mode": "zscore", "lower": None, "upper": None, "mean": None, "sd": None, "masked": False},
    ],
)
def test_files_keep_their_keys(values):
    """In their order too, of which the names of cached cases are a hash."""
    again = Normalization.from_dict(values, "task").to_dict()
    assert list(again.items()) == list(values.items())


def test_whole_numbers_of_a_yaml_are_written_as_before():
    values = Normalization.from_dict({"mode": "window", "lower": -325, "upper": 325}, "task").to_dict()
    assert (repr(values["lower"]), repr(values["upper"])) == ("-325.0", "325.0")


def test_a_parameter_of_another_mode_is_passed_over_where_all_files_have_it():
    assert Normalization.from_dict({"mode": "zscore", "lower": -325}, "task") == Normalization("zscore")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "zscore", "percentile": 3}, "'percentile' for mode zscore; expected masked, mode"),
        ({"mode": "nyul"}, "mode 'nyul'; expected one of fingerprint, window, zscore"),
        ({"mode": "base"}, "mode 'base'; expected one of"),
        ({"mode": "zscore", "masked": 2}, "masked 2; expected true or false"),
        ({"mode": "window", "lower": 3, "upper": 3}, r"window \[3\.0, 3\.0\]; expected lower < upper"),
        ({"mode": "fingerprint", "lower_percentile": 101}, "lower_percentile 101"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(InputError, match=message):
        Normalization.from_dict(values, "task")


def test_a_mode_of_an_installed_package(tmp_path: Path, monkeypatch):
    plugin.install(tmp_path, monkeypatch)
    task = make_task().resolve([Normalization("power", exponent=2)])
    (how,) = (own.resolve("task", np.array([1.0, np.nan, 4.0]), 1.0) for own in task.normalization)
    assert how.to_dict()["exponent"] == 2
    assert Task.from_dict(task.resolve([how]).to_dict()) == task.resolve([how])
    assert normalize(SCAN, (how,), BODY, (True,)).ravel().tolist() == [0, 0.25, 1]
    assert plugins.names(PACKAGE) == [*MODES, "power"]


def test_something_else_than_a_normalisation_is_refused(tmp_path, monkeypatch):
    plugin.install(tmp_path, monkeypatch)
    monkeypatch.setattr(plugins, "group_of", lambda package: "uniseg.models")
    with pytest.raises(InputError, match="expected a subclass of Normalization"):
        find_mode("extras")
