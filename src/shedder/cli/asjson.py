"""How does a record become the one JSON object that `--json` prints?

The shapes are in `shedder/schemas`, a file for each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, get_type_hints

from shedder.rates import Rate
from shedder.selection import Selection


def document(schema: str, record: Any, **more: Any) -> dict[str, Any]:
    """The object of `record`: its schema first, then its fields, then `more`."""
    return {"schema": f"shedder.{schema}", **jsonable(record), **jsonable(more)}


def jsonable(value: Any) -> Any:
    """`value` as JSON has it.

    Times are ISO 8601 in UTC, durations seconds, rates text. A record gives its fields, and those
    of its properties that are a number, a truth or a text.
    """
    if isinstance(value, Selection):
        return _selection(value)
    if isinstance(value, Rate):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_dataclass(value) and not isinstance(value, type):
        kind: type = type(value)
        names = [field.name for field in fields(value)] + [*plain_properties(kind)]
        return {name: jsonable(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def dumped(content: Mapping[str, Any], *, is_line: bool = False) -> str:
    """`content` as text in ASCII, on one line or indented for reading."""
    return json.dumps(content, indent=None if is_line else 2)


@lru_cache(maxsize=64)
def plain_properties(kind: type) -> Mapping[str, type]:
    """The properties of `kind` that are a number, a truth or a text, with their types."""
    found = {
        name: get_type_hints(member.fget)["return"]
        for name, member in vars(kind).items()
        if isinstance(member, property) and member.fget is not None
    }
    return {name: hint for name, hint in found.items() if hint in (bool, int, float, str)}


def _selection(selection: Selection) -> dict[str, Any]:
    return {
        "describes": selection.describe(),
        "functions": list(selection.functions),
        "meta": dict(selection.meta),
        "older_than_seconds": jsonable(selection.older_than),
    }
