"""The logic of the extension for 3D Slicer against a running service, without Slicer; its edge against a stand-in."""

import ast
import importlib.util
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import SimpleITK

from scan_files import save_itk
from served import AFFINE, LONGEST_S, TASKS, TOKEN, save_scan, small_predictor
from uniseg import predict_files
from uniseg.images.segments import make_segments
from uniseg.service.uniseg_client import Client

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "integrations/slicer/UniSegServer"


@pytest.fixture
def library(monkeypatch):
    """``UniSegServerLib`` as Slicer imports it: the module's folder is a module path."""
    monkeypatch.syspath_prepend(str(MODULE))
    monkeypatch.setattr(sys, "path", [*sys.path])
    from UniSegServerLib import logic, scene

    yield SimpleNamespace(logic=logic, scene=scene)
    for name in [name for name in sys.modules if name.startswith("UniSegServerLib")]:
        del sys.modules[name]


def finished(run):
    run.join(LONGEST_S)
    assert run.state.is_finished
    return run.state


def test_the_panel_lists_what_the_service_knows(served, library):
    rows = library.logic.fetch_tasks(served.server, TOKEN)
    assert [row.label for row in rows] == [
        "liver (CT: liver, tumour)",
        "spleen (CT: spleen)",
        "tumour (CT + PET: tumour)",
    ]
    for row, task in zip(rows, TASKS, strict=True):
        segments = make_segments(task.classes[1:], task.class_values)
        assert row.classes == tuple((each.name, tuple(part / 255 for part in each.colour)) for each in segments)
    assert rows[2].missing(["PET"]) == ["CT"]
    with pytest.raises(library.logic.ServiceError, match="found a wrong token"):
        library.logic.fetch_tasks(served.server, "something else")


def test_a_run_brings_a_segmentation_with_names_and_colours(served, library, tmp_path):
    row = library.logic.fetch_tasks(served.server, TOKEN)[0]
    scan = save_scan(tmp_path / "volume0.nii")
    run = library.logic.Run(served.server, TOKEN, row, {"CT": scan}, tmp_path / "out").start()
    state = finished(run)
    assert (state.error, state.stage, state.fraction) == ("", "done", 1.0)
    choices = {"tasks": "liver", "modality": ["CT"], "format": "nrrd"}
    (expected,) = predict_files(small_predictor(), scan, tmp_path / "expected", **choices)
    assert state.path.read_bytes() == expected.read_bytes()
    image = SimpleITK.ReadImage(str(state.path))
    for number, (name, colour) in enumerate(row.classes):
        assert image.GetMetaData(f"Segment{number}_Name") == name
        stored = [float(part) for part in image.GetMetaData(f"Segment{number}_Color").split()]
        assert stored == pytest.approx(colour, abs=1e-5)
    assert (served.files(), served.store.jobs) == ([], {})


def test_what_goes_wrong_is_one_line_in_the_panel(served, library, tmp_path):
    rows = library.logic.fetch_tasks(served.server, TOKEN)
    scan = save_scan(tmp_path / "volume0.nii", shape=(8, 20, 20))
    run = library.logic.Run(served.server, TOKEN, rows[2], {"CT": scan}, tmp_path / "out").start()
    assert run.state.error == "choose a volume for PET"
    bad = tmp_path / "volume1.nrrd"
    bad.write_bytes(b"no scan")
    run = library.logic.Run(served.server, TOKEN, rows[0], {"CT": bad}, tmp_path / "out").start()
    assert finished(run).error.startswith("volume1.nrrd: found ")
    run = library.logic.Run("http://127.0.0.1:9", TOKEN, rows[0], {"CT": scan}, tmp_path / "out").start()
    assert finished(run).error.startswith("no answer of the service: ")
    run = library.logic.Run(served.server, TOKEN, rows[0], {"CT": scan}, tmp_path / "out")
    run.cancel()
    assert finished(run.start()).error == library.logic.CANCELLED
    assert served.store.jobs == {}


class Segment:
    def __init__(self, name):
        self.name, self.colour = name, (0.0, 0.0, 0.0)

    def GetName(self):  # noqa: N802 - of VTK
        return self.name

    def SetColor(self, *colour):  # noqa: N802
        self.colour = colour


