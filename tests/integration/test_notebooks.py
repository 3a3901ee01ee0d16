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
    prepared, built, trained, curves, scores, picture = executed("train_on_phantoms.ipynb", tmp_path)
    assert prepared.endswith("{'text/plain': '0'}")
    assert "phantom_liver, phantom_spleen, phantom_whole_body_tumour" in built
    assert "Training: |" in trained, "the bar is visible"
    assert "jupyter.widget-view" in trained, "where ipywidgets are installed it is one of them"
    assert "'val/pseudo_dice'" in trained
    assert "image/png" in curves
    assert "image/png" in picture
    assert "'liver': {'dice':" in scores
    assert (tmp_path / "outputs/notebook/checkpoints/last.ckpt").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_use_a_trained_model(trained):
    outputs = executed("use_a_trained_model.ipynb", trained)
    assert "'phantom_whole_body_tumour': (('CT', 'PET'), ('tumour',))" in outputs[0]
    assert "taken for" in outputs[1] or "CT (values from" in outputs[1]
    assert "True" in outputs[3]
    assert "image/png" in outputs[4]
    assert "'decode'" in outputs[5]
    assert (trained / "outputs/notebook_liver.nii.gz").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_your_own_encoder(prepared):
    outputs = executed("your_own_encoder.ipynb", prepared)
    assert "[(1, 8, 16, 32, 32), (1, 16, 8, 16, 16), (1, 32, 4, 8, 8)]" in outputs[1]
    assert "(2, 3, 16, 32, 32)" in outputs[2]
    assert outputs[3].rstrip().endswith("{'text/plain': '20'}")
