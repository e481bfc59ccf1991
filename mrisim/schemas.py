"""JSON Schemas as editors need them: one text for each key, no alternatives that a user cannot mean."""

from __future__ import annotations

from typing import Any

_NULL = {"type": "null"}


def for_editors(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose optional keys show their text under the pointer.

    Editors show the text of the value that matches, so each kind of value has the key's text, kinds that are types
    alone are one, and a key that may be left out has no `null` among them.

    Example:
        >>> made = for_editors({"properties": {"min": {"anyOf": [{"type": "string", "description": "text"}, _NULL]}}})
        >>> made["properties"]["min"]
        {'description': 'text', 'type': 'string'}
    """
    return _part(schema, schema.get("$defs", {}))


def _part(part: Any, known: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [_part(one, known) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: {name: _key(value, known) for name, value in content.items()}
        if key == "properties"
        else _part(content, known)
        for key, content in part.items()
    }


def _key(value: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """One key of a mapping."""
    result = _part(value, known)
    if result.get("default", 0) is None:
        del result["default"]
    choices = [one for one in _flat(result.pop("anyOf", [])) if one != _NULL]
    text = result.get("description") or _text(result, known)
    text = text or (_text(choices[0], known) if len(choices) == 1 else "")
    choices = [{**one, **({"description": text} if text and "$ref" not in one else {})} for one in choices]
    if len(choices) == 1 and "$ref" not in choices[0]:
        result = {**choices[0], **result}
    elif choices:
        result["anyOf"] = choices
    return {"description": text, **{n: c for n, c in result.items() if n != "description"}} if text else result


def _flat(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Alternatives without alternatives of their own; types that are nothing else are one."""
    single = [one for part in choices for one in (_flat(part["anyOf"]) if "anyOf" in part else [part])]
    plain = [one for one in single if one.keys() <= {"type", "title", "description"} and one != _NULL]
    types = list(dict.fromkeys(name for one in plain for name in _listed(one["type"])))
    if not types:
        return single
    text = next((one["description"] for one in plain if "description" in one), "")
    merged = {"type": types[0] if len(types) == 1 else types, **({"description": text} if text else {})}
    return [merged, *(one for one in single if one not in plain)]


def _listed(kind: str | list[str]) -> list[str]:
    return [kind] if isinstance(kind, str) else kind


def _text(value: dict[str, Any], known: dict[str, Any]) -> str:
    reference = value.get("$ref", "").rsplit("/", 1)[-1]
    return value.get("description") or known.get(reference, {}).get("description", "")
