"""A headless Chromium, spoken to over its own pipe (the DevTools protocol), with nothing to install beside it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (program for name in ("chromium", "chromium-browser", "google-chrome") if (program := shutil.which(name))), None
)


class Browser:
    """One page of a browser.

    Attributes:
        errors: What the page wrote to its console as an error, and exceptions nobody caught.
        requests: The addresses it asked for beside its own file, `data:` and `blob:` aside.
    """

    def __init__(self, to: int, out: int) -> None:
        self._to, self._out = to, os.fdopen(out, "rb")
        self._buffer, self._number, self._session = b"", 0, None
        self.errors: list[str] = []
        self.requests: list[str] = []

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method and waits for its answer; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = self._out.read1(1 << 20)
            assert piece, "the browser is gone"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(part.get("value", part.get("description"))) for part in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            address = parameters["request"]["url"]
            if not address.startswith(("data:", "blob:", "about:")):
                self.requests.append(address)

    def begin(self) -> None:
        """Attaches to a page, with its events."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def look(self, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Sets the window's size and what the user prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        preferred = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=preferred)

    def open(self, file: Path, timeout: float = 120) -> None:
        """Opens a page and waits until it says that it is ready."""
        self.errors.clear()
        self.requests.clear()
        self.send("Page.navigate", url=file.resolve().as_uri())
        self.wait("document.body && document.body.dataset.ready", timeout)
        self.requests.remove(file.resolve().as_uri())

    def run(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, timeout: float = 60) -> Any:
        """Waits until an expression is true."""
        end = time.monotonic() + timeout
        while not (value := self.run(expression)):
            assert time.monotonic() < end, f"{expression} is still {value!r}; errors: {self.errors}"
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """A key of the keyboard, such as Tab, ArrowDown, Enter or a letter."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        common = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self.send("Input.insertText", text=text)

    def picture(self, file: Path, whole: bool = False) -> None:
        """Keeps a PNG of the window, or of the whole page."""
        more: dict[str, Any] = {}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            more = {"captureBeyondViewport": True, "clip": {**size, "x": 0, "y": 0, "scale": 1}}
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png", **more)["data"]))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser of its own, gone at the end."""
    assert CHROMIUM is not None
    read_to, to = os.pipe()
    out, write_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-extensions --hide-scrollbars"
        # The browser reads commands from descriptor 3 and writes to 4.
        shell = f'exec 3<&{read_to} 4>&{write_out}; exec "$0" "$@"'
        command = [*flags.split(), "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            ["bash", "-c", shell, CHROMIUM, *command],
            pass_fds=(read_to, write_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_to)
        os.close(write_out)
        try:
            browser = Browser(to, out)
            browser.begin()
            yield browser
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(to)
