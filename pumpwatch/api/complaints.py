"""Describe an invalid query or body: the field, its allowed values, and an example."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pumpwatch.printable import printable

_PLACE = re.compile(r"at `\$\.([A-Za-z_]+)")
_MISSING = re.compile(r"missing required field `([A-Za-z_]+)`")
_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)
SHOWN = 60  # characters of an unknown name


def complaint(kind: type[msgspec.Struct], error: msgspec.ValidationError, word: str) -> str:
    """Return one sentence about an error; `word` is the term for a field of `kind`: parameter or field."""
    _, components = msgspec.json.schema_components([kind], ref_template="{name}")
    fields: Mapping[str, Any] = components[kind.__name__]["properties"]
    text = str(error)
    unknown, missing, place = (pattern.search(text) for pattern in (_UNKNOWN, _MISSING, _PLACE))
    if unknown:
        takes = f"it takes {', '.join(fields)}" if fields else "it takes none"
        return f"{printable(unknown[1], SHOWN)} is not a {word} of this call: {takes}"
    if missing:
        return f"the {word} {missing[1]} is missing: give {_allowed(missing[1], fields[missing[1]])}"
    if place and place[1] in fields:
        return f"the {word} {place[1]} is not valid: give {_allowed(place[1], fields[place[1]])}"
    return f"the {word}s are not valid: give one object with {', '.join(fields) or 'nothing in it'}"


def _allowed(name: str, schema: Mapping[str, Any]) -> str:
    """Return the values that a field accepts, with an example if its schema has one."""
    examples = schema.get("examples")
    example = f", for example {name}={examples[0]}" if examples else ""
    return _values(schema) + example


def _values(schema: Mapping[str, Any]) -> str:
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kind, low, high = schema.get("type"), schema.get("minimum"), schema.get("maximum")
    if kind in ("integer", "number"):
        return f"a {'whole ' if kind == 'integer' else ''}number from {low} to {high}"
    if kind == "boolean":
        return "true or false"
    return f"a text of at most {schema['maxLength']} characters, once" if "maxLength" in schema else "a text, once"
