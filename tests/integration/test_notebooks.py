"""The notebooks run from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def executed(name, folder):
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [
        "".join(str(output.get("text", "")) + str(output.get("data", "")) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_they_are_kept_without_outputs():
    for path in NOTEBOOKS.glob("*.ipynb"):
        assert not any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells), path.name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")  # of the kernel's own libraries
def test_train_on_phantoms(tmp_path):
    outputs = executed("train_on_phantoms.ipynb", tmp_path)
    assert "image/png" in outputs[2]
    assert "'phantom_spleen': {'Dice':" in outputs[3]
    assert (tmp_path / "outputs/notebook/report/report.html").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_use_a_trained_model(trained):
    outputs = executed("use_a_trained_model.ipynb", trained)
    assert "'phantom_whole_body_tumour': (('CT', 'PET'), ('tumour',))" in outputs[0]
    assert "taken for" in outputs[1] or "CT (values from" in outputs[1]
    assert "True" in outputs[3]
    assert "image/png" in outputs[4]
    assert "'decode'" in outputs[5]
