"""What pyproject.toml allows, what the two constraint files pin."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = [Requirement(text) for text in PROJECT["dependencies"]]
OPTIONAL = [Requirement(text) for texts in PROJECT["optional-dependencies"].values() for text in texts]
WITH_TORCH = {"triton"}  # of which each torch for CUDA wants a version of its own
DIRECT = [each for each in [*NEEDED, *OPTIONAL] if each.name not in {PROJECT["name"], *WITH_TORCH}]


def pins(name):
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return {name: Version(version) for name, _, version in (line.partition("==") for line in lines if line)}


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda r: r.name)
def test_every_direct_dependency_is_pinned_to_what_is_allowed(requirement):
    assert pins("constraints.txt")[requirement.name] in requirement.specifier


@pytest.mark.parametrize("requirement", NEEDED, ids=lambda r: r.name)
def test_the_lowest_version_is_the_one_that_is_tried(requirement):
    (floor,) = [Version(bound.version) for bound in requirement.specifier if bound.operator == ">="]
    assert pins("constraints-lowest.txt")[requirement.name] == floor


def test_what_torch_chooses_is_pinned_with_the_lowest_torch_alone():
    for requirement in OPTIONAL:
        if requirement.name in WITH_TORCH:
            assert requirement.name not in pins("constraints.txt")
            assert pins("constraints-lowest.txt")[requirement.name] in requirement.specifier


@pytest.mark.parametrize(
    ("name", "version"), [("torch", "2.9.1"), ("lightning", "2.6.2"), ("lightning", "2.6.3"), ("lightning", "2.7.0")]
)
def test_what_is_not_wanted_is_not_allowed(name, version):
    (requirement,) = [each for each in NEEDED if each.name == name]
    assert Version(version) not in requirement.specifier


def test_the_licence_comes_along():
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
