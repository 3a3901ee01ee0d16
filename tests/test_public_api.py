"""``import uniseg``: its names, in milliseconds."""

import ast
import subprocess
from pathlib import Path

import pytest

import uniseg
from started import PYTHON

MOST_SECONDS = 0.15
NAMES = {
    *("UniSegModel", "Task", "TaskSet", "Normalization", "Volume", "read_volume", "write_label_map", "Predictor"),
    *("predict_files", "load_model", "save_model", "load_ensemble", "save_ensemble", "load_tasks", "save_task"),
    *("fit", "score", "UpstreamModule", "DownstreamModule", "StreamSettings", "InferenceSettings", "AugmentRecipe"),
    *("UniSegDataModule", "import_nnunet", "import_published", "InputError", "__version__"),
}


def typed_names():
    """Name -> module, as type checkers read them."""
    tree = ast.parse(Path(uniseg.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = {node.names[0].asname: node.module for node in block.body if isinstance(node, ast.ImportFrom)}
    return imports | {node.target.id: None for node in block.body if isinstance(node, ast.AnnAssign)}


def test_type_checkers_and_python_see_the_same_names():
    lazy = {name: f"uniseg.{module}" for name, module in uniseg._MODULES.items()}
    assert typed_names() == lazy | {"__version__": None}
    assert set(uniseg.__all__) == set(typed_names()) >= NAMES
    assert set(uniseg.__all__) <= set(dir(uniseg))


@pytest.mark.parametrize("name", uniseg.__all__)
def test_every_name_is_there(name):
    assert getattr(uniseg, name) is not None


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'uniseg' has no attribute 'nothing'"):
        _ = uniseg.nothing
    with pytest.raises(ImportError, match="nothing"):
        exec("from uniseg import nothing")


def test_the_import_takes_milliseconds_and_no_library():
    done = subprocess.run(
        [
            PYTHON,
            "-X",
            "importtime",
            "-c",
            "import uniseg, sys; print([m for m in ('torch', 'numpy') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    (line,) = [line for line in done.stderr.splitlines() if line.endswith("| uniseg")]
    assert int(line.split("|")[1]) / 1e6 < MOST_SECONDS
    assert done.stdout == "[]\n"


def test_the_package_is_typed_and_says_its_version():
    assert (Path(uniseg.__file__).parent / "py.typed").is_file()
    assert uniseg.__version__[0].isdigit()
