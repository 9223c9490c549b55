"""The events of one command, told as one: pure.

A command may write several events: one for each lane, one for each order, and those of its scan. They
follow one another closely, and have the same author, reason and terms.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shedder.events import Event, verb_of
from shedder.postmortem.narrative import event_sentence, undid
from shedder.response.mitigation import ENDED
from shedder.wording import named

TOGETHER = timedelta(seconds=5)
"""Events of one command follow one another within this time."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one command did.

    Attributes:
        events: Its events, oldest first.
        at: When it can be told: no more events of it will follow.
    """

    events: tuple[Event, ...]
    at: datetime

    @property
    def last(self) -> Event:
        """The event that it is named by: the first ones are forgotten earlier."""
        return self.events[-1]

    @property
    def sentence(self) -> str:
        """What was done, and the numbers, to stand behind who did it."""
        parts = [_merged(each) for each in _by(self.events, lambda each: _verb(each)[0])]
        said = [event_sentence(each) for each in parts]
        is_undo = undid(parts[0])
        told = f"{is_undo}{named([each.removeprefix(is_undo) for each in said])}"
        facts = "; ".join(dict.fromkeys(filter(None, map(_facts, _by(self.events, _order)))))
        return f"{told} ({facts})" if facts else told


def commands_of(events: Iterable[Event]) -> tuple[Told, ...]:
    """Of each command that the main channel hears of what it did, in the order of its last event."""
    groups: dict[str, list[Event]] = {}
    done: list[list[Event]] = []
    for event in events:
        if not _is_told(event):
            continue
        key = _key(event)
        if key in groups and event.at - groups[key][-1].at > TOGETHER:
            done.append(groups.pop(key))
        groups.setdefault(key, []).append(event)
    found = [_told(each) for each in (*done, *groups.values()) if not all(verb_of(it).is_detail for it in each)]
    return tuple(sorted(found, key=lambda each: each.last.position))


def _is_told(event: Event) -> bool:
    """Whether the event belongs to something to be told: a lane that had no backlog ended no drain."""
    if event.verb == "drained":
        return bool(event.after.get("released", True) or event.after.get("skipped"))
    return is_told(event)


def is_told(event: Event) -> bool:
    """Whether the main channel hears of the event, or of the one that it is a detail of."""
    return verb_of(event).is_told or verb_of(event).is_detail


def _told(events: list[Event]) -> Told:
    is_alone = not events[-1].lanes and not events[-1].undoes
    return Told(tuple(events), events[-1].at + (timedelta() if is_alone else TOGETHER))


def _key(event: Event) -> str:
    """What the events of one command have in common."""
    if event.undoes:
        return json.dumps([event.undoes, event.by, event.why])
    if not event.lanes:
        return event.id
    return json.dumps([*_verb(event), event.by, event.why])


def _verb(event: Event) -> tuple[Any, ...]:
    """What was done and at what rate; a scan is that of its divert, and the drain of a retry that of the retry."""
    verb = "retry" if event.details.get("retry") else "divert" if verb_of(event).is_detail else event.verb
    return verb, *(event.details.get(name) for name in ("rate", "most"))


def _order(event: Event) -> object:
    return event.order or _verb(event)


def _by(events: Sequence[Event], key: Any) -> Iterator[list[Event]]:
    groups: dict[object, list[Event]] = {}
    for event in events:
        groups.setdefault(key(event), []).append(event)
    yield from groups.values()


def _merged(events: Sequence[Event]) -> Event:
    """`events` as one: on all their lanes, from what stood before the first to what stands after the last."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for event in events:
        before, after = {**event.before, **before}, {**after, **event.after}
    if events[0].verb == "drained":
        after["released"] = sum(int(each.after.get("released", 0)) for each in events)
        after["skipped"] = sum((_counts(each.after.get("skipped")) for each in events), Counter())
    lanes = dict.fromkeys(lane for event in events for lane in event.lanes)
    first = next((each for each in events if not verb_of(each).is_detail), events[0])
    return replace(first, lanes=tuple(lanes), before=before, after=after)


def _counts(value: object) -> Counter[str]:
    found = value if isinstance(value, Mapping) else {}
    return Counter({str(name): int(count) for name, count in found.items()})


def _facts(events: Sequence[Event]) -> str:
    merged = _merged(events)
    is_known = bool(merged.before or merged.after) and merged.verb != ENDED
    return verb_of(merged).numbers(merged) if is_known else ""
