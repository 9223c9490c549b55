"""The records of incidents: to JSON and back, read, created, and changed until no other was faster.

Times are milliseconds since 1970. What is not known is left out, and what is left out has its
default: so a record from before a field was added is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints
from uuid import uuid4

from shedder.errors import ConditionNotMet, InvalidInput, NothingMatched, RecordUnreadable, ShedderError
from shedder.events import Cause, event_head
from shedder.incident.records import NOW, Incident, IncidentReceipt
from shedder.store.arguments import checks_arguments
from shedder.store.codec import ms_from_time, of_kind, read_with_time, reading_record, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store

logger = logging.getLogger("shedder.incident")

RECORD_VERSION = 1

LARGEST_RECORD = 512 * 1024
"""Bytes; each change writes the whole record, which the server must not notice."""

NOW_MARK = "\x01"
"""Stands in JSON where the script puts the time; JSON itself never holds this character."""

Record = dict[str, Any]

Decide = Callable[[Incident, datetime], Incident]
"""A change: the incident as it is and the server's time give the incident as it shall be."""

MakeCause = Callable[[str, str | None], Cause]
"""From a reason and an actor (None for the usual one) to the cause of a change."""

TRIES = 20
"""How often a change is decided again because another one was faster."""

MOST_OPEN = 20


@dataclass(frozen=True, slots=True)
class EventDraft:
    """The event of a change that is not written yet.

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
    details: Mapping[str, Any] = field(default_factory=dict)


@checks_arguments
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

    def current_if_readable(self) -> Incident | None:
        """As `current`; None also when one that is open cannot be read, which is logged."""
        try:
            return self.current()
        except RecordUnreadable as error:
            logger.warning("this is told without the incident: %s", error)
            return None

    def open_ones(self) -> tuple[Incident, ...]:
        """The incidents that are not resolved: the worst first, of those the latest first."""
        return open_incidents(self.store)

    def list(self, *, limit: int = 20) -> tuple[Incident, ...]:
        """The last `limit` incidents, the latest first; one that cannot be read is left out, and logged."""
        found = self.store.read(lambda ask: ask.zrevrange(self.store.keys.incidents, 0, max(limit, 1) - 1))[0]
        texts = _texts(self.store, [text_of(each) for each in found])
        return tuple(incident for name, text in texts.items() if (incident := _readable(text, name)) is not None)

    def read(self, incident: str | None = None) -> Incident:
        """One incident.

        Raises:
            NothingMatched: there is no such incident, or none is open.
        """
        return self._read(incident or self.current_id())[0]

    def change(
        self, decide: Decide, *, verb: str, reason: str, incident: str | None = None, by: str | None = None,
        undoes: str = "", is_alone: bool = False, **details: Any,
    ) -> IncidentReceipt:  # fmt: skip
        """Change an incident as `decide` says, with an event called `verb`.

        `decide` gets the incident as it is and the server's time, and gives the incident as it
        shall be, with `records.NOW` for the time at which it is written down. When somebody else
        changes it meanwhile, `decide` is asked again. A change that changes nothing writes nothing,
        and its receipt has no event.

        Raises:
            NothingMatched: there is no such incident, or none is open.
            ConditionNotMet: another one is open and must not be.
            InvalidInput: the record would be too large.
        """
        draft = EventDraft(verb, self.cause(reason, by), undoes, is_alone, details)
        identifier, operation = incident or self.current_id(), uuid4().hex
        for _ in range(TRIES):
            before, seen, now = self._read(identifier)
            after = decide(before, now)
            if after == before:
                return IncidentReceipt("", now, before)
            command = write_incident(self.store.keys, before, after, draft, seen=seen, operation=operation)
            receipt = self.store.run(command)
            if receipt is not None:
                return receipt
        raise ShedderError(f"the incident {identifier} is changed by others all the time; try again")

    def change_latest(
        self, decide: Decide, reason: str, incident: str | None, by: str | None, **more: Any
    ) -> IncidentReceipt:
        """`change`, which without an `incident` means the one that was opened last if none is open.

        Raises:
            NothingMatched: there is no such incident.
        """
        return self.change(decide, reason=reason, incident=incident or self.latest_id(), by=by, **more)

    def create(self, draft: EventDraft, incident: Incident) -> IncidentReceipt:
        """Write a new incident: the id that it has is its day, and gets a number that is free.

        Raises:
            ConditionNotMet: another one is open and must not be.
            InvalidInput: the record would be too large.
        """
        operation, number = uuid4().hex, 0
        for _ in range(TRIES):
            number = max(number + 1, self._next_number(incident.id))
            receipt = self._write_new(replace(incident, id=f"{incident.id}-{number}"), draft, operation)
            if receipt is not None:
                return receipt
        raise ShedderError("others open incidents all the time; try again")

    def current_id(self) -> str:
        """The id of the incident that is open.

        Raises:
            NothingMatched: none is.
        """
        found = self.current()
        if found is None:
            raise NothingMatched("open incident", found=self._last_ids())
        return found.id

    def latest_id(self) -> str:
        """The id of the incident that is open, else of the one that was opened last.

        Raises:
            NothingMatched: there has been none.
        """
        found = self.current() or next(iter(self.list(limit=1)), None)
        if found is None:
            raise NothingMatched("incident yet; `shedder incident open` opens one")
        return found.id

    def _write_new(self, incident: Incident, draft: EventDraft, operation: str = "") -> IncidentReceipt | None:
        """Write an incident with the id that it has; None when one of this id is there."""
        command = write_incident(self.store.keys, None, incident, draft, operation=operation or uuid4().hex)
        return self.store.run(command)

    def _last_ids(self) -> tuple[str, ...]:
        return tuple(each.id for each in self.list(limit=3))

    def _next_number(self, day: str) -> int:
        latest = self.store.read(lambda ask: ask.zrevrange(self.store.keys.incidents, 0, 99))[0]
        pairs = (text_of(each).rpartition("-") for each in latest)
        numbers = [int(end) for start, _, end in pairs if start == day and end.isdecimal()]
        return 1 + max(numbers, default=0)

    def _read(self, identifier: str) -> tuple[Incident, str, datetime]:
        """An incident, the SHA-1 of its record, and the server's time."""
        now, (text,) = read_with_time(self.store, lambda ask: ask.get(self.store.keys.incident(identifier)))
        if text is None:
            raise NothingMatched(f"incident {identifier}", found=self._last_ids())
        stored = text.encode() if isinstance(text, str) else text
        seen = hashlib.sha1(stored, usedforsecurity=False).hexdigest()
        return incident_from(text, name=identifier), seen, now


