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
    own = {key: choice for key, choice in chosen.items() if key.partition("/")[0] in groups}
    picked |= {key: choice for key, choice in own.items() if usual.get(key) != choice}
    base = _composed(picked)
    values = {group: _difference(group, _plain(config[group]), _plain(base[group])) for group in groups}
    return Choices(
        [{f"override /{key}": choice} for key, choice in picked.items()],
        {group: own for group, own in values.items() if own},
    )


def _composed(picked: Mapping[str, str]) -> DictConfig:
    return compose("train", overrides=[f"{key}={choice}" for key, choice in picked.items()], return_hydra_config=True)


def _plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)


def _difference(where: str, own: Any, base: Any) -> Any:
    """The keys of ``own`` whose values are not those of ``base``, nested as they are."""
    gone = sorted(set(base) - set(own))
    if gone:
        raise InputError(
            f"{where}.{gone[0]}", "taken out", "a value", "choose another group or set a value in its place"
        )
    found = {}
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            if inner := _difference(f"{where}.{key}", value, base[key]):
                found[key] = inner
        elif key not in base or value != base[key]:
            found[key] = value
    return found
