"""Which events of the journal belong to an incident?"""

from __future__ import annotations

from shedder import journal
from shedder.incident.records import Incident
from shedder.keys import Keys
from shedder.records import Event
from shedder.store import Store

MOST_EVENTS = 20_000


def events_of(store: Store, keys: Keys, incident: Incident) -> tuple[Event, ...]:
    """The last `MOST_EVENTS` events that belong to `incident`, oldest first.

    Those that name it, and those that name none and happened between its beginning and its end:
    what was done before it was opened, and what workers finished by themselves.
    """
    first = min(filter(None, (incident.began_at, incident.detected_at, incident.opened_at)))
    found = journal.read_events(
        store, keys, limit=MOST_EVENTS, since=first, wanted=lambda each: belongs(each, incident)
    )
    copies = journal.read_copies(store, keys.incident_events(incident.id), limit=MOST_EVENTS)
    # A copy of the record may have come back while the journal still had some of its events.
    by_id = {each.id: each for each in (*copies, *found) if belongs(each, incident)}
    return tuple(sorted(by_id.values(), key=lambda each: each.position))


def belongs(event: Event, incident: Incident) -> bool:
    """Whether `event` belongs to `incident`."""
    if event.incident:
        return event.incident == incident.id
    first = min(filter(None, (incident.began_at, incident.detected_at, incident.opened_at)))
    last = incident.resolved_at
    return first <= event.at and (last is None or event.at <= last)
