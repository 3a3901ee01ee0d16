"""Metrics are found by their YAML files; each is what its file says."""

import numpy as np
import pytest

from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.metrics.base import MaskPair
from uniseg.metrics.nsd import SurfaceDice
from uniseg.metrics.registry import find_metrics, packaged_metrics

NSD = "_target_: uniseg.metrics.nsd.SurfaceDice\nname: {}\ntitle: NSD\nunit: ''\nhigher_is_better: true\n"


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "metric").mkdir()
    return tmp_path


@pytest.mark.parametrize("metric", packaged_metrics().values(), ids=lambda metric: metric.name)
def test_a_metric_is_best_where_prediction_and_reference_agree(metric):
    reference = np.zeros((4, 6, 6), bool)
    reference[1:3, 1:4, 1:4] = True
    right, wrong = (
        metric.compute(MaskPair.of_masks(predicted, reference, (3.0, 1.0, 1.0), tolerance_mm=1.0))
        for predicted in (reference, np.roll(reference, 2, 2))
    )
    assert right == (1 if metric.higher_is_better else 0)
    assert (right > wrong) == metric.higher_is_better
    empty = metric.compute(MaskPair.of_masks(np.zeros_like(reference), np.zeros_like(reference)))
    assert empty == 1 if metric.higher_is_better else np.isnan(empty)


def test_a_file_more_is_a_metric_more(conf):
    """Here the surface Dice at a tolerance of its own."""
    (conf / "metric/nsd_5.yaml").write_text(NSD.format("nsd_5") + "tolerance_mm: 5.0\n")
    metrics = find_metrics([CONF_DIR, conf])
    assert list(metrics) == [*packaged_metrics(), "nsd_5"]
    assert metrics["nsd_5"] == SurfaceDice(name="nsd_5", title="NSD", unit="", higher_is_better=True, tolerance_mm=5.0)
    (conf / "metric/nsd.yaml").write_text(NSD.format("nsd") + "order: 2\ntolerance_mm: 1.0\n")
    assert find_metrics([CONF_DIR, conf])["nsd"].tolerance_mm == 1.0, "the later folder's counts"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "TypeError"),
        ("a: [", "ParserError"),
        ("name: a", "KeyError"),
        ("_target_: nowhere.Metric", "ModuleNotFoundError"),
        ("_target_: uniseg.metrics.nsd.Surface", "AttributeError"),
        (NSD.format("a") + "tolerence_mm: 1", "TypeError"),
        (NSD.format("other"), "a SurfaceDice of the name 'other'"),
        ("_target_: pathlib.Path", "a PosixPath"),
    ],
)
def test_a_file_that_makes_no_metric_is_named(conf, text, found):
    (conf / "metric/a.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"a\.yaml: found .*{found}"):
        find_metrics([conf])
