"""Which mitigations have begun, and is there still somebody to tell how they end?

The process that runs one says every few seconds that it lives. When it has fallen silent, as after
SIGKILL, whoever looks next writes down that nobody has seen the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import uuid4

from shedder.journal import Written, written_from
from shedder.keys import Keys
from shedder.records import Event
from shedder.store import Command
from shedder.stored import time_from_ms

BEGAN = "mitigate started"
ENDED = "mitigate"

UNSEEN = "end not recorded"
"""The outcome of a mitigation whose process fell silent."""

NO_END_YET = "no end recorded yet"
"""What is said instead of an outcome while there is none."""

SILENT_SECONDS = 20.0
"""A process that has given no sign of life for so long is thought gone."""


def begin_mitigation(keys: Keys, head: str, unseen_end: str) -> Command[Written]:
    """Write that a mitigation begins; `unseen_end` is the head of the event of an unseen end."""
    return Command(
        "begin_mitigation",
        (keys.mitigations, keys.events, keys.operation(uuid4().hex)),
        ("begin", head, unseen_end, int(1000 * SILENT_SECONDS)),
        written_from,
    )


def renew_mitigation(keys: Keys, event: str, unseen_end: str) -> Command[bool]:
    """Say that the process of the mitigation which began with `event` is alive."""
    silent_ms = int(1000 * SILENT_SECONDS)
    return Command("renew_mitigation", (keys.mitigations,), (event, unseen_end, silent_ms), bool)


def unended(events: Iterable[Event]) -> tuple[Event, ...]:
    """Of `events` the beginnings of mitigations whose end none of them tells, oldest first."""
    found = list(events)
    ends = {str(each.details.get("began", "")) for each in found if each.verb == ENDED}
    return tuple(
        each
        for number, each in enumerate(found)
        if each.verb == BEGAN and each.id not in ends and not _has_plain_end(each, found[number:])
    )


def with_end_unknown(events: Iterable[Event]) -> tuple[Event, ...]:
    """Of `events` the beginnings without an end, and the ends that nobody has seen."""
    found = without_outdated(events)
    return (*unended(found), *(each for each in found if _is_unseen(each)))


def began_at(event: Event) -> datetime:
    """When the mitigation began of which `event` tells the beginning or the end."""
    milliseconds = str(event.details.get("began", "")).partition("-")[0]
    return time_from_ms(int(milliseconds)) if milliseconds.isdecimal() else event.at


def without_outdated(events: Iterable[Event]) -> tuple[Event, ...]:
    """`events` without an unseen end that was told after all, by a process that had been frozen."""
    found = list(events)
    seen = {
        each.details.get("began")
        for each in found
        if each.verb == ENDED and each.details.get("outcome") != UNSEEN
    }
    return tuple(each for each in found if not (_is_unseen(each) and _began(each) in seen))


def _is_unseen(event: Event) -> bool:
    return event.verb == ENDED and event.details.get("outcome") == UNSEEN


def _began(event: Event) -> object:
    return event.details.get("began")


def _has_plain_end(began: Event, later: Iterable[Event]) -> bool:
    """Whether a shedder from before ends had the id of their beginning told its end."""
    name = began.details.get("mitigation")
    return any(
        each.verb == ENDED
        and "began" not in each.details
        and (each.details.get("mitigation"), each.by) == (name, began.by)
        for each in later
    )
