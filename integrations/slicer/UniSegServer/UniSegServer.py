"""The panel: server, token, task, one volume for each modality, Run; the work is in UniSegServerLib."""

import shutil
import tempfile
from pathlib import Path

import ctk
import qt
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget
from UniSegServerLib import logic, scene

SERVER, TOKEN = "UniSegServer/Server", "UniSegServer/Token"  # keys of the application's settings
LOOK_MS = 300  # between two looks at a run
DEFAULT_SERVER = "http://127.0.0.1:8765"


class UniSegServer(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "UniSeg Server"
        parent.categories = ["Segmentation"]
        parent.contributors = ["the authors of uniseg"]
        parent.helpText = "Start <code>uniseg serve checkpoint=...</code>, give its address and token, press Connect."
        parent.acknowledgementText = "UniSeg: Ye et al., MICCAI 2023."


class UniSegServerWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.tasks, self.selectors, self.run, self.folder = [], {}, None, None
        self.timer = qt.QTimer()
        self.timer.setInterval(LOOK_MS)
        self.timer.connect("timeout()", self.on_timer)
        settings = slicer.app.userSettings()
        self.server = qt.QLineEdit(settings.value(SERVER, DEFAULT_SERVER))
        self.token = qt.QLineEdit(settings.value(TOKEN, ""))
        self.token.setEchoMode(qt.QLineEdit.Password)
        self.connectButton = qt.QPushButton("Connect")
        self.task = qt.QComboBox()
        self.volumes = qt.QFormLayout()
        self.runButton, self.cancelButton = qt.QPushButton("Run"), qt.QPushButton("Cancel")
        self.progress, self.status = qt.QProgressBar(), qt.QLabel("")
        self.status.setWordWrap(True)
        self._lay_out()
        self.connectButton.connect("clicked()", self.on_connect)
        self.task.connect("currentIndexChanged(int)", self.on_task)
        self.runButton.connect("clicked()", self.on_run)
        self.cancelButton.connect("clicked()", self.on_cancel)
        self._show_running(False)

    def _lay_out(self):
        for title, rows in (
            ("Server", (("Address:", self.server), ("Token:", self.token), ("", self.connectButton))),
            ("Segmentation", (("Task:", self.task),)),
        ):
            group = ctk.ctkCollapsibleButton()
            group.text = title
            form = qt.QFormLayout(group)
            for label, widget in rows:
                form.addRow(label, widget)
            self.layout.addWidget(group)
        form.addRow(self.volumes)
        buttons = qt.QHBoxLayout()
        buttons.addWidget(self.runButton)
        buttons.addWidget(self.cancelButton)
        form.addRow(buttons)
        form.addRow(self.progress)
        form.addRow(self.status)
        self.layout.addStretch(1)

    def cleanup(self):
        self.timer.stop()
        if self.run is not None:
            self.run.cancel()
            self.run.join(5)
        self._remove_folder()

    def on_connect(self):
        settings = slicer.app.userSettings()
        settings.setValue(SERVER, self.server.text)
        settings.setValue(TOKEN, self.token.text)
        self.task.clear()
        try:
            self.tasks = logic.fetch_tasks(self.server.text, self.token.text)
        except logic.ServiceError as error:
            self.tasks = []
            self.status.setText(str(error))
            return
        self.task.addItems([task.label for task in self.tasks])
        self.status.setText(f"{len(self.tasks)} tasks")

    def on_task(self, index):
        while self.volumes.rowCount():
            self.volumes.removeRow(0)
        self.selectors = {}
        for modality in self.tasks[index].modalities if 0 <= index < len(self.tasks) else ():
            selector = slicer.qMRMLNodeComboBox()
            selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
            selector.addEnabled = selector.removeEnabled = False
            selector.noneEnabled = modality in self.tasks[index].optional
            selector.setMRMLScene(slicer.mrmlScene)
            self.volumes.addRow(f"{modality}:", selector)
            self.selectors[modality] = selector
        self.runButton.enabled = bool(self.selectors)

    def on_run(self):
        nodes = {name: each.currentNode() for name, each in self.selectors.items() if each.currentNode() is not None}
        task = self.tasks[self.task.currentIndex]
        self._remove_folder()
        self.folder = Path(tempfile.mkdtemp(prefix="uniseg_slicer_"))
        with slicer.util.tryWithErrorDisplay("The volumes cannot be sent.", waitCursor=True):
            volumes = {
                name: scene.save_volume(slicer, node, self.folder / f"volume{number}.nrrd")
                for number, (name, node) in enumerate(nodes.items())
            }
            self.reference = next(iter(nodes.values()), None)
            self.run = logic.Run(self.server.text, self.token.text, task, volumes, self.folder / "out").start()
            self._show_running(True)
            self.timer.start()

    def on_cancel(self):
        if self.run is not None:
            self.run.cancel()
            self.status.setText("cancelling")

    def on_timer(self):
        state, task = self.run.state, self.run.task
        self.progress.setValue(round(100 * state.fraction))
        self.status.setText(state.error or state.stage)
        if not state.is_finished:
            return
        self.timer.stop()
        self._show_running(False)
        if state.path is not None:
            name = f"{self.reference.GetName()} {task.name}"
            scene.load_segmentation(slicer, state.path, self.reference, name, task.classes)
        self._remove_folder()

    def _show_running(self, is_running):
        self.runButton.enabled = not is_running and bool(self.selectors)
        self.cancelButton.enabled = is_running
        self.progress.setVisible(is_running)

    def _remove_folder(self):
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = None