def open_incidents(store: Store) -> tuple[Incident, ...]:
    """The incidents that are not resolved: the worst first, of those the latest first.

    Raises:
        RecordUnreadable: one is damaged or of a newer shedder.
    """
    found = store.read(lambda ask: ask.srandmember(store.keys.open_incidents, MOST_OPEN))[0]
    incidents = [incident_from(text, name=each) for each, text in _texts(store, sorted(map(text_of, found))).items()]
    return tuple(sorted(incidents, key=lambda each: (each.severity, -each.opened_at.timestamp())))


def write_incident(
    keys: Keys, before: Incident | None, after: Incident, draft: EventDraft, *, seen: str = "", operation: str
) -> Command[IncidentReceipt | None]:
    """Write `after` if the record still has the SHA-1 `seen`; a new one has none.

    The receipt is None when another change was faster. Reading the reply raises `ConditionNotMet`
    when another incident is open and must not be.

    Raises:
        InvalidInput: the record would be too large.
    """
    # a copy that is brought back keeps its number
    counted = replace(after, revision=before.revision + 1 if before else max(after.revision, 1))
    old, new = incident_record(before) if before else {}, incident_record(counted)
    was, is_ = map(record_text, changes_between(old, new))
    text = record_text(new)
    if len(text) > LARGEST_RECORD:
        accepted = f"at most {LARGEST_RECORD:,}; put long texts elsewhere and note where"
        raise InvalidInput(name="incident", value=f"{len(text):,} bytes", accepted=accepted)
    cause = replace(draft.cause, incident=after.id, role=after.role_of(draft.cause.by))
    head = event_head(draft.verb, cause, (), undoes=draft.undoes, **draft.details)
    opened = 0 if after.opened_at is NOW else ms_from_time(after.opened_at)
    return Command(
        "change_incident",
        (keys.incident(after.id), keys.incidents, keys.open_incidents, keys.events, keys.operation(operation)),
        ("write", head, was, is_, after.id, seen, text, opened, int(after.is_open), int(draft.is_alone)),
        _receipt,
    )


