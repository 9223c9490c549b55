"""The events of an incident, the incident of a change, and recent changes by others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from shedder.errors import CannotUndo, NothingToUndo, RedisUnreachable, ShedderError
from shedder.events import (
    SYSTEM,
    Cause,
    Event,
    is_shared_account,
    read_copies,
    read_events,
    read_latest,
    verb_of,
)
from shedder.incident.records import Incident, is_same_person
from shedder.incident.store import open_incidents
from shedder.queues.undo import changes_to_undo
from shedder.store.store import Store

T = TypeVar("T")

logger = logging.getLogger("shedder.incident")

MOST_EVENTS = 20_000

RECENT = timedelta(minutes=2)
"""Somebody whose change of a queue is no older than this may still be at work on it."""

MOST_ATTRIBUTED = 1000

MOST_TRIED = 100
"""Changes of a person of which nothing stands any more, until `undo` without an id gives up."""


def events_of(store: Store, incident: Incident) -> tuple[Event, ...]:
    """The last `MOST_EVENTS` events that belong to `incident`, oldest first.

    Those that name it, and those that name none and happened between its beginning and its end:
    what was done before it was opened, and what workers finished.
    """
    found = read_events(store, limit=MOST_EVENTS, since=_first_at(incident), wanted=lambda it: belongs(it, incident))
    copies = read_copies(store, store.keys.incident_events(incident.id), limit=MOST_EVENTS)
    # A copy of the record may have come back while the journal still had some of its events.
    by_id = {each.id: each for each in (*copies, *found) if belongs(each, incident)}
    return tuple(sorted(by_id.values(), key=lambda each: each.position))


def belongs(event: Event, incident: Incident) -> bool:
    """Whether `event` belongs to `incident`."""
    if event.incident:
        return event.incident == incident.id
    last = incident.resolved_at
    return _first_at(incident) <= event.at and (last is None or event.at <= last)


def people_of(incident: Incident, events: Iterable[Event]) -> frozenset[str]:
    """All names that are in the record: none of them is for the narrative."""
    names = {each.by for each in events} | {each.person for each in incident.roles}
    names |= (
        {each.person for each in incident.past_roles}
        | {each.by for each in incident.notes}
        | {each.by for each in incident.updates}
    )
    return frozenset(names - {"", SYSTEM})


def attributed(store: Store, cause: Cause) -> Cause:
    """`cause` with the open incident, and the role of the actor.

    The record of an incident never stands in the way of a change of queues: what cannot be read
    is left out, and logged.
    """
    try:
        incident = incident_of(open_incidents(store), cause.by)
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
    store: Store, *, by: str, lanes: Collection[str] = (), names: Collection[str] = ()
) -> tuple[Event, ...]:
    """What others than `by` changed of `lanes`, or of the flags or limits `names`, in `RECENT`.

    By the server's clock; what was undone since, and what workers did, is left out.
    """
    events = read_latest(
        store, RECENT, limit=MOST_ATTRIBUTED, wanted=lambda each: verb_of(each).is_decision or bool(each.undoes)
    )
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


def own_changes(store: Store, by: str) -> Iterator[Event]:
    """The changes of `by` that have a way back and were not undone since, the last one first.

    Nothing is the own change of an account that several people use.
    """
    own = () if is_shared_account(by) else changes_to_undo(store)
    return (each for each in own if is_same_person(each.by, by))


def last_own_change(store: Store, by: str) -> Event:
    """The first of `own_changes`.

    Raises:
        NothingToUndo: there is none; the error names the last change of all.
    """
    if event := next(own_changes(store, by), None):
        return event
    last = next(changes_to_undo(store), None)
    if last is None:
        raise NothingToUndo("(last)", reason="there is nothing to undo", try_instead="shedder events")
    is_nobody = is_shared_account(by)
    whose = f"several people use {by}, so your changes are not known" if is_nobody else f"{by} has no change to undo"
    how = f"shedder undo {last.id}" + (", or --by with your name" if is_nobody else "")
    reason = f"{whose}; the last change is '{last.verb}' by {last.by}: {last.why}"
    raise NothingToUndo("(last)", reason=reason, try_instead=how)


def undo_last(store: Store, by: str, take_back: Callable[[Event], T], *, goes_on: Callable[[CannotUndo], bool]) -> T:
    """What `take_back` gives for the last of `own_changes` that it can take back.

    `goes_on` says of each refusal whether the change before that one is tried.

    Raises:
        NothingToUndo: there is none, or of the last `MOST_TRIED` of them nothing stands.
        CannotUndo: one was refused; the error names the change before it.
    """
    last_own_change(store, by)
    for event in islice(own_changes(store, by), MOST_TRIED):
        try:
            return take_back(event)
        except CannotUndo as error:
            if not goes_on(error):
                raise _with_next(error, _own_before(store, by, event)) from error
    reason = "no change of yours stands any more"
    raise NothingToUndo("(last)", reason=reason, try_instead="shedder undo with the id of an older one")


def _own_before(store: Store, by: str, event: Event) -> Event | None:
    return next((each for each in own_changes(store, by) if each.position < event.position), None)


def _with_next(error: CannotUndo, before: Event | None) -> CannotUndo:
    """`error` of a person's last change, with the command that undoes the one before it."""
    if before is None:
        return error
    reason = f"{error.reason}; it is your last change, and the one before it is '{before.verb}': {before.why}"
    return CannotUndo(error.event_id, reason=reason, try_instead=f"shedder undo {before.id}")


def _first_at(incident: Incident) -> datetime:
    """When it began, was noticed or was opened, whatever came first."""
    return min(filter(None, (incident.began_at, incident.detected_at, incident.opened_at)))


def _touches(event: Event, lanes: Collection[str], names: Collection[str]) -> bool:
    named = event.details.get("names")
    is_named = isinstance(named, list) and not set(named).isdisjoint(names)
    return is_named or not set(event.lanes).isdisjoint(lanes)


def with_own_drains(events: Iterable[Event]) -> tuple[Event, ...]:
    """`events`, oldest first, in which the drain of a retry is told with the retry, which so knows of all steps."""
    told: list[Event] = []
    for event in events:
        own = [number for number, each in enumerate(told) if _is_drained_by(each, event)]
        for number in own:
            retry = told[number]
            drained = {lane: event.after[lane] for lane in retry.lanes if lane in event.after}
            told[number] = replace(retry, after={**retry.after, **drained})
        told += [] if own else [event]
    return tuple(told)


def _is_drained_by(event: Event, drain: Event) -> bool:
    is_own = drain.verb == "drain" and bool(drain.details.get("retry"))
    return is_own and event.verb == "retry" and event.order == drain.order
