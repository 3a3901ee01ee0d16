"""Imports flow one way: a module sees its own layer's folder and the layers below it."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "uniseg"
LAYERS = [
    {"task", "config", "errors", "environment", "files", "workers"},
    {"scans"},
    {"models", "losses", "metrics"},
    {"prepare"},
    {"stream", "weights"},
    {"inference"},
    {"training", "report"},
    {"train", "predict", "evaluate", "export", "cli", "schema", "arguments", "bounds", "choices", "failures", "local_conf"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(SRC.rglob("*.py"))


def place(path: Path) -> str:
    """The folder or top-level module that a file belongs to; a ``__main__`` is an entry point."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return "cli" if parts[-1] == "__main__" else parts[0]


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "uniseg" else [node.module]
    return found


def test_there_are_files():
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_point_down(path):
    own = place(path)
    if own == "__init__":
        return
    for name in imports(path):
        if not name.startswith("uniseg."):
            continue
        other = name.split(".")[1]
        assert other in LEVEL, f"{path}: {name} has no layer"
        assert other == own or LEVEL[other] < LEVEL[own] or (LEVEL[other] == LEVEL[own] and LEVEL[own] in (0, 7)), f"{path} imports {name}"


FORBIDDEN = {
    "models": {"lightning", "hydra", "omegaconf", "wandb", "nibabel", "blosc2"},
    "losses": {"lightning", "hydra", "omegaconf", "wandb", "nibabel", "blosc2"},
    "metrics": {"lightning", "hydra", "omegaconf", "wandb", "nibabel", "blosc2"},
    "scans": {"lightning", "hydra", "omegaconf", "wandb"},
    "prepare": {"lightning", "hydra", "omegaconf", "wandb"},
    "stream": {"hydra", "omegaconf", "wandb"},
    "weights": {"hydra", "omegaconf", "wandb"},
    "inference": {"lightning", "hydra", "omegaconf", "wandb"},
    "training": {"hydra", "omegaconf", "wandb"},
    "report": {"hydra", "omegaconf", "wandb"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_libraries_stay_in_their_layer(path):
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & FORBIDDEN.get(place(path), {"wandb"})
    is_entry = LEVEL.get(place(path)) == 7
    assert is_entry or "hydra" not in roots
