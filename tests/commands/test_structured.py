"""The schema of a group is that of its frozen dataclass; a composed group becomes the dataclass again."""

import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from uniseg.commands import run_roots
from uniseg.commands.bounds import settings_of
from uniseg.commands.structured import schema_of, settings_from
from uniseg.errors import InputError
from uniseg.settings import COUNT, bounded, check_fields, number, sequence


@dataclass(frozen=True)
class Inner:
    root: Path = Path("data")


@dataclass(frozen=True)
class Settings:
    group: ClassVar[str] = "things"

    size: tuple[int, int, int] = field(default=(1, 2, 3), metadata=bounded(sequence(COUNT, length=3)))
    axes: tuple[int, ...] = ()
    limit: float | None = field(default=None, metadata=bounded(number(above=0)))
    kind: Literal["a", "b"] = "a"
    weights: str | float | dict[str, float] = "equal"
    inner: Inner = field(default_factory=Inner)
    names: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)


PLAIN = {
    "size": [1, 2, 3], "axes": [], "limit": None, "kind": "a", "weights": "equal", "inner": {"root": "data"},
    "names": {},
}  # fmt: skip


def test_tuples_are_lists_and_paths_text():
    schema = OmegaConf.structured(schema_of(Settings, with_defaults=True, name=str))
    assert OmegaConf.is_missing(schema, "name")
    schema.name = "x"
    assert OmegaConf.to_container(schema) == {**PLAIN, "name": "x"}


def test_without_defaults_a_yaml_gives_every_value():
    schema = OmegaConf.structured(schema_of(Settings))
    assert all(OmegaConf.is_missing(schema, key) for key in PLAIN)
    assert settings_from(Settings, OmegaConf.merge(schema, PLAIN)) == Settings()


@pytest.mark.parametrize("wrong", [{"size": ["a"]}, {"limit": "x"}, {"sizes": 1}, {"inner": {"rot": "a"}}])
def test_the_schema_refuses_what_the_dataclass_does_not_take(wrong):
    with pytest.raises(OmegaConfBaseException):
        OmegaConf.merge(OmegaConf.structured(schema_of(Settings)), wrong)


def test_a_composed_group_becomes_the_dataclass():
    given = {"size": [4, 5, 6], "inner": {"root": "x"}, "names": {"a": [1]}, "weights": {"liver": 2.0}, "limit": 2}
    config = OmegaConf.merge(OmegaConf.structured(schema_of(Settings, with_defaults=True)), given)
    made = settings_from(Settings, config)
    assert made == Settings(
        size=(4, 5, 6), inner=Inner(Path("x")), names={"a": (1,)}, weights={"liver": 2.0}, limit=2.0
    )


def test_bounds_come_along():
    bounds = {setting.key: setting.bound for setting in settings_of(schema_of(Settings))}
    assert bounds["kind"].expected == "one of a, b"
    assert bounds["limit"].holds(None)
    assert not bounds["limit"].holds(0)
    assert not bounds["size"].holds([1, 2])


def test_python_is_held_to_the_same_bounds():
    with pytest.raises(InputError, match=r"things\.size: found \[0, 1, 1\]; expected a list of 3 entries"):
        Settings(size=(0, 1, 1))
    with pytest.raises(InputError, match=r"things\.limit"):
        Settings(limit=-1)


def test_a_schema_is_found_again_in_the_process_of_a_job():
    """By name, not by value: a copied dataclass would not know its own defaults."""
    code = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])).__name__)"
    sent = pickle.dumps(run_roots.TaskSchema).hex()
    done = subprocess.run([sys.executable, "-c", code, sent], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "TaskBlockSchemaWithDefaults\n"
    assert len(sent) < 400
