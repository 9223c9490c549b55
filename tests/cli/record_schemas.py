"""A record becomes a JSON schema."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import shedder
from shedder import errors
from shedder.cli.output import plain_properties
from shedder.health import doctor, uninstall
from shedder.incident import blame
from shedder.incident import records as incident_records
from shedder.incident.records import ActionType, Role
from shedder.policy import applied, explain
from shedder.postmortem import writing
from shedder.queues import shed, stale
from shedder.response import plan, triage
from shedder.selection import Selection
from shedder.settings import limits
from shedder.status import findings
from shedder.units import Rate

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}

COUNT: Schema = {"type": "integer", "minimum": 0}

SECONDS: Schema = {"type": "number", "minimum": 0}

FLAG: Schema = {"type": "boolean"}

PLAIN: dict[Any, Schema] = {
    str: TEXT,
    bool: FLAG,
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "number"},
    Rate: {"type": "string", "examples": ["200/second"]},
    Any: {},
    Role: {"enum": [each.value for each in Role]},
    ActionType: {"enum": [each.value for each in ActionType]},
}

_SELECTION: Schema = {
    "type": "object",
    "description": "Which jobs are taken; with no criterion, every job.",
    "properties": {
        "describes": {**TEXT, "description": "All criteria, for a person."},
        "functions": {"type": "array", "items": TEXT, "description": "One of these globs matches."},
        "meta": {
            "type": "object",
            "additionalProperties": TEXT,
            "description": "All these fields of the job's meta match.",
        },
        "older_than_seconds": {"type": ["number", "null"], "description": "The job was enqueued so long ago."},
        "any_of": {
            "type": "array",
            "items": {"type": "object"},
            "description": "One of these selections takes it; of the rules of a policy that were shed together.",
        },
    },
}


def of_record(name: str, kind: type, **more: Schema) -> Schema:
    body = _record(kind)
    return finished(name, body["description"], {**body["properties"], **more})


def finished(name: str, description: str, properties: dict[str, Schema]) -> Schema:
    body = _closed(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:shedder:{name.replace('/', ':')}",
            "title": f"shedder.{name}",
            "description": description,
            "type": "object",
            "properties": {"schema": {"const": f"shedder.{name}"}, **properties},
        }
    )
    definitions = _definitions(body)
    return {**body, "$defs": definitions} if definitions else body


def of(hint: Any) -> Schema:
    if hint is Selection or (dataclasses.is_dataclass(hint) and hint is not Rate):
        return {"$ref": "#/$defs/" + getattr(hint, "__name__", "")}
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return nullable(of(next(each for each in inner if each is not NoneType)))
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return array(of(inner[0]))
        return {"type": "array", "prefixItems": [of(each) for each in inner], "items": False}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": of(inner[1])}
    return dict(PLAIN[hint])


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def object_of(**properties: Schema) -> Schema:
    return _closed({"type": "object", "properties": properties})


def _record(kind: type) -> Schema:
    hints = get_type_hints(kind)
    told = _told(kind)
    properties = {
        field.name: {**of(hints[field.name]), "description": told[field.name]} for field in dataclasses.fields(kind)
    }
    for name, hint in plain_properties(kind).items():
        summary = (getattr(kind, name).__doc__ or "").strip()
        properties[name] = {**of(hint), "description": summary}
    summary = (kind.__doc__ or "").strip().split("\n\n")[0]
    return _closed({"type": "object", "description": summary, "properties": properties})


def _told(kind: type) -> dict[str, str]:
    """What the docstring of a record says of each attribute."""
    _, _, attributes = (kind.__doc__ or "").partition("Attributes:")
    found = re.findall(r"^        (\w+): (.*(?:\n            .*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _closed(schema: Schema) -> Schema:
    return {**schema, "required": list(schema["properties"]), "additionalProperties": False}


def _definitions(schema: Schema) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    waiting = [schema]
    while waiting:
        names = re.findall(r'"#/\$defs/(\w+)"', json.dumps(waiting.pop()))
        for name in names:
            if name not in found:
                is_selection = name == Selection.__name__
                found[name] = _closed(_SELECTION) if is_selection else _record(_kind(name))
                waiting.append(found[name])
    return dict(sorted(found.items()))


def _kind(name: str) -> type:
    homes = (
        shedder, limits, incident_records, applied, stale, explain,
        shed, findings, uninstall, doctor, errors, triage, blame, writing, plan,
    )  # fmt: skip
    kind: type = next(getattr(home, name) for home in homes if hasattr(home, name))
    return kind