def _receipt(reply: list[Any]) -> IncidentReceipt | None:
    state, at, *rest = reply
    if text_of(state) == "stale":
        return None
    event = text_of(rest[0])
    if text_of(state) == "other":
        raise ConditionNotMet(f"the incident {event} is open", try_instead="to open a second one, add --also")
    return IncidentReceipt(event, time_from_ms(int(at)), incident_from(rest[1]))


def _texts(store: Store, ids: Sequence[str]) -> dict[str, bytes]:
    """The stored records of `ids`, as far as they are there."""
    texts = store.read(lambda ask: [ask.get(store.keys.incident(each)) for each in ids]) if ids else []
    return {each: text for each, text in zip(ids, texts, strict=True) if text is not None}


def _readable(text: bytes, name: str) -> Incident | None:
    try:
        return incident_from(text, name=name)
    except RecordUnreadable as error:
        logger.warning("an incident is left out: %s", error)
        return None


def incident_record(incident: Incident) -> Record:
    """`incident` as plain values that JSON can hold; `NOW` stays `NOW`."""
    return {"v": RECORD_VERSION, **_plain(incident)}


def record_text(value: Any) -> str:
    """`value` as JSON, with the mark wherever `NOW` stands."""
    # No text of a record holds the mark, so that only what `_now_or_refuse` gave matches.
    text = json.dumps(value, default=_now_or_refuse, allow_nan=False)
    return text.replace(_QUOTED_NOW, NOW_MARK)


def incident_from(text: bytes | str, *, name: str = "") -> Incident:
    """The incident that JSON describes; `name` is what an error calls the record.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    with reading_record(f"of the incident {name}".rstrip()):
        return incident_from_record(json.loads(text_of(text)))


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
    changed = [name for name in {**before, **after} if name not in _NOT_TOLD and before.get(name) != after.get(name)]
    pairs = {name: _differing(before.get(name), after.get(name)) for name in changed}
    old, new = ({name: pair[side] for name, pair in pairs.items()} for side in (0, 1))
    return old, new


_NOT_TOLD = frozenset({"v", "revision"})
_QUOTED_NOW = '"\\u0001now"'
_hints = cache(get_type_hints)


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


def _made(kind: Any, record: object) -> Any:
    found, hints, values = of_kind(dict, record), _hints(kind), {}
    for each in fields(kind):
        if each.name in found:
            values[each.name] = _parsed(hints[each.name], found[each.name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise KeyError(each.name)
    return kind(**values)


def _parsed(hint: Any, value: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:  # a type or None
        return None if value is None else _parsed(inner[0], value)
    if origin is tuple:
        return tuple(_parsed(inner[0], each) for each in of_kind(list, value))
    if origin is Mapping:
        return {of_kind(str, name): _parsed(inner[1], each) for name, each in of_kind(dict, value).items()}
    if hint is datetime:
        return time_from_ms(_number(value))
    if hint is float:
        return float(_number(value))
    if hint is int and isinstance(value, bool):
        raise TypeError(f"{value} stands where a number should")
    if is_dataclass(hint):
        return _made(hint, value)
    return hint(value) if issubclass(hint, StrEnum) else of_kind(hint, value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.50} stands where a number should")
    return value
