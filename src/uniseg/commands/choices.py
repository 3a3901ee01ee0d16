"""What a configuration chose, as an experiment file has to say it to be composed again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from uniseg.errors import InputError


@dataclass(frozen=True)
class Choices:
    """What an experiment file holds.

    Attributes:
        defaults: entries of its defaults list, such as ``{"override /model": "uniseg_small"}``.
        values: by group, those that differ from what the groups hold.

    Examples:
        >>> Choices([{"override /model": "uniseg_small"}], {"data": {"batch_size": 4}}).values["data"]
        {'batch_size': 4}
    """

    defaults: list[dict[str, str]]
    values: dict[str, Any]


def choices_of(config: DictConfig, chosen: Mapping[str, str], groups: Sequence[str]) -> Choices:
    """What ``groups`` (model, optimizer, ...) and the groups inside them hold in ``config``.

    Args:
        chosen: group -> choice, of Hydra's ``runtime.choices``.

    Raises:
        InputError: a key was taken out, which no experiment file can say.
    """
    picked = {group: chosen[group] for group in groups}
    usual = _composed(picked).hydra.runtime.choices
    inside = {key: choice for key, choice in chosen.items() if key.partition("/")[0] in groups}
    picked |= {key: choice for key, choice in inside.items() if usual.get(key) != choice}
    base = _composed(picked)
    values = {group: _difference(group, _plain(config[group]), _plain(base[group])) for group in groups}
    return Choices(
        [{f"override /{key}": choice} for key, choice in picked.items()],
        {group: block for group, block in values.items() if block},
    )


def _composed(picked: Mapping[str, str]) -> DictConfig:
    return compose("train", overrides=[f"{key}={choice}" for key, choice in picked.items()], return_hydra_config=True)


def _plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)


def _difference(key: str, values: Any, base: Any) -> Any:
    """The keys of ``values`` whose values are not those of ``base``, nested as they are."""
    missing = sorted(set(base) - set(values))
    if missing:
        fix = "choose another group or give it another value"
        raise InputError(f"{key}.{missing[0]}", "taken out", "a value", fix)
    different = {}
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            if inner := _difference(f"{key}.{name}", value, base[name]):
                different[name] = inner
        elif name not in base or value != base[name]:
            different[name] = value
    return different
