"""How is the record of an incident read and changed?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from shedder.errors import ConditionNotMet, InvalidInput, NothingMatched, ShedderError
from shedder.incident.records import NOW, Incident, IncidentReceipt
from shedder.incident.stored import (
    LARGEST_RECORD,
    changes_between,
    dumped,
    incident_from,
    record_of,
)
from shedder.journal import event_head
from shedder.keys import Keys
from shedder.records import Cause
from shedder.store import Command, Store
from shedder.stored import ms_from_time, text_of, time_from_ms

Decide = Callable[[Incident, datetime], Incident]
"""A change: the incident as it is and the server's time give the incident as it shall be."""

TRIES = 20
"""So often a change is decided again because somebody else was faster."""

MOST_OPEN = 20


@dataclass(frozen=True, slots=True)
class Written:
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
class Deed:
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


def open_incidents(store: Store, keys: Keys) -> tuple[Incident, ...]:
    """The incidents that are not resolved: the worst first, of those the latest first.

    Raises:
        RecordUnreadable: one is damaged or of a newer shedder.
    """
    found = store.read(lambda ask: ask.srandmember(keys.open_incidents, MOST_OPEN))[0]
    incidents = _incidents(store, keys, sorted(map(text_of, found)))
    return tuple(sorted(incidents, key=lambda each: (each.severity, -each.opened_at.timestamp())))


def last_incidents(store: Store, keys: Keys, limit: int) -> tuple[Incident, ...]:
    """The last `limit` incidents, the latest first.

    Raises:
        RecordUnreadable: one is damaged or of a newer shedder.
    """
    found = store.read(lambda ask: ask.zrevrange(keys.incidents, 0, max(limit, 1) - 1))[0]
    return _incidents(store, keys, [text_of(each) for each in found])


def read_incident(store: Store, keys: Keys, identifier: str) -> Incident:
    """The incident with this id.

    Raises:
        NothingMatched: there is none.
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    incident, _, _ = _read(store, keys, identifier)
    return incident


def change_incident(
    store: Store, keys: Keys, identifier: str, deed: Deed, decide: Decide
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
        before, seen, now = _read(store, keys, identifier)
        after = decide(before, now)
        if after == before:
            return IncidentReceipt("", now, before)
        command = write_incident(keys, before, after, deed, seen=seen, operation=operation)
        written = store.run(command)
        if written.state != "stale":
            return receipt_of(written)
    raise ShedderError(f"the incident {identifier} is changed by others all the time; try again")


def create_incident(store: Store, keys: Keys, deed: Deed, incident: Incident) -> IncidentReceipt:
    """Write a new incident; the id that it has is taken for the day, and its number is counted up.

    Raises:
        ConditionNotMet: another one is open and must not be.
        InvalidInput: the record would be too large.
    """
    operation = uuid4().hex
    number = 0
    for _ in range(TRIES):
        number = max(number + 1, _next_number(store, keys, incident.id))
        named = replace(incident, id=f"{incident.id}-{number}")
        written = store.run(write_incident(keys, None, named, deed, operation=operation))
        if written.state != "stale":
            return receipt_of(written)
    raise ShedderError("others open incidents all the time; try again")


def write_incident(
    keys: Keys,
    before: Incident | None,
    after: Incident,
    deed: Deed,
    *,
    seen: str = "",
    operation: str,
) -> Command[Written]:
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


def receipt_of(written: Written) -> IncidentReceipt:
    """The receipt of what was written.

    Raises:
        ConditionNotMet: another incident is open, so nothing was.
    """
    if written.state == "other":
        raise ConditionNotMet(
            "no other incident is open (a second one needs --also)", found=written.event
        )
    return IncidentReceipt(written.event, written.at, incident_from(written.record))


def _read(store: Store, keys: Keys, identifier: str) -> tuple[Incident, str, datetime]:
    """An incident, the SHA-1 of its record, and the server's time."""

    def ask_all(ask: Any) -> None:
        ask.time()
        ask.get(keys.incident(identifier))

    (seconds, microseconds), text = store.read(ask_all)
    if text is None:
        latest = last_incidents(store, keys, 3)
        raise NothingMatched(f"the incident {identifier}", found=tuple(e.id for e in latest))
    now = time_from_ms(seconds * 1000 + microseconds // 1000)
    seen = hashlib.sha1(_bytes(text), usedforsecurity=False).hexdigest()
    return incident_from(text, name=identifier), seen, now


def _incidents(store: Store, keys: Keys, ids: Sequence[str]) -> tuple[Incident, ...]:
    if not ids:
        return ()
    texts = store.read(lambda ask: [ask.get(keys.incident(each)) for each in ids])
    pairs = zip(ids, texts, strict=True)
    return tuple(incident_from(text, name=each) for each, text in pairs if text is not None)


def _next_number(store: Store, keys: Keys, day: str) -> int:
    latest = store.read(lambda ask: ask.zrevrange(keys.incidents, 0, 99))[0]
    prefix = f"{day}-"
    numbers = [
        each.removeprefix(prefix) for each in map(text_of, latest) if each.startswith(prefix)
    ]
    return 1 + max((int(each) for each in numbers if each.isdecimal()), default=0)


def _written(reply: list[Any]) -> Written:
    state, at, *rest = reply
    event, record = (*rest, b"", b"")[:2]
    return Written(text_of(state), time_from_ms(int(at)), text_of(event), _bytes(record))


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
