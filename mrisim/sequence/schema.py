"""JSON Schema of the language, generated from the models, so that editors complete and check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mrisim.paths import library_folder
from mrisim.schemas import for_editors
from mrisim.sequence.closed_forms import CLOSED_FORMS, COMPLEX
from mrisim.sequence.grammar import LANGUAGE_VERSION, SequenceModel


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a sequence file.

    A file that extends another may leave out everything but the version, and an entry of that file by null.

    Example:
        >>> json_schema()["properties"]["mrisim"]["const"]
        1
    """
    schema = for_editors(SequenceModel.model_json_schema(by_alias=True))
    _complete_expectations(schema["$defs"]["ExpectModel"]["properties"])
    required = schema.pop("required")
    for table in ("parameters", "definitions", "events"):
        entry = schema["properties"][table]["additionalProperties"]
        schema["properties"][table]["additionalProperties"] = {"anyOf": [entry, {"type": "null"}]}
    what = "a sequence of the library, or a file beside this one"
    schema["properties"]["extends"] = {"type": "string", "description": what}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"mrisim sequence, version {LANGUAGE_VERSION} of the language",
        **{key: value for key, value in schema.items() if key != "title"},
        "required": ["mrisim"],
        "anyOf": [{"required": required}, {"required": ["extends"]}],
    }


_SPELLED = {"t1": "T1", "t2": "T2", "t2_star": "T2star", "te": "TE", "tr": "TR", "ti": "TI"}


def _complete_expectations(keys: dict[str, Any]) -> None:
    """Samples and closed forms with their arguments, as editors offer them."""
    keys["signal"]["examples"] += [f"echo[0].{part}" for part in ("first", "last")]
    keys["signal"]["examples"] += [f"{name}(echo[-1].center)" for name in COMPLEX]
    for name, function in CLOSED_FORMS.items():
        needed = [argument for argument in function.arguments if argument not in function.optional]
        call = f"{name}({', '.join(_SPELLED.get(argument, argument) for argument in needed)})"
        keys["equals"]["examples"].append(call)
    keys["equals"]["description"] += f" Closed forms: {', '.join(CLOSED_FORMS)}."


def write_schema(path: Path | None = None) -> Path:
    """Write the schema to a file, by default to the one that is published with the library."""
    path = path or library_folder("sequences") / "sequence.schema.json"
    path.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
