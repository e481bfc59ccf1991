"""Messages as JSON and as SARIF 2.1.0, which editors and code review show in place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mrisim.checking.messages import Message
from mrisim.checking.registry import RULES

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def to_json(messages: Iterable[Message]) -> str:
    """Messages as a JSON list of records.

    Example:
        >>> to_json([])
        '[]'
    """
    return json.dumps([asdict(message) for message in messages], indent=2, ensure_ascii=False)


def to_sarif(messages: Iterable[Message], version: str) -> str:
    """Messages as a log of one run.

    Args:
        messages: To write.
        version: Of mrisim.

    Source:
        OASIS, Static Analysis Results Interchange Format 2.1.0 (2020).

    Example:
        >>> json.loads(to_sarif([], "1.0"))["version"]
        '2.1.0'
    """
    found = list(messages)
    rules = [_rule(name) for name in dict.fromkeys(message.id for message in found)]
    driver = {"name": "mrisim", "version": version, "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(message) for message in found]}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _rule(name: str) -> dict[str, Any]:
    severity, purpose = RULES[name]
    return {"id": name, "shortDescription": {"text": purpose}, "defaultConfiguration": {"level": severity}}


def _result(message: Message) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": message.id,
        "level": message.severity,
        "message": {"text": str(message)},
        "occurrenceCount": message.count,
    }
    if message.file:
        region = {"startLine": message.line or 1, **({"startColumn": message.column} if message.column else {})}
        place = {"artifactLocation": {"uri": _uri(message.file)}, "region": region}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _uri(file: str) -> str:
    path = Path(file)
    return path.as_uri() if path.is_absolute() else path.as_posix()
