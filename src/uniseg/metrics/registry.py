"""Which metrics there are: a YAML file each, ours in conf/metric, a user's in ./conf/metric."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

import yaml

from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.metrics.base import Metric

GROUP = "metric"
Metrics = Mapping[str, Metric]


@cache
def packaged_metrics() -> Metrics:
    """Those of ``conf/metric``, by name, in the order of tables.

    Examples:
        >>> list(packaged_metrics())
        ['dice', 'iou', 'nsd', 'hd95_mm', 'assd_mm']
    """
    return find_metrics([CONF_DIR])


def find_metrics(folders: Iterable[Path]) -> Metrics:
    """By name, in the order of tables; of two files of one name the later folder's counts.

    Args:
        folders: configuration folders, which may have a folder ``metric``.

    Raises:
        InputError: a file that makes no metric of its own name.
    """
    files = {path.stem: path for folder in folders for path in sorted((folder / GROUP).glob("*.yaml"))}
    metrics = [read_metric(path) for path in files.values()]
    return {metric.name: metric for metric in sorted(metrics, key=lambda metric: (metric.order, metric.name))}


def read_metric(path: Path) -> Metric:
    """The metric of a YAML file: ``_target_`` names its class, the other keys are arguments.

    Raises:
        InputError: another file, a class that cannot be imported or made, another name than the file's.
    """
    try:
        values = dict(yaml.safe_load(path.read_text("utf-8")))
        module, _, name = values.pop("_target_").rpartition(".")
        metric = getattr(import_module(module), name)(**values)
    except Exception as error:  # of a user's own module it may be any
        reason = f"{type(error).__name__} ({' '.join(str(error).split())[:200]})"
        raise InputError(path, reason, "a metric: _target_ with its arguments", "correct the file") from error
    if not isinstance(metric, Metric) or metric.name != path.stem:
        found = f"a {type(metric).__name__} of the name {getattr(metric, 'name', None)!r}"
        raise InputError(path, found, f"a uniseg.metrics.base.Metric of the name '{path.stem}'", "correct the file")
    return metric
