"""Completion, hover and diagnostics of the schemas in yaml-language-server, which most editors run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from mrisim.sequence import json_schema

SERVER = os.environ.get("YAML_LANGUAGE_SERVER") or shutil.which("yaml-language-server")
pytestmark = pytest.mark.skipif(
    SERVER is None, reason="yaml-language-server is not on the path: npm install --global yaml-language-server"
)
TEXT = """# yaml-language-server: $schema=sequence.schema.json
mrisim: 1
name: mine
limts: {TE: 5 ms}
timing:
  - {name: TE, from: a, to: b, is: 5 ms, solve: fill}
timeline: [{wait: 1 ms}]
parameters:
  flip: {value: 30 deg, min: 0 deg, doc: angle}
events:
  hit: {rf: {shape: block, flip: flip, duration: 1 ms, use: excitation}}
expect:
  - name: one
    signal: {blank}
    equals: {blank}
    over: {T1: 1 s}
re
""".replace("{blank}", "")
OPTIONAL = {  # line and key → what hover says
    (5, "solve"): "name of a wait",
    (8, "min"): "smallest value",
    (8, "doc"): "one line for the user",
    (10, "use"): "what the pulse is for",
    (10, "flip: flip"): "flip angle on resonance",
    (12, "name"): "for tables",
    (15, "over"): "every combination is a point",
    (15, "T1"): "infinite where not given",
}


class Client:
    """The few messages of the protocol that the tests need."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.number = process, 0
        self.notes: list[dict[str, Any]] = []

    def send(self, method: str, params: Any, **more: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            if line.lower().startswith(b"content-length"):
                length = int(line.split(b":")[1])
        assert length, "the server has ended"
        message = json.loads(self.process.stdout.read(length))
        if "method" in message and "id" in message:  # a question of the server: it gets by without an answer's content
            count = len(message["params"].get("items", [])) if message["method"] == "workspace/configuration" else 0
            self._answer(message["id"], [{}] * count if count else None)
        elif "method" in message:
            self.notes.append(message)
        return message

    def _answer(self, number: Any, result: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def ask(self, method: str, params: Any) -> Any:
        self.number += 1
        self.send(method, params, id=self.number)
        while True:
            message = self.receive()
            if message.get("id") == self.number and "method" not in message:
                return message["result"]

    def diagnostics(self) -> list[str]:
        """Messages of the first check that finds something."""
        while True:
            for note in self.notes:
                if note["method"] == "textDocument/publishDiagnostics" and note["params"]["diagnostics"]:
                    return [item["message"] for item in note["params"]["diagnostics"]]
            self.receive()


@pytest.fixture
def editor(tmp_path) -> Iterator[tuple[Client, dict[str, str]]]:
    (tmp_path / "sequence.schema.json").write_text(json.dumps(json_schema()))
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    document = {"uri": path.as_uri()}
    with subprocess.Popen(
        [str(SERVER), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        client = Client(process)
        folders = [{"uri": tmp_path.as_uri(), "name": "work"}]
        capabilities = {"textDocument": {"hover": {"contentFormat": ["markdown"]}}}
        client.ask(
            "initialize",
            {
                "processId": None,
                "rootUri": tmp_path.as_uri(),
                "capabilities": capabilities,
                "workspaceFolders": folders,
            },
        )
        client.send("initialized", {})
        settings = {"yaml": {"hover": True, "completion": True, "validate": True, "schemaStore": {"enable": False}}}
        client.send("workspace/didChangeConfiguration", {"settings": settings})
        client.send(
            "textDocument/didOpen", {"textDocument": {**document, "languageId": "yaml", "version": 1, "text": TEXT}}
        )
        try:
            yield client, document
        finally:
            process.kill()


def test_an_editor_completes_explains_and_underlines(editor):
    client, document = editor
    hover = client.ask("textDocument/hover", {"textDocument": document, "position": {"line": 5, "character": 16}})
    assert "anchor such as excite" in str(hover)
    for (line, key), text in OPTIONAL.items():
        place = {"line": line, "character": TEXT.splitlines()[line].index(key)}
        assert text in str(client.ask("textDocument/hover", {"textDocument": document, "position": place})), key
    for line, offers in ((13, {"echo[-1].center", "angle(echo[-1].center)"}), (14, {"spin_echo(TE, TR, T1, T2)"})):
        place = {"line": line, "character": len(TEXT.splitlines()[line])}
        found = client.ask("textDocument/completion", {"textDocument": document, "position": place})
        assert offers <= {item["label"].strip() for item in (found["items"] if isinstance(found, dict) else found)}
    last = {"textDocument": document, "position": {"line": TEXT.count("\n") - 1, "character": 2}}
    items = client.ask("textDocument/completion", last)
    labels = {item["label"] for item in (items["items"] if isinstance(items, dict) else items)}
    assert {"recon", "reference"} <= labels
    assert any("limts" in message for message in client.diagnostics())