def test_the_edge_to_slicer_calls_what_slicer_has(library, tmp_path):
    """A stand-in that knows only these calls; any other name ends the test."""
    segments, calls = [Segment("liver"), Segment("liver+tumour")], []
    segmentation = SimpleNamespace(GetNumberOfSegments=lambda: 2, GetNthSegment=segments.__getitem__)
    node = SimpleNamespace(
        GetSegmentation=lambda: segmentation,
        SetReferenceImageGeometryParameterFromVolumeNode=lambda volume: calls.append(("grid of", volume)),
        CreateDefaultDisplayNodes=lambda: calls.append(("shown",)),
        CreateClosedSurfaceRepresentation=lambda: calls.append(("3-D",)),
    )

    def export(volume, path, properties, world):
        save_itk(Path(path), volume.array, AFFINE)
        return world and properties == {"useCompression": False}

    util = SimpleNamespace(
        exportNode=export, loadSegmentation=lambda path, properties: calls.append(properties) or node
    )
    slicer = SimpleNamespace(util=util)
    volume = SimpleNamespace(array=np.ones((4, 5, 6), np.int16), GetName=lambda: "CT 1")
    path = library.scene.save_volume(slicer, volume, tmp_path / "volume0.nrrd")
    assert SimpleITK.ReadImage(str(path)).GetSize() == (6, 5, 4)
    shown = library.scene.load_segmentation(slicer, path, volume, "CT 1 liver", [("liver", (0.5, 0.25, 1.0))])
    assert shown is node
    assert calls == [{"name": "CT 1 liver"}, ("grid of", volume), ("shown",), ("3-D",)]
    assert [segment.colour for segment in segments] == [(0.5, 0.25, 1.0), (0.0, 0.0, 0.0)]
    slicer.util.exportNode = lambda *_, **__: False
    with pytest.raises(OSError, match="volume 'CT 1' cannot be written"):
        library.scene.save_volume(slicer, volume, tmp_path / "no.nrrd")


class Form(MagicMock):
    """A layout that knows how many rows it has."""

    def __init__(self, *_, **more):
        super().__init__(**more)
        self.rows = []

    def addRow(self, *row):  # noqa: N802 - of Qt
        self.rows.append(row)

    def rowCount(self):  # noqa: N802
        return len(self.rows)

    def removeRow(self, number):  # noqa: N802
        del self.rows[number]


class Panel:
    """What Slicer's own widget brings."""

    def setup(self):
        self.layout = MagicMock()


def slicers_modules(volume, shown):
    """Stand-ins for the modules that the panel imports."""
    qt = MagicMock(QFormLayout=Form, QLineEdit=MagicMock(side_effect=lambda text: MagicMock(text=text)))
    util = SimpleNamespace(
        exportNode=lambda node, path, *_, **__: bool(save_itk(Path(path), volume.array, AFFINE)),
        loadSegmentation=lambda path, properties: shown.append((Path(path).read_bytes(), properties)) or MagicMock(),
        tryWithErrorDisplay=lambda *_, **__: nullcontext(),
    )
    slicer = MagicMock(util=util, qMRMLNodeComboBox=lambda: MagicMock(currentNode=lambda: volume))
    slicer.app.userSettings().value = lambda key, default: default
    base = SimpleNamespace(ScriptedLoadableModule=object, ScriptedLoadableModuleWidget=Panel)
    return {"qt": qt, "ctk": MagicMock(), "slicer": slicer, "slicer.ScriptedLoadableModule": base}


def test_the_panel_runs_a_task_and_shows_it(served, library, tmp_path, monkeypatch):
    array = np.random.default_rng(0).normal(40, 150, (20, 24, 22)).astype(np.int16)
    volume, shown = SimpleNamespace(array=array, GetName=lambda: "CT 1"), []
    for name, module in slicers_modules(volume, shown).items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("panel", MODULE / "UniSegServer.py")
    panel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(panel)
    widget = panel.UniSegServerWidget()
    widget.setup()
    widget.server.text, widget.token.text = served.server, "wrong"
    widget.on_connect()
    assert widget.status.setText.call_args[0][0].startswith("Authorization: found a wrong token")
    widget.token.text = TOKEN
    widget.on_connect()
    for index, modalities in ((2, ["CT", "PET"]), (1, ["CT"])):
        widget.on_task(index)
        assert list(widget.selectors) == modalities
        assert widget.volumes.rowCount() == len(modalities)
    widget.task.currentIndex = 1
    widget.on_run()
    folder = widget.folder
    finished(widget.run)
    widget.on_timer()
    scan, choices = save_itk(tmp_path / "volume0.nrrd", array, AFFINE), {"modality": ["CT"], "format": "nrrd"}
    (path,) = predict_files(small_predictor(), scan, tmp_path / "out", tasks="spleen", **choices)
    assert shown == [(path.read_bytes(), {"name": "CT 1 spleen"})]
    assert not folder.exists()
    widget.cleanup()
    assert served.files() == []


def test_the_extension_lists_its_files_and_is_read_by_slicers_python():
    listed = (MODULE / "CMakeLists.txt").read_text()
    for path in MODULE.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))
        name = path.relative_to(MODULE).as_posix().replace("UniSegServer", "${MODULE_NAME}")
        assert name in listed, path
    client = Path(sys.modules[Client.__module__].__file__)
    ast.parse(client.read_text(), feature_version=(3, 9))
    assert (MODULE / "../../../src/uniseg/service/uniseg_client.py").resolve() == client
