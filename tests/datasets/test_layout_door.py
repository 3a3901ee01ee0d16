"""A layout is a file, or a module of an installed package."""

import pytest

import plugin
from uniseg import plugins
from uniseg.datasets.case import dataset_warnings, find_cases
from uniseg.datasets.source import LAYOUTS, Source
from uniseg.errors import InputError


@pytest.mark.parametrize("name", plugins.built_in(LAYOUTS))
def test_each_layout_says_what_its_folder_holds(name, tmp_path):
    layout = Source(name, tmp_path).find_layout()
    assert callable(layout.find_files)
    assert len(layout.ROOT_HOLDS) > 10
    with pytest.raises(InputError, match=f"no such folder; expected a dataset in layout '{name}': "):
        find_cases(Source(name, tmp_path / "none"), ("CT",))


def test_a_layout_of_an_installed_package(tmp_path, monkeypatch):
    plugin.install(tmp_path / "site", monkeypatch)
    for patient in ("a", "b", "c"):
        for name in ("scan", "mask"):
            path = tmp_path / "data" / patient / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    source = Source("folders", tmp_path / "data")
    cases = find_cases(source, ("CT",))
    assert [(case.case_id, case.patient_id, case.image_paths[0].name) for case in cases] == [
        (name, f"data/{name}", "scan.nii.gz") for name in ("a", "b", "c")
    ]
    assert dataset_warnings(source, cases) == [(tmp_path / "data", "3 patients", "an even number")]
    with pytest.raises(InputError, match="no labelled case; expected a dataset in layout 'folders': a folder per pat"):
        find_cases(Source("folders", tmp_path / "site"), ("CT",))


def test_an_unknown_layout_names_those_that_are_there(tmp_path, monkeypatch):
    plugin.install(tmp_path / "site", monkeypatch)
    with pytest.raises(InputError, match=r"layout 'kit'; .*, verse, folders; .*uniseg\.layouts"):
        find_cases(Source("kit", tmp_path), ("CT",))
