"""How does the record of an incident become JSON, and JSON a record?

Times are milliseconds since 1970. What is not known is left out, and what is left out has its
default: so a record from before a field was added is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from shedder.errors import InvalidInput, RecordUnreadable
from shedder.incident.records import NOW, Incident
from shedder.stored import ms_from_time, of_kind, text_of, time_from_ms

RECORD_VERSION = 1

LARGEST_RECORD = 512 * 1024
"""Bytes; each change writes the whole record, which the server must not notice."""

NOW_MARK = "\x01"
"""Stands in JSON where the script puts the time; JSON itself never holds this character."""

Record = dict[str, Any]
T = TypeVar("T")


def record_of(incident: Incident) -> Record:
    """`incident` as plain values that JSON can hold; `NOW` stays `NOW`."""
    return {"v": RECORD_VERSION, **_plain(incident)}


def dumped(value: Any) -> str:
    """`value` as JSON, with the mark wherever `NOW` stands."""
    # No text of a record holds the mark, so that only what `_now_or_refuse` gave matches.
    text = json.dumps(value, default=_now_or_refuse, allow_nan=False)
    return text.replace(_QUOTED_NOW, NOW_MARK)


def incident_from(text: bytes | str, *, name: str = "") -> Incident:
    """The incident that JSON describes; `name` is what an error calls the record.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    of = f"of the incident {name}".rstrip()
    try:
        return incident_from_record(json.loads(text_of(text)))
    except KeyError as error:
        raise RecordUnreadable(of, reason=f"it has no {error}") from error
    except (InvalidInput, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise RecordUnreadable(of, reason=str(error)) from error


def incident_from_record(record: object) -> Incident:
    """The incident that plain values describe.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: they describe none.
    """
    found = dict(of_kind(dict, record))
    version = found.pop("v")
    if version != RECORD_VERSION:
        raise ValueError(f"it is of version {version}; this shedder reads {RECORD_VERSION}")
    made: Incident = _made(Incident, found)
    return made


def changes_between(before: Record, after: Record) -> tuple[Record, Record]:
    """What an event says: the fields that differ, as they were and as they are.

    Of a list only the items that are new or different are told.
    """
    names = [name for name in {**before, **after} if name not in _NOT_TOLD]
    changed = [name for name in names if before.get(name) != after.get(name)]
    pairs = {name: _differing(before.get(name), after.get(name)) for name in changed}
    return (
        {name: pair[0] for name, pair in pairs.items()},
        {name: pair[1] for name, pair in pairs.items()},
    )


_NOT_TOLD = frozenset({"v", "revision"})
_QUOTED_NOW = '"\\u0001now"'


def _now_or_refuse(value: object) -> str:
    if value is NOW:
        return f"{NOW_MARK}now"
    raise TypeError(f"{value!r:.50} is nothing that JSON holds")


def _differing(before: Any, after: Any) -> tuple[Any, Any]:
    if isinstance(after, list) or isinstance(before, list):
        old, new = before or [], after or []
        return [each for each in old if each not in new], [each for each in new if each not in old]
    return before, after


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value if value is NOW else ms_from_time(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, str):
        # half a character of UTF-16 is nothing that Redis takes, and no text is the mark
        return value.encode("utf-8", "replace").decode().replace(NOW_MARK, "?")
    if is_dataclass(value) and not isinstance(value, type):
        named = {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        return {name: each for name, each in named.items() if each not in (None, (), [], {})}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _made(kind: Any, record: object) -> Any:
    found, hints = of_kind(dict, record), _hints(kind)
    known = [each.name for each in fields(kind)]
    for each in fields(kind):
        is_needed = each.default is MISSING and each.default_factory is MISSING
        if is_needed and each.name not in found:
            raise KeyError(each.name)
    return kind(**{name: _read(hints[name], found[name]) for name in known if name in found})


def _read(hint: Any, value: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value is None else _read(next(e for e in inner if e is not NoneType), value)
    if origin is tuple:
        return tuple(_read(inner[0], each) for each in _list(value))
    if origin is Mapping:
        return {
            of_kind(str, name): _read(inner[1], each) for name, each in of_kind(dict, value).items()
        }
    if hint is datetime:
        return time_from_ms(_number(value))
    if hint is float:
        return float(_number(value))
    if hint is int and isinstance(value, bool):
        raise TypeError(f"{value} stands where a number should")
    if is_dataclass(hint):
        return _made(hint, value)
    return hint(value) if issubclass(hint, StrEnum) else of_kind(hint, value)


def _list(value: object) -> list[Any]:
    return of_kind(list, value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.50} stands where a number should")
    return value
