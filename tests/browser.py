"""A headless Chromium, driven over the DevTools protocol's pipe; every wait ends."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "no Chromium on the path"
SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_WEBGL = ("--disable-3d-apis",)
LONGEST_S = 120
# Chromium reads commands from descriptor 3 and answers on 4.
LAUNCH = """
import os, sys
commands, answers = (os.dup(os.dup(int(each))) for each in sys.argv[1:3])
commands, answers = os.dup2(commands, 200), os.dup2(answers, 201)
os.dup2(commands, 3), os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One tab.

    Attributes:
        complaints: what the console, the network and the scripts complained of so far.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._buffer, self._number = commands, answers, b"", 0
        self._session, self.complaints = {}, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def open(self, path: Path) -> None:
        self.send("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, code: str):
        """The value of an expression, a promise's too."""
        answer = self.send("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        end = time.monotonic() + LONGEST_S
        while not self.run(condition):
            assert time.monotonic() < end, f"never came true: {condition}"
            select.select([], [], [], 0.05)

    def wheel(self, x: float, y: float, turns: int) -> None:
        for _ in range(turns):
            self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=120)

    def picture(self, path: Path) -> Path:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))
        return path

    def send(self, method: str, **parameters) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters} | self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + LONGEST_S
        while (answer := self._read(end)).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _note(self, event: dict) -> None:
        values = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(values["exceptionDetails"])
        if event.get("method") == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(values["entry"]["text"])
        if event.get("method") == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.complaints.append([each.get("value", each.get("description")) for each in values["args"]])

    def _read(self, end: float) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium(folder: Path, *options: str, size: tuple[int, int] = (1280, 860)) -> Iterator[Page]:
    """A tab of a new browser, which ends with the block."""
    read_commands, commands = os.pipe()
    answers, write_answers = os.pipe()
    arguments = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars"),
        *(f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}", *options, "about:blank"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(read_commands), str(write_answers), *arguments],
        pass_fds=(read_commands, write_answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Page(commands, answers)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
        os.close(commands)
        os.close(answers)
