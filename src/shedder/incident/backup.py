"""Copies of records with their events: out of Redis, and back into it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from shedder.errors import ConditionNotMet, InvalidInput
from shedder.events import UNREADABLE, Cause, Event, head_of, position_of
from shedder.incident.records import Incident, IncidentReceipt
from shedder.incident.store import EventDraft, IncidentStore, incident_from_record, incident_record, write_incident
from shedder.incident.timeline import events_of
from shedder.store.codec import server_time
from shedder.store.keys import Keys
from shedder.store.store import Command

SCHEMA = "shedder.incident-export/1"

EVENTS_PER_STEP = 200
MOST_EVENTS = 100_000

Entry = tuple[str, str, str, str]
"""An event of a copy: its id, and its head, before and after as JSON."""

_ID = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{1,6}")
_EVENT_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


def copy_of(incidents: IncidentStore, incident: str) -> dict[str, Any]:
    """The record of an incident and its events, as JSON can hold them."""
    found = incidents.read(incident)
    events = events_of(incidents.store, found)
    return {
        "schema": SCHEMA,
        "incident": incident_record(found),
        "events": [_entry(each) for each in events if each.verb != UNREADABLE],
    }


def import_copy(incidents: IncidentStore, copy: object, cause: Cause) -> IncidentReceipt:
    """Write the record and the events of a copy, unless the incident is there.

    Raises:
        InvalidInput: it is no copy, or of a newer shedder.
        ConditionNotMet: an incident of this id is there, and it is another or has changed since.
    """
    incident, entries = read_copy(copy)
    store = incidents.store
    now = server_time(store)
    _check_past(incident, now)
    for step in range(0, len(entries), EVENTS_PER_STEP):
        store.run(keep_events(store.keys, incident.id, entries[step : step + EVENTS_PER_STEP]))
    draft = EventDraft("incident import", cause)
    receipt = store.run(write_incident(store.keys, None, incident, draft, operation=uuid4().hex))
    if receipt is not None:
        return receipt
    there = incidents.read(incident.id)
    if incident_record(replace(there, revision=0)) == incident_record(replace(incident, revision=0)):
        return IncidentReceipt("", now, there)
    raise ConditionNotMet(f"{incident.id} is not there, or is as in the copy", found=f"revision {there.revision} of it")


def read_copy(copy: object) -> tuple[Incident, list[Entry]]:
    """The incident of a copy, and its events.

    Raises:
        InvalidInput: it is no copy, or of a newer shedder.
    """
    try:
        return _read_copy(copy)
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        accepted = f"what `shedder incident export` wrote ({type(error).__name__}: {error})"
        raise InvalidInput(name="copy", value=str(copy)[:40], accepted=accepted) from error


def keep_events(keys: Keys, incident: str, entries: Sequence[Entry]) -> Command[int]:
    """Keep events of an incident beside the journal; those that are kept stay as they are."""
    said = [part for each in entries for part in each]
    return Command("keep_events", (keys.incident_events(incident),), tuple(said), int)


def _read_copy(copy: object) -> tuple[Incident, list[Entry]]:
    if not isinstance(copy, Mapping) or copy["schema"] != SCHEMA:
        raise ValueError(f"no {SCHEMA}")
    incident = incident_from_record(copy["incident"])
    if not _ID.fullmatch(incident.id):
        raise ValueError(f"{incident.id!r} is the id of no incident")
    events = copy["events"]
    if not isinstance(events, list) or len(events) > MOST_EVENTS:
        raise ValueError(f"events are no list of at most {MOST_EVENTS:,}")
    return incident, sorted(_entries(events), key=lambda each: position_of(each[0]))


def _entries(events: list[Any]) -> Iterator[Entry]:
    for each in events:
        if not _EVENT_ID.fullmatch(each["id"]) or each["id"].startswith("0-0"):
            raise ValueError(f"{each['id']!r} is the id of no event")
        parts = [each[name] for name in ("head", "before", "after")]
        if not all(isinstance(part, dict) for part in parts):
            raise TypeError("an event has head, before and after")
        head, before, after = (json.dumps(part, allow_nan=False) for part in parts)
        yield each["id"], head, before, after


def _entry(event: Event) -> dict[str, Any]:
    before, after = dict(event.before), dict(event.after)
    return {"id": event.id, "head": head_of(event), "before": before, "after": after}


def _check_past(incident: Incident, now: datetime) -> None:
    for name in ("opened", "detected", "mitigated", "resolved", "closed"):
        at = getattr(incident, f"{name}_at")
        if at is not None and at > now:
            raise InvalidInput(name=name, value=f"{at:%Y-%m-%dT%H:%M:%SZ}", accepted="a time that is not in the future")
