"""What makes the parts of a network, in plain containers that a file can hold."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


def describe_factory(factory: Callable) -> dict:
    """Plain containers that name a factory: ``_target_`` with the keywords bound to it."""
    keywords = factory.keywords if isinstance(factory, partial) else {}
    target = class_of(factory)
    return {"_target_": f"{target.__module__}.{target.__qualname__}", **{k: _plain(v) for k, v in keywords.items()}}


def class_of(factory: Callable) -> Any:
    """The class that a factory makes objects of."""
    return factory.func if isinstance(factory, partial) else factory


def _plain(value: Any) -> Any:
    if isinstance(value, partial):
        return describe_factory(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
