"""The page of uniseg view."""

import json
import re

import numpy as np
import pytest

from samples import make_task, save_nifti, small_model
from started import run, succeed
from uniseg.errors import InputError
from uniseg.reporting import niivue
from uniseg.reporting.label_names import name_segments
from uniseg.reporting.markup import script_hash
from uniseg.reporting.niivue import make_library, with_class
from uniseg.reporting.view import read_scene, write_view
from uniseg.task import TaskSet
from uniseg.weights.folder import save_model

SHAPE = (4, 6, 8)
EVIL = "</script><script>alert(1)</script><!--"


@pytest.fixture
def files(tmp_path):
    label = np.zeros(SHAPE, np.uint8)
    label[1:3, 2:4, 2:6], label[3, 4, 4] = 1, 2
    scan = save_nifti(tmp_path / "ct.nii.gz", np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16))
    return scan, save_nifti(tmp_path / "organs" / "ct.nii.gz", label)


@pytest.fixture(autouse=True)
def _library(monkeypatch):
    """A small one; the installed one is tested in a browser."""
    library = make_library("globalThis.Niivue=class{};", "2.4.4", "BSD <licence>")
    monkeypatch.setattr("uniseg.reporting.view.load_library", lambda: library)


def cases_in(page):
    (text,) = re.findall(r'<script type="application/json" id="viewer-cases">(.*?)</script>', page)
    return json.loads(text)


def describe(label, **facts):
    label.with_name(label.name.removesuffix(".nii.gz") + ".json").write_text(json.dumps(facts))


def test_a_page_runs_its_own_scripts_and_asks_no_network(files, tmp_path):
    page = write_view([files[0]], [files[1]], tmp_path / "page.html", references=[files[1]]).read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    allowed = [script_hash(code).replace("'", "&#39;") for code in (*scripts, "globalThis.Niivue=class{};")]
    assert f"script-src {' '.join(allowed)};" in policy
    assert policy.startswith("default-src &#39;none&#39;")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "BSD &lt;licence&gt;" in page
    assert "data:image/png;base64," in page, "what a browser without WebGL shows"
    (case,) = cases_in(page)
    assert (case["title"], case["scans"][0]["name"]) == ("ct", "ct.nii.gz")
    assert [row["name"] for row in case["tasks"][0]["classes"]] == ["1", "2"]


def test_names_are_text_whatever_stands_in_them(files, tmp_path):
    describe(files[1], task=EVIL, values={EVIL: [1], "<b>": [2]})
    page = write_view([files[0]], [files[1]], tmp_path / "page.html").read_text()
    assert "alert(1)</script>" not in page
    assert "<!--" not in page
    (case,) = cases_in(page)
    assert (case["tasks"][0]["name"], case["tasks"][0]["classes"][0]["name"]) == (EVIL, EVIL)


def test_names_come_from_what_lies_there(files, tmp_path):
    label = np.array([0, 1, 2, 5])
    named = lambda *tasks: {s.name: s.values for s in name_segments(files[1], label, tasks)[1]}  # noqa: E731
    assert named() == {"1": (1,), "2": (2,), "5": (5,)}
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "vein": 5}}')
    assert named() == {"vein": (5,), "1": (1,), "2": (2,)}
    task = make_task("liver", classes=("background", "liver", "tumour"))
    assert named(task) == {"liver": (1,), "tumour": (2,), "5": (5,)}
    assert named(task, make_task("other")) == {"vein": (5,), "1": (1,), "2": (2,)}, "whose task is not known"
    describe(files[1], values=[{"value": 1, "name": "a_x"}, {"value": 2, "name": "b_y"}])
    assert named() == {"a_x": (1,), "b_y": (2,), "5": (5,)}
    assert name_segments(files[1], label)[0] == "organs", "the folder, of a merged map"
    describe(files[1], values="nonsense")
    assert named(task) == {"liver": (1,), "tumour": (2,), "5": (5,)}


def test_two_label_maps_of_one_name_and_a_value_that_the_reference_alone_has(files, tmp_path):
    other = np.zeros(SHAPE, np.uint8)
    other[0, 0, 0] = 9
    reference = save_nifti(tmp_path / "reference.nii.gz", other)
    scene = read_scene([files[0]], [files[1], files[1]], [reference, reference])
    assert [layer.task for layer in scene.layers] == ["ct", "ct (2)"]
    assert [segment.name for segment in scene.layers[0].segments] == ["1", "2", "9"]


def test_the_command(files, tmp_path):
    tasks = TaskSet([make_task("organs", classes=("background", "spleen", "cyst"))])
    save_model(small_model(tasks), tmp_path / "model")
    done = succeed(
        "view", "scan=ct.nii.gz", "labels=organs/ct.nii.gz", "checkpoint=model", "output=x.html", cwd=tmp_path
    )
    assert done.stdout == "x.html\n"
    (case,) = cases_in((tmp_path / "x.html").read_text())
    assert [row["name"] for row in case["tasks"][0]["classes"]] == ["spleen", "cyst"]
    done = run("view", "scan=ct.nii.gz", "labels=organs/ct.nii.gz", "output=x.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "a file that ends in .html" in done.stderr
    done = run("view", "scan=ct.nii.gz", "labels=organs/ct.nii.gz", "reference=[a,b]", cwd=tmp_path)
    assert "found 2 for 1 label maps" in done.stderr
    assert not (tmp_path / "view.html").exists()


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(niivue, "find_spec", lambda name: None)
    niivue.load_library.cache_clear()
    with pytest.raises(InputError, match=r"no ipyniivue installed.*pip install 'uniseg\[view\]'"):
        niivue.load_library()
    assert niivue.find_library() is None, "reports go without"


def test_a_bundle_of_another_make_is_refused():
    code = 'x=class{};console.log("Creating new Niivue instance");let B={},C=f(B);v=new x$1(C)}'
    assert with_class(code, "2.4.4").endswith("\nglobalThis.Niivue=x$1;\n")
    for other in ("export default {}", code + "</SCRIPT>"):
        with pytest.raises(InputError, match=r"ipyniivue 9\.0, whose bundle is another one"):
            with_class(other, "9.0")


def test_a_report_goes_without_a_viewer_that_it_does_not_know(monkeypatch):
    def refuse():
        raise InputError("view", "ipyniivue 9.0", "another", "install it")

    monkeypatch.setattr(niivue, "load_library", refuse)
    monkeypatch.setattr(niivue, "find_spec", lambda name: True)
    with pytest.warns(UserWarning, match=r"no viewer in the report: view: found ipyniivue 9\.0"):
        assert niivue.find_library() is None


def test_a_label_map_without_a_voxel_and_a_scan_alone(files, tmp_path):
    empty = save_nifti(tmp_path / "empty.nii.gz", np.zeros(SHAPE, np.uint8))
    page = write_view([files[0]], [empty], tmp_path / "page.html").read_text()
    assert cases_in(page)[0]["tasks"][0]["classes"] == []
    assert cases_in(write_view([files[0]], [], tmp_path / "scan.html").read_text())[0]["tasks"] == []
