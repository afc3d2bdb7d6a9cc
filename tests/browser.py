"""A headless Chromium, spoken to over its own pipe (the DevTools protocol); no further packages."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

LAUNCH = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""The browser reads commands from descriptor 3 and answers on 4; the pipes' ends may be those numbers."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Browser:
    """One tab of a fresh browser; use in a `with`."""

    def __init__(self, width: int = 1000, height: int = 1100) -> None:
        found = next((path for name in NAMES if (path := shutil.which(name))), None)
        if found is None:
            pytest.skip(f"needs a Chromium ({', '.join(NAMES)}), which is not here")
        self.profile = tempfile.TemporaryDirectory(prefix="browser-")
        read_us, self.write = os.pipe()
        self.read, write_us = os.pipe()
        words = [found, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        words += [f"--user-data-dir={self.profile.name}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(read_us), str(write_us), *words, "about:blank"],
            pass_fds=(read_us, write_us),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_us)
        os.close(write_us)
        self.numbers, self.rest, self.session = itertools.count(1), b"", ""
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.write)
        self.process.terminate()
        self.process.wait(20)
        os.close(self.read)
        shutil.rmtree(self.profile.name, ignore_errors=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; events that come in between are not needed here."""
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            more = os.read(self.read, 1 << 16)
            assert more, "the browser ended"
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(message))

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60.0) -> Any:
        """The expression's value as soon as it is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if value := self.evaluate(script):
                return value
            time.sleep(0.2)
        raise AssertionError(
            f"not within {seconds:g} s: {script}\n{self.evaluate('document.body.innerText')}"
        )

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def choose_files(self, selector: str, *paths: Path) -> None:
        """Hand files to an <input type=file>, as a user's drop would."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        assert node, f"no {selector} on the page"
        self.call("DOM.setFileInputFiles", nodeId=node, files=list(map(str, paths)))

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
