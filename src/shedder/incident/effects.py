"""What did an action do, five minutes later? Measured, not guessed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from shedder.applied import applied_policy
from shedder.errors import RecordUnreadable
from shedder.incident.begun import end_silent
from shedder.incident.book import Book
from shedder.incident.readings import Effect, Reading, Yardstick
from shedder.incident.records import Incident
from shedder.incident.sampled import readings_at
from shedder.incident.stored import LARGEST_RECORD, dumped, record_of
from shedder.incident.timeline import events_of
from shedder.lanes import lane_of
from shedder.policy import Policy
from shedder.records import Event, LaneStatus
from shedder.stored import server_time
from shedder.verbs import SYSTEM
from shedder.works import kind_in, kinds_of

logger = logging.getLogger("shedder.incident")

AFTER = timedelta(minutes=5)

MOST_LANES = 20
"""An event keeps readings of so many lanes; of those that have jobs, the ones in trouble first."""

MOST_EFFECTS = 500

EFFECTS_ROOM = LARGEST_RECORD // 2
"""Bytes of a record that effects may take."""

Measure = Callable[[Sequence[str]], Mapping[str, Reading]]
"""How lanes are now, by name."""


def measure_due(book: Book, incident: str, measure: Measure) -> Incident:
    """The incident, with effects of all that was done `AFTER` ago and longer.

    Mitigations whose process has fallen silent meanwhile get the event of an unseen end.
    """
    end_silent(book.store, book.keys)
    found = book.read(incident)
    if found.closed_at is not None:
        return found
    events = {each.id: each for each in events_of(book.store, book.keys, found)}
    now = server_time(book.store)
    due = [each for each in events.values() if is_due(each, found, now)]
    if not due:
        return found
    lanes = tuple(dict.fromkeys(lane for each in due for lane in readings_of(each)))
    after = measure(lanes)
    told = [sampled_effect(book, each) or effect_of(each, after, now) for each in due]
    effects = that_fit(found, with_yardsticks(told, _policy(book)))
    if not effects:
        return found
    receipt = book.change(
        lambda it, _: with_effects(it, effects), verb="effect", by=SYSTEM,
        reason="measured", incident=incident,
    )  # fmt: skip
    return receipt.incident


def is_due(event: Event, incident: Incident, now: datetime) -> bool:
    """Whether the effect of `event` can be measured and has not been."""
    is_known = any(each.event == event.id for each in incident.effects)
    has_room = len(incident.effects) < MOST_EFFECTS
    return event.at + AFTER <= now and not is_known and has_room and bool(readings_of(event))


def readings_of(event: Event) -> Mapping[str, Reading]:
    """How the lanes were just before `event`, by name; what cannot be read is left out."""
    found = event.details.get("readings")
    if not isinstance(found, Mapping):
        return {}
    return {
        str(lane): reading
        for lane, each in found.items()
        if (reading := _reading(each)) is not None
    }


def sampled_effect(book: Book, event: Event) -> Effect | None:
    """What `event` did until exactly `AFTER`, if all of its lanes were sampled then."""
    before = readings_of(event)
    at = event.at + AFTER
    found = readings_at(book.store, book.keys, tuple(before), at)
    return effect_of(event, found, at) if found.keys() == before.keys() else None


def effect_of(event: Event, now_by_lane: Mapping[str, Reading], now: datetime) -> Effect:
    """What `event` did to its lanes until `now`."""
    before = readings_of(event)
    return Effect(
        event=event.id,
        verb=event.verb,
        after_seconds=(now - event.at).total_seconds(),
        before=before,
        after={lane: now_by_lane.get(lane, Reading(0)) for lane in before},
    )


def with_yardsticks(effects: Sequence[Effect], policy: Policy) -> list[Effect]:
    """`effects` with what is in each lane, in the policy's nouns, and how long that may wait."""
    lanes = list(dict.fromkeys(lane for each in effects for lane in each.before))
    kinds = kinds_of(policy, [lane_of(lane).queue for lane in lanes]) if policy.rules else ()
    known = {
        lane: Yardstick(kind.noun, kind.tolerance.total_seconds())
        for lane in lanes
        if (kind := kind_in(lane, kinds)) is not None
    }
    return [
        replace(each, yardsticks={lane: known[lane] for lane in each.before if lane in known})
        for each in effects
    ]


def that_fit(incident: Incident, effects: Sequence[Effect]) -> list[Effect]:
    """Those of `effects` for which the record has room: half of it is for what people write."""
    empty = _size(replace(incident, effects=()))
    room = EFFECTS_ROOM - (_size(incident) - empty)
    found = []
    for each in effects:
        room -= _size(replace(incident, effects=(each,))) - empty
        if room >= 0:
            found.append(each)
    return found


def with_effects(incident: Incident, effects: Sequence[Effect]) -> Incident:
    """`incident` with those of `effects` that it has not yet."""
    known = {each.event for each in incident.effects}
    new = tuple(each for each in effects if each.event not in known)
    return replace(incident, effects=(*incident.effects, *new))


def reading_of(lane: LaneStatus, now: datetime) -> Reading:
    """What matters of the status of a lane."""
    oldest = None if lane.oldest is None else max((now - lane.oldest).total_seconds(), 0.0)
    return Reading(
        waiting=lane.waiting,
        backlog=lane.backlog,
        oldest_seconds=oldest,
        arrivals=lane.arrivals,
        completions=lane.completions,
    )


def plain(readings: Mapping[str, Reading]) -> dict[str, dict[str, float]]:
    """Readings as an event keeps them."""
    return {
        lane: {
            each.name: value
            for each in fields(Reading)
            if (value := getattr(reading, each.name)) is not None
        }
        for lane, reading in readings.items()
    }


def _size(incident: Incident) -> int:
    return len(dumped(record_of(incident)))


def _policy(book: Book) -> Policy:
    try:
        return applied_policy(book.store, book.keys).policy
    except RecordUnreadable as error:
        logger.warning("effects are told without the policy: %s", error)
        return Policy()


def _reading(record: object) -> Reading | None:
    if not isinstance(record, Mapping):
        return None
    names = {each.name for each in fields(Reading)}
    known: dict[str, Any] = {
        name: value
        for name, value in record.items()
        if name in names and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Reading(**known) if "waiting" in known else None
