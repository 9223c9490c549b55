"""Records to JSON and back; read, create, change with retry.

Times are milliseconds since 1970. What is not known is left out, and what is left out has its
default: so a record from before a field was added is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import uuid4

from shedder.errors import (
    ConditionNotMet,
    InvalidInput,
    NothingMatched,
    RecordUnreadable,
    ShedderError,
)
from shedder.events import Cause, event_head
from shedder.incident.records import NOW, Incident, IncidentReceipt
from shedder.store.codec import ms_from_time, of_kind, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store

Decide = Callable[[Incident, datetime], Incident]
"""A change: the incident as it is and the server's time give the incident as it shall be."""

TRIES = 20
"""So often a change is decided again because somebody else was faster."""

MOST_OPEN = 20


@dataclass(frozen=True, slots=True)
class IncidentWritten:
    """What the script that writes a record said.

    Attributes:
        state: `done`, `stale` when somebody was faster, `other` when another one is open.
        at: Server's clock, UTC.
        event: Id of the event; the id of the other incident when there is one.
        record: The record as it was written; empty unless it is done.
    """

    state: str
    at: datetime
    event: str = ""
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class EventDraft:
    """What a change is called in the journal.

    Attributes:
        verb: Of its event.
        cause: Who and why.
        undoes: Id of the event that it undoes, if it does.
        is_alone: No other incident may be open.
        details: What else the event says.
    """

    verb: str
    cause: Cause
    undoes: str = ""
    is_alone: bool = False
    details: tuple[tuple[str, Any], ...] = ()


def open_incidents(store: Store) -> tuple[Incident, ...]:
    """The incidents that are not resolved: the worst first, of those the latest first.

    Raises:
        RecordUnreadable: one is damaged or of a newer shedder.
    """
    found = store.read(lambda ask: ask.srandmember(store.keys.open_incidents, MOST_OPEN))[0]
    incidents = _incidents(store, sorted(map(text_of, found)))
    return tuple(sorted(incidents, key=lambda each: (each.severity, -each.opened_at.timestamp())))


def last_incidents(store: Store, limit: int) -> tuple[Incident, ...]:
    """The last `limit` incidents, the latest first.

    Raises:
        RecordUnreadable: one is damaged or of a newer shedder.
    """
    found = store.read(lambda ask: ask.zrevrange(store.keys.incidents, 0, max(limit, 1) - 1))[0]
    return _incidents(store, [text_of(each) for each in found])


def read_incident(store: Store, identifier: str) -> Incident:
    """The incident with this id.

    Raises:
        NothingMatched: there is none.
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    incident, _, _ = _read(store, identifier)
    return incident


def change_incident(
    store: Store, identifier: str, deed: EventDraft, decide: Decide
) -> IncidentReceipt:
    """Change the incident `identifier` as `decide` says, with the event of `deed`.

    When somebody else changes it meanwhile, `decide` is asked again. A change that changes
    nothing writes nothing, and its receipt has no event.

    Raises:
        NothingMatched: there is no such incident.
        ConditionNotMet: another one is open and must not be.
        InvalidInput: the record would be too large.
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    operation = uuid4().hex
    for _ in range(TRIES):
        before, seen, now = _read(store, identifier)
        after = decide(before, now)
        if after == before:
            return IncidentReceipt("", now, before)
        command = write_incident(store.keys, before, after, deed, seen=seen, operation=operation)
        written = store.run(command)
        if written.state != "stale":
            return receipt_of(written)
    raise ShedderError(f"the incident {identifier} is changed by others all the time; try again")


def create_incident(store: Store, deed: EventDraft, incident: Incident) -> IncidentReceipt:
    """Write a new incident; the id that it has is taken for the day, and its number is counted up.

    Raises:
        ConditionNotMet: another one is open and must not be.
        InvalidInput: the record would be too large.
    """
    operation = uuid4().hex
    number = 0
    for _ in range(TRIES):
        number = max(number + 1, _next_number(store, incident.id))
        named = replace(incident, id=f"{incident.id}-{number}")
        written = store.run(write_incident(store.keys, None, named, deed, operation=operation))
        if written.state != "stale":
            return receipt_of(written)
    raise ShedderError("others open incidents all the time; try again")


def write_incident(
    keys: Keys,
    before: Incident | None,
    after: Incident,
    deed: EventDraft,
    *,
    seen: str = "",
    operation: str,
) -> Command[IncidentWritten]:
    """Write `after` if the record still has the SHA-1 `seen`; a new one has none.

    Raises:
        InvalidInput: the record would be too large.
    """
    # a copy that is brought back keeps its number
    counted = replace(after, revision=before.revision + 1 if before else max(after.revision, 1))
    old, new = record_of(before) if before else {}, record_of(counted)
    was, is_ = map(dumped, changes_between(old, new))
    text = _checked_size(dumped(new))
    cause = replace(deed.cause, incident=after.id, role=after.role_of(deed.cause.by))
    head = event_head(deed.verb, cause, (), undoes=deed.undoes, **dict(deed.details))
    opened = 0 if after.opened_at is NOW else ms_from_time(after.opened_at)
    return Command(
        "change_incident",
        (keys.incident(after.id), keys.incidents, keys.open_incidents, keys.events,
         keys.operation(operation)),
        ("write", head, was, is_, after.id, seen, text, opened, int(after.is_open),
         int(deed.is_alone)),
        _written,
    )  # fmt: skip


