"""A folder as nnU-Net's trainer leaves it: which folds are taken, what is said of the rest, its postprocessing."""

import json
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from nnunet_folder import FILES, trained
from uniseg import InputError, import_nnunet
from uniseg.weights.ensemble import save_ensemble
from uniseg.weights.foreign.nnunet_results import (
    LARGEST_COMPONENT,
    find_configurations,
    import_configuration,
    read_postprocessing,
)
from uniseg.weights.foreign.open import open_source

MODULE = "nnunetv2.postprocessing.remove_connected_components"


def only(results: Path):
    (source,) = find_configurations(results)
    return source


def test_every_fold_is_taken_with_what_it_mirrors(tmp_path):
    folder = trained(tmp_path, folds=("10", "2", "all"))
    shutil.move(folder / "fold_2/checkpoint_final.pth", folder / "fold_2/checkpoint_best.pth")
    (folder / "fold_0").mkdir()
    (folder / "fold_2_old").mkdir()
    imported = import_configuration(only(tmp_path))
    assert [fold.name for fold in imported.folds] == ["fold_2", "fold_10", "fold_all"]
    assert [fold.checkpoint for fold in imported.folds] == [
        "checkpoint_best.pth",
        "checkpoint_final.pth",
        "checkpoint_final.pth",
    ]
    assert [note.partition(":")[0] for note in imported.notes] == ["fold_0", "fold_2"]
    assert imported.folds[0].mirror_axes == (1, 2), "its first axis is our second, as the plans turn them"
    biases = [fold.model.state_dict()["head.convs.0.bias"][0].item() for fold in imported.folds]
    assert biases == [1, 0, 2]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_results_a_dataset_or_one_configuration(tmp_path, level):
    folder = trained(tmp_path)
    source = only((tmp_path, folder.parent, folder)[level])
    assert (source.dataset, source.configuration) == ("Dataset123_plain", "3d_lowres")


def test_the_plans_beside_the_folds_hold_as_for_nnunets_predictor(tmp_path):
    folder = trained(tmp_path)
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_lowres"]["spacing"] = [6.0, 2.5, 1.0]
    (folder / "plans.json").write_text(json.dumps(plans))
    (task,) = import_configuration(only(tmp_path)).folds[0].model.tasks
    assert task.spacing_mm == (2.5, 6.0, 1.0)


def test_what_cannot_be_taken_is_named(tmp_path):
    trained(tmp_path, configuration="2d")
    with pytest.raises(InputError, match="of two dimensions"):
        import_configuration(only(tmp_path))
    folder = trained(tmp_path / "b")
    content = torch.load(folder / "fold_1/checkpoint_final.pth", weights_only=False)
    content["network_weights"] = {"vit.weight": torch.zeros(2)}
    torch.save(content, folder / "fold_1/checkpoint_final.pth")
    imported = import_configuration(only(tmp_path / "b"))
    assert len(imported.folds) == 1
    (note,) = imported.notes
    assert note.startswith("fold_1: not taken: ")
    with pytest.raises(InputError, match="no trained configuration"):
        find_configurations(tmp_path / "nowhere")


def write_steps(folder: Path, steps, ending: str) -> Path:
    path = folder / "crossval_results_folds_0_1" / f"postprocessing.{ending}"
    path.parent.mkdir(exist_ok=True)
    arguments = [{"labels_or_regions": values} for values in steps]
    if ending == "json":
        names = [LARGEST_COMPONENT] * len(steps)
        path.write_text(json.dumps({"postprocessing_fns": names, "postprocessing_kwargs": arguments}))
        return path
    module = ModuleType(MODULE)
    exec(
        f"def {LARGEST_COMPONENT}(segmentation, labels_or_regions, background_label=0): raise SystemError", vars(module)
    )
    parents = {".".join(MODULE.split(".")[:k]): ModuleType("x") for k in (1, 2)}
    sys.modules.update({MODULE: module, **parents})
    try:
        path.write_bytes(pickle.dumps(([getattr(module, LARGEST_COMPONENT)] * len(steps), arguments)))
    finally:
        for name in (MODULE, *parents):
            del sys.modules[name]
    return path


@pytest.mark.parametrize("ending", ["json", "pkl"])
def test_postprocessing_is_read_without_running_anything(tmp_path, ending):
    folder = trained(tmp_path)
    write_steps(folder, [[1, 2], 2], ending)
    assert import_configuration(only(tmp_path)).largest == [("liver", "tumour"), ("tumour",)]
    regions = trained(tmp_path / "regions", "residual")
    write_steps(regions, [[1, 2], (2,)], ending)
    imported = import_configuration(only(tmp_path / "regions"))
    assert imported.largest == [("whole",), ("core",)]
    assert "regions_class_order are not read" in imported.notes[-2]


class Evil:
    def __reduce__(self):
        return (sys.modules["os"].mkdir, ("ran",))


def test_another_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = trained(tmp_path)
    path = write_steps(folder, [1], "pkl")
    path.write_bytes(pickle.dumps(([Evil()], [{}])))
    with pytest.raises(InputError, match="mkdir, which is not run"):
        read_postprocessing(only(tmp_path), import_nnunet(FILES / "plain.pth"))
    imported = import_configuration(only(tmp_path))
    assert imported.largest == []
    assert "no postprocessing" in imported.notes[-1]
    assert not (tmp_path / "ran").exists()


def test_a_training_begins_with_the_first_fold(tmp_path):
    trained(tmp_path)
    imported = import_configuration(only(tmp_path))
    names = [fold.name for fold in imported.folds]
    folder = save_ensemble([fold.model for fold in imported.folds], tmp_path / "own", names)
    source = open_source(folder)
    assert source.name == str(folder / "fold_0")
    assert torch.equal(source.tensors["head.convs.0.bias"], imported.folds[0].model.state_dict()["head.convs.0.bias"])
    assert not torch.equal(
        source.tensors["head.convs.0.bias"], imported.folds[1].model.state_dict()["head.convs.0.bias"]
    )
