"""What is recorded of an incident? Reads all that a post-mortem is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from shedder.incident.records import Incident
from shedder.journal import end_silent
from shedder.postmortem.compute import LOOK_BACK, Material, postmortem_of
from shedder.postmortem.facts import PostMortem
from shedder.records import Event
from shedder.stored import server_time
from shedder.works import kinds_of

if TYPE_CHECKING:
    from shedder.facade import Shedder
    from shedder.policy import Policy


def make_postmortem(shed: Shedder, policy: Policy, *, incident: str | None = None) -> PostMortem:
    """The facts of the post-mortem of an incident; without an id of the last one.

    Raises:
        NothingMatched: there is no such incident.
    """
    found = read_incident(shed, incident)
    return postmortem_of(material_of(shed, policy, found))


def read_incident(shed: Shedder, incident: str | None) -> Incident:
    """The incident with this id, or the one that is open, or the last one."""
    if incident is None and (latest := shed.incidents.list(limit=1)):
        return shed.incidents.current() or latest[0]
    return shed.incidents.read(incident)


def material_of(shed: Shedder, policy: Policy, incident: Incident) -> Material:
    """All that is recorded of `incident`, also that nobody has seen how a mitigation ended."""
    end_silent(shed.store, shed.keys)
    events = shed.incidents.timeline(incident.id)
    noticed = incident.detected_at or incident.opened_at
    began = min(noticed, incident.began_at or noticed)
    queues = shed.queues()
    return Material(
        incident=incident,
        events=events,
        kinds=kinds_of(policy, queues),
        samples=shed.samples(*queues, since=began - LOOK_BACK) if queues else {},
        at=server_time(shed.store),
        tenants=most_in(events, "tenants"),
        late=most_in(events, "late"),
        most=most_in(events, "waiting"),
    )


def most_in(events: Iterable[Event], count: str) -> dict[str, int]:
    """By noun the most that an update counted, of `tenants`, of `late` or of `waiting` jobs."""
    most: dict[str, int] = {}
    for event in events:
        works = event.details.get("works", ())
        for work in works if isinstance(works, list) else ():
            if isinstance(work, Mapping) and isinstance(work.get(count), int):
                noun = str(work.get("noun"))
                most[noun] = max(most.get(noun, 0), work[count])
    return most