def receipt_of(written: IncidentWritten) -> IncidentReceipt:
    """The receipt of what was written.

    Raises:
        ConditionNotMet: another incident is open, so nothing was.
    """
    if written.state == "other":
        raise ConditionNotMet(
            "no other incident is open (a second one needs --also)", found=written.event
        )
    return IncidentReceipt(written.event, written.at, incident_from(written.record))


def _read(store: Store, identifier: str) -> tuple[Incident, str, datetime]:
    """An incident, the SHA-1 of its record, and the server's time."""

    def ask_all(ask: Any) -> None:
        ask.time()
        ask.get(store.keys.incident(identifier))

    (seconds, microseconds), text = store.read(ask_all)
    if text is None:
        latest = last_incidents(store, 3)
        raise NothingMatched(f"the incident {identifier}", found=tuple(e.id for e in latest))
    now = time_from_ms(seconds * 1000 + microseconds // 1000)
    seen = hashlib.sha1(_bytes(text), usedforsecurity=False).hexdigest()
    return incident_from(text, name=identifier), seen, now


def _incidents(store: Store, ids: Sequence[str]) -> tuple[Incident, ...]:
    if not ids:
        return ()
    texts = store.read(lambda ask: [ask.get(store.keys.incident(each)) for each in ids])
    pairs = zip(ids, texts, strict=True)
    return tuple(incident_from(text, name=each) for each, text in pairs if text is not None)


def _next_number(store: Store, day: str) -> int:
    latest = store.read(lambda ask: ask.zrevrange(store.keys.incidents, 0, 99))[0]
    prefix = f"{day}-"
    numbers = [
        each.removeprefix(prefix) for each in map(text_of, latest) if each.startswith(prefix)
    ]
    return 1 + max((int(each) for each in numbers if each.isdecimal()), default=0)


def _written(reply: list[Any]) -> IncidentWritten:
    state, at, *rest = reply
    event, record = (*rest, b"", b"")[:2]
    return IncidentWritten(text_of(state), time_from_ms(int(at)), text_of(event), _bytes(record))


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _checked_size(text: str) -> str:
    if len(text) > LARGEST_RECORD:
        raise InvalidInput(
            name="incident",
            value=f"{len(text):,} bytes",
            accepted=f"at most {LARGEST_RECORD:,}; put long texts elsewhere and note where",
        )
    return text


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
    return kind(**{name: _parsed(hints[name], found[name]) for name in known if name in found})


def _parsed(hint: Any, value: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return (
            None if value is None else _parsed(next(e for e in inner if e is not NoneType), value)
        )
    if origin is tuple:
        return tuple(_parsed(inner[0], each) for each in _list(value))
    if origin is Mapping:
        return {
            of_kind(str, name): _parsed(inner[1], each)
            for name, each in of_kind(dict, value).items()
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


MakeCause = Callable[[str, str | None], Cause]
"""From a reason and who acts (None for who usually does) to the cause of a change."""


class IncidentStore:
    """The records of the incidents on one Redis.

    Where `incident` is an argument, it is an id; without one, the incident that is open is meant.
    """

    def __init__(self, store: Store, cause: MakeCause) -> None:
        self.store = store
        self.cause = cause

    def current(self) -> Incident | None:
        """The incident that is open, the worst and then the latest of several; None without one."""
        return next(iter(self.open_ones()), None)

    def open_ones(self) -> tuple[Incident, ...]:
        """The incidents that are not resolved: the worst first, of those the latest first."""
        return open_incidents(self.store)

    def list(self, *, limit: int = 20) -> tuple[Incident, ...]:
        """The last `limit` incidents, the latest first."""
        return last_incidents(self.store, limit)

    def read(self, incident: str | None = None) -> Incident:
        """One incident.

        Raises:
            NothingMatched: there is no such incident, or none is open.
        """
        return read_incident(self.store, incident or self.current_id())

    def change(
        self,
        decide: Decide,
        *,
        verb: str,
        reason: str,
        incident: str | None = None,
        by: str | None = None,
        undoes: str = "",
        is_alone: bool = False,
        **details: Any,
    ) -> IncidentReceipt:
        """Change an incident as `decide` says, with an event called `verb`.

        `decide` gets the incident as it is and the server's time, and gives the incident as it
        shall be, with `records.NOW` for the time at which it is written down. When somebody else
        changes it meanwhile, `decide` is asked again.

        Raises:
            NothingMatched: there is no such incident, or none is open.
        """
        deed = EventDraft(verb, self.cause(reason, by), undoes, is_alone, tuple(details.items()))
        identifier = incident or self.current_id()
        return change_incident(self.store, identifier, deed, decide)

    def current_id(self) -> str:
        """The id of the incident that is open.

        Raises:
            NothingMatched: none is.
        """
        found = self.current()
        if found is None:
            raise NothingMatched("an open incident", found=tuple(e.id for e in self.list(limit=3)))
        return found.id

    def latest_id(self) -> str:
        """The id of the incident that is open, else of the one that was opened last.

        Raises:
            NothingMatched: there has been none.
        """
        found = self.current() or next(iter(self.list(limit=1)), None)
        if found is None:
            raise NothingMatched("an incident (shedder incident open)")
        return found.id
