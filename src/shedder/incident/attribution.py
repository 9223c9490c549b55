"""To which incident does a change of queues belong, and who else is at work there?"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from shedder import journal
from shedder.errors import RedisUnreachable, ShedderError
from shedder.incident.keeping import open_incidents
from shedder.incident.records import Incident, is_same_person
from shedder.keys import Keys
from shedder.records import Cause, Event
from shedder.store import Store
from shedder.verbs import SYSTEM, verb_of

logger = logging.getLogger("shedder.incident")

TOES = timedelta(minutes=2)
"""Who changed a queue so lately may still be at work on it."""

MOST_EVENTS = 1000


def attributed(store: Store, keys: Keys, cause: Cause) -> Cause:
    """`cause` with the open incident, and the role of who acts.

    The record of an incident never stands in the way of a change of queues: what cannot be read
    is left out, and logged.
    """
    try:
        incident = incident_of(open_incidents(store, keys), cause.by)
        if incident is None:
            return cause
        return replace(cause, incident=incident.id, role=incident.role_of(cause.by))
    except RedisUnreachable:
        raise
    except ShedderError as error:
        logger.warning("this change is not attributed to an incident: %s", error)
        return cause


def incident_of(incidents: tuple[Incident, ...], person: str) -> Incident | None:
    """Of the open incidents the one in which `person` has a role, else the first."""
    with_role = (each for each in incidents if each.role_of(person))
    return next(with_role, next(iter(incidents), None))


def changes_by_others(
    store: Store, keys: Keys, *, by: str, lanes: Collection[str] = (), names: Collection[str] = ()
) -> tuple[Event, ...]:
    """What others than `by` changed of `lanes`, or of the flags or limits `names`, in `TOES`.

    By the server's clock; what was undone since, and what workers did, is left out.
    """
    events = journal.read_latest(
        store, keys, TOES, limit=MOST_EVENTS,
        wanted=lambda each: verb_of(each).is_decision or bool(each.undoes),
    )  # fmt: skip
    undone = {each.undoes for each in events if each.undoes}
    return tuple(
        each
        for each in events
        if verb_of(each).is_decision
        and each.id not in undone
        and each.by != SYSTEM
        and not is_same_person(each.by, by)
        and _touches(each, lanes, names)
    )


def _touches(event: Event, lanes: Collection[str], names: Collection[str]) -> bool:
    named = event.details.get("names")
    is_named = isinstance(named, list) and not set(named).isdisjoint(names)
    return is_named or not set(event.lanes).isdisjoint(lanes)
