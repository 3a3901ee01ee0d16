"""A frozen run-time dataclass of settings -> Hydra's schema of its group, and back from a composed group."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, field, fields, is_dataclass, make_dataclass
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf

from uniseg.settings import as_plain, bounded, word

Settings = TypeVar("Settings")
PRIMITIVES = (str, int, float, bool, Any)


def schema_of(settings: type, *, with_defaults: bool = False, **extra: type) -> type:
    """A mutable dataclass that OmegaConf checks: tuples become lists, paths text, unions of several types anything.

    Args:
        settings: a dataclass whose fields carry their type, default and bound (``uniseg.settings.bounded``).
        with_defaults: fields have the defaults of ``settings``; otherwise a YAML gives every value.
        extra: keys of the YAML that ``settings`` does not take, with their types.

    Examples:
        >>> from uniseg.training.speed import SpeedSettings
        >>> OmegaConf.structured(schema_of(SpeedSettings, with_defaults=True)).channels_last
        'auto'
    """
    name = "".join([settings.__name__, "Schema", "WithDefaults" * with_defaults, *extra])
    known = globals().get(name)
    if known is not None and known.run_time_class is settings:
        return known
    hints = get_type_hints(settings)
    items = [(each.name, *_schema_field(each, hints[each.name], with_defaults)) for each in fields(settings)]
    items += [(key, hint, field(default=MISSING)) for key, hint in extra.items()]
    schema = make_dataclass(name, items, namespace={"run_time_class": settings})
    schema.__module__ = __name__
    globals()[name] = schema  # where a job of a sweep in another process finds it
    return schema


def plain_value(value: Any) -> Any:
    """A value of a configuration as the work takes it: a list is Python's.

    Examples:
        >>> plain_value(OmegaConf.create(["liver"])), plain_value("liver")
        (['liver'], 'liver')
    """
    return OmegaConf.to_container(value) if OmegaConf.is_list(value) else value


def __getattr__(name: str) -> Any:
    """The classes that ``schema_of`` made in the process from which a job of a sweep was sent."""
    if "Schema" in name:
        import_module("uniseg.commands.roots")
        if name in globals():
            return globals()[name]
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def settings_from(settings: type[Settings], config: DictConfig | Mapping) -> Settings:
    """The dataclass with the values of a composed group; keys that it does not take (``name``) are left out.

    Raises:
        InputError: the dataclass refuses a value.
    """
    values = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    hints = get_type_hints(settings)
    return settings(
        **{
            each.name: _run_time(values[each.name], hints[each.name])
            for each in fields(settings)
            if each.name in values
        }
    )


def _schema_field(each: Field, hint: Any, with_defaults: bool) -> tuple[Any, Any]:
    """Type and field of the schema."""
    schema_hint, metadata = _schema_type(hint, with_defaults), dict(each.metadata)
    literal = next((part for part in (hint, *get_args(hint)) if get_origin(part) is Literal), None)
    if literal is not None:
        metadata = bounded(word(*get_args(literal))) | metadata
    default = each.default if each.default_factory is NO_DEFAULT else each.default_factory()
    if not with_defaults or default is NO_DEFAULT:
        return schema_hint, field(default=MISSING, metadata=metadata)
    if is_dataclass(default):
        return schema_hint, field(default_factory=schema_hint, metadata=metadata)
    plain = as_plain(default)
    return schema_hint, field(default_factory=lambda: as_plain(plain), metadata=metadata)


def _schema_type(hint: Any, with_defaults: bool) -> Any:
    """What OmegaConf can check of a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        parts = {_schema_type(part, with_defaults) for part in arguments if part is not NoneType}
        only = parts.pop() if len(parts) == 1 else Any
        return only | None if only is not Any and NoneType in arguments else only
    if origin is Literal:
        return str
    if origin in (tuple, list, Sequence):
        items = {_schema_type(part, with_defaults) for part in arguments if part is not ...}
        return list[items.pop() if len(items) == 1 else Any]
    if origin in (dict, Mapping):
        key, value = arguments
        return dict[key, _schema_type(value, with_defaults)]
    if is_dataclass(hint):
        return schema_of(hint, with_defaults=with_defaults)
    if hint is Path:
        return str
    return hint if hint in PRIMITIVES else Any


def _run_time(value: Any, hint: Any) -> Any:
    """A plain value as the type of its field wants it; None stays."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        chosen = [part for part in arguments if part is not NoneType]
        takes_list = next((part for part in chosen if get_origin(part) in (tuple, Sequence)), None)
        if value is not None and len(chosen) == 1:
            return _run_time(value, chosen[0])
        return _run_time(value, takes_list) if isinstance(value, list) and takes_list else value
    if origin in (tuple, Sequence) and isinstance(value, list):
        return tuple(_run_time(item, arguments[0]) for item in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: _run_time(item, arguments[1]) for key, item in value.items()}
    if is_dataclass(hint) and isinstance(value, dict):
        return settings_from(hint, value)
    return Path(value) if hint is Path and value is not None else value
