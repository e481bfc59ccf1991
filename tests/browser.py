"""A headless Chromium driven over its own pipe (DevTools protocol), with nothing installed beside the browser."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATH = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
_LAUNCH = (  # the browser reads commands at descriptor 3 and writes at 4
    "import fcntl, os, sys; "
    "r, w = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]); "
    "os.dup2(r, 3); os.dup2(w, 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "PageUp": 33, "PageDown": 34}
_KEYS |= {"Home": 36, "End": 35, "Tab": 9, "Enter": 13, " ": 32}
_MODIFIERS = {"alt": 1, "ctrl": 2, "shift": 8}


class Browser:
    """One page of a browser; use it in a `with` block."""

    def __init__(self, profile: Path, width: int = 1280, height: int = 900) -> None:
        assert PATH is not None
        read_command, self._out = os.pipe()
        self._in, write_answer = os.pipe()
        arguments = [PATH, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        arguments += [f"--user-data-dir={profile}", f"--window-size={width},{height}", "--hide-scrollbars"]
        arguments += ["--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(read_command), str(write_answer), *arguments],
            pass_fds=(read_command, write_answer),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_command)
        os.close(write_answer)
        self._number = itertools.count(1)
        self._buffer = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")
        self.size(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def call(self, method: str, timeout: float = 60, **parameters: Any) -> dict[str, Any]:
        """Answer of the browser to one command of the protocol."""
        number = next(self._number)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(timeout)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _read(self, timeout: float) -> dict[str, Any]:
        stop = time.monotonic() + timeout
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(stop - time.monotonic(), 0))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def open(self, address: str, timeout: float = 60) -> None:
        """Go to an address and wait until it is loaded and two frames are drawn."""
        self.events.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        stop = time.monotonic() + timeout
        while self.js("document.readyState") != "complete" or self.js("location.href") == "about:blank":
            if time.monotonic() > stop:
                raise TimeoutError(address)
            time.sleep(0.02)
        self.settle()

    def settle(self) -> None:
        """Wait until what is pending is drawn."""
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")

    def js(self, expression: str) -> Any:
        """Value of an expression in the page; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and requests to a network."""
        self.js("0")
        found = []
        for event in self.events:
            kind, about = event.get("method"), event.get("params", {})
            if kind == "Runtime.exceptionThrown":
                found.append(str(about["exceptionDetails"]))
            elif kind == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
                found.append(str(about["args"]))
            elif kind == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
                found.append(about["entry"]["text"])
            elif kind == "Network.requestWillBeSent" and about["request"]["url"].startswith(("http", "ws")):
                found.append(f"asks for {about['request']['url']}")
        return found

    def key(self, name: str, *held: str) -> None:
        """Press and release a key, with `shift`, `ctrl` or `alt` held."""
        code = _KEYS.get(name, ord(name.upper()) if len(name) == 1 else 0)
        about: dict[str, Any] = {"key": name, "windowsVirtualKeyCode": code}
        about["modifiers"] = sum(_MODIFIERS[one] for one in held)
        text = {"Enter": "\r"}.get(name, name if len(name) == 1 and "ctrl" not in held else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)
        self.settle()

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """`moved`, `pressed`, `released` or `wheel` at a place of the view."""
        name = {"wheel": "mouseWheel"}.get(kind, f"mouse{kind.capitalize()}")
        button = {} if kind in ("moved", "wheel") else {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=name, x=x, y=y, **button, **more)
        self.settle()

    def click(self, x: float, y: float) -> None:
        for kind in ("moved", "pressed", "released"):
            self.mouse(kind, x, y)

    def size(self, width: int, height: int, mobile: bool = False, scale: float = 1.0) -> None:
        """Size of the view in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )

    def picture(self, path: Path, whole: bool = False) -> Path:
        """Screenshot as PNG: of the view, or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def print(self, path: Path) -> Path:
        """The page as a printer gets it."""
        found = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path
