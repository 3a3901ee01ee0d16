"""Scripts of ``experiments/`` and ``benchmarks/`` run seldom, for hours: what they import has to be there."""

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("experiments/*/*.py"), *ROOT.glob("benchmarks/*.py")])
# What the project does not depend on: whoever runs a script beside them installs them.
PEERS = {"nnunetv2", "batchgenerators", "batchgeneratorsv2", "dynamic_network_architectures", "kornia", "wordllama"}


@pytest.fixture
def own_neighbours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules beside a script (``study``, ``jobs``, ...) bear the names of those beside another: none stays."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent in {script.parent for script in SCRIPTS}:
            del sys.modules[name]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.usefixtures("own_neighbours")
def test_a_script_finds_what_it_imports(script: Path) -> None:
    sys.path.insert(0, str(script.parent))
    try:
        runpy.run_path(str(script), run_name="imported")
    except ModuleNotFoundError as error:
        if error.name not in PEERS:
            raise
        pytest.skip(f"{error.name} is not installed")
