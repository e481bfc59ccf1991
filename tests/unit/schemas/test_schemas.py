"""Every key of the three languages has a text that an editor shows, for every kind of its values."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from mrisim import protocol
from mrisim.phantom import json_schema as phantom_schema
from mrisim.schemas import for_editors
from mrisim.sequence import json_schema
from mrisim.sequence.closed_forms import CLOSED_FORMS

SCHEMAS = {"sequence": json_schema, "phantom": phantom_schema, "protocol": protocol.json_schema}


def keys(part: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, list):
        for one in part:
            yield from keys(one, path)
    elif isinstance(part, dict):
        for name, value in part.get("properties", {}).items():
            yield f"{path}.{name}", value
        for name, value in part.items():
            yield from keys(value, f"{path}.{name}")


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_key_has_its_text(kind):
    schema = SCHEMAS[kind]()
    jsonschema.Draft202012Validator.check_schema(schema)
    for path, value in keys(schema):
        assert value.get("description"), path
        for choice in value.get("anyOf", []):
            assert choice != {"type": "null"}, path
            assert choice.get("description") or "$ref" in choice, path


def test_types_are_one_kind_and_null_is_none():
    plain = {"anyOf": [{"anyOf": [{"type": "string"}, {"type": "number"}]}, {"type": "null"}], "default": None}
    made = for_editors({"properties": {"doc": {**plain, "description": "words"}}})
    assert made["properties"]["doc"] == {"description": "words", "type": ["string", "number"]}


def test_closed_forms_are_offered():
    offered = json_schema()["$defs"]["ExpectModel"]["properties"]["equals"]["examples"]
    assert {text.split("(")[0] for text in offered if text[0] != "i"} >= {n for n in CLOSED_FORMS if n[0] != "i"}
    assert "bssfp(flip, TR, T1, T2)" in offered
