"""The events of an incident as sentences, in which people are roles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from string import ascii_uppercase
from typing import Any

from shedder.events import SYSTEM, VERBS, Event, verb_of
from shedder.incident.records import Effect, Incident, Reading, RoleHeld, RolePast, is_same_person
from shedder.incident.timeline import people_of, with_own_drains
from shedder.lanes import PRIORITIES, lane_of
from shedder.postmortem.facts import Intervention, LaneEffect, Moment
from shedder.response.mitigation import BEGAN, ENDED, NO_END_YET, without_ended
from shedder.wording import counted, jobs_do, moment, some_named, spoken

NOBODY = "somebody without a role"
SOMEBODY = "somebody"

TOGETHER = timedelta(seconds=5)
"""Events of one restore, one for each backlog, follow one another within this time."""


def timeline_of(incident: Incident, events: Sequence[Event]) -> tuple[Moment, ...]:
    """A line for each event, oldest first; what was done has a letter, which plots show too."""
    marks = _marks()
    found = []
    undone = undone_at(events)
    for event, also in _with_those_of_one_restore(with_own_drains(without_ended(events))):
        verb = verb_of(event)
        if not verb.is_detail:
            taken_back = f", undone at {moment(undone[event.id], event.at)}" if event.id in undone else ""
            what = f"{event_sentence(event)}{_numbers(event)}{taken_back}"
            is_deed = verb.is_decision or verb.has_effect
            mark = next(marks) if is_deed else ""
            found.append(Moment(event.at, _actor(incident, event), what, event.id, mark, is_deed, also))
    return tuple(found)


def interventions_of(
    timeline: Sequence[Moment], events: Sequence[Event], effects: Sequence[Effect]
) -> tuple[Intervention, ...]:
    """What was done, for which reason, and what it did."""
    reasons = {event.id: event.why for event in events}
    measured = {effect.event: effect for effect in effects}
    return tuple(
        _intervention(each, reasons[each.event], [measured[it] for it in (each.event, *each.also) if it in measured])
        for each in timeline
        if each.is_deed
    )


def undone_at(events: Iterable[Event]) -> dict[str, datetime]:
    """By the id of an event that was undone since, when that was."""
    return {event.undoes: event.at for event in events if event.undoes}


def event_sentence(event: Event) -> str:
    """What was done, to stand behind who did it; of an undo that it was one."""
    verb = verb_of(event)
    if not event.undoes:
        return _filled_in(verb.sentence, event)
    return _filled_in(verb.undone, event) if verb.undone else f"{undid(event)}{_filled_in(verb.sentence, event)}"


def undid(event: Event) -> str:
    """What stands before the sentence of an undo, such as `undid an earlier pause: `; nothing for another event."""
    verb = event.details.get("undid")
    known = verb if isinstance(verb, str) and verb in VERBS else "change"
    return f"undid an earlier {known}: " if event.undoes and not verb_of(event).undone else ""


def _filled_in(sentence: str, event: Event) -> str:
    things = _listed(name for name in event.after if name not in event.lanes) or "settings"
    told = sentence.format(
        lanes=_listed(_shortest(event.lanes)) or "nothing",
        things=things,
        name=event.details.get("mitigation", ""),
        what=event.details.get("what", "something"),
        role=_role(event),
        fields=_fields(event),
    )
    return told.rstrip()


def roles_by_name(incident: Incident, events: Iterable[Event]) -> Mapping[str, str]:
    """For each name in the record the role that its person has or had."""
    roles = {}
    for name in people_of(incident, events):
        own = (each.role.value for each in _held(incident) if is_same_person(each.person, name))
        roles[name] = next(own, SOMEBODY)
    return roles


def anonymize(text: str, roles: Mapping[str, str]) -> str:
    """`text` with a role for each name that stands in it as a whole, however it is written."""
    for name in sorted(roles, key=len, reverse=True):
        whole = rf"(?<![\w@.-]){re.escape(name)}(?![\w@-])"
        text = re.sub(whole, roles[name], text, flags=re.IGNORECASE)
    return text


def _marks() -> Iterator[str]:
    """`A` to `Z`, then `A2` and on."""
    for number in count(1):
        yield from (f"{letter}{number if number > 1 else ''}" for letter in ascii_uppercase)


def _held(incident: Incident) -> tuple[RoleHeld | RolePast, ...]:
    return (*incident.roles, *incident.past_roles)


def _actor(incident: Incident, event: Event) -> str:
    """The role of the person or program whose event it is; never a name."""
    if event.by in ("", SYSTEM) or verb_of(event).is_system:
        return SYSTEM
    held = (each.role.value for each in _held(incident)
            if is_same_person(each.person, event.by) and _had_it(each, event.at))  # fmt: skip
    return event.role or next(held, NOBODY)


def _had_it(held: RoleHeld | RolePast, at: datetime) -> bool:
    return held.since <= at and (isinstance(held, RoleHeld) or at <= held.until)


def _role(event: Event) -> str:
    """Which role an event of one is about, and the task of an investigator."""
    found = [*_items(event.after, "roles"), *_items(event.before, "roles")]
    role, task = (str(found[0].get(name, "")) for name in ("role", "task")) if found else ("", "")
    return f"{role} ({task})" if task else role


def _fields(event: Event) -> str:
    """What was corrected, and of a severity from which to which."""
    before, after = event.before.get("severity"), event.after.get("severity")
    names = [name.removesuffix("_at") for name in event.after if name not in _SAID_BY_OTHERS]
    told = [f"severity {before} to {after}" if name == "severity" else name for name in names]
    return _listed(told) or "the record"


_SAID_BY_OTHERS = frozenset({"severities", "next_update_at", "review_due_at"})


def _items(numbers: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = numbers.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _shortest(lanes: Iterable[str]) -> tuple[str, ...]:
    """The shortest names of `lanes`: a queue where all its lanes are among them."""
    queues: dict[str, list[str]] = {}
    for lane in lanes:
        queues.setdefault(lane_of(lane).queue, []).append(lane)
    return tuple(
        name for queue, own in queues.items() for name in ([queue] if len(set(own)) == len(PRIORITIES) else own)
    )


def _numbers(event: Event) -> str:
    waiting = sum(
        each["waiting"]
        for each in event.before.values()
        if isinstance(each, Mapping) and isinstance(each.get("waiting"), int)
    )
    facts = [jobs_do(waiting, "waited", "waited")] if waiting and verb_of(event).is_decision else []
    if event.verb == "retry":
        facts += _brought_back(event)
    rate = event.details.get("rate")
    if isinstance(rate, str):
        facts.append(f"at {rate}")
    if event.verb in (BEGAN, ENDED):
        facts.append(_outcome(event))
    if verb_of(event).is_system:
        facts.append(verb_of(event).numbers(event))
    return f" ({', '.join(filter(None, facts))})" if any(facts) else ""


def _outcome(event: Event) -> str:
    outcome, code = event.details.get("outcome", NO_END_YET), event.details.get("exit_code")
    seconds = event.details.get("seconds")
    took = isinstance(seconds, int | float) and f" after {spoken(timedelta(seconds=seconds))}"
    failed = f" with exit code {code}" if outcome == "failed" else ""
    return f"{outcome}{failed}{took or ''}"


def _intervention(deed: Moment, why: str, effects: Sequence[Effect]) -> Intervention:
    if not effects:
        return Intervention(deed, why)
    lanes = (_lane_effect(lane, effect.before[lane], after)
             for effect in effects for lane, after in effect.after.items() if lane in effect.before)  # fmt: skip
    known = tuple(each for each in lanes if each.depth_before or each.depth_after)
    return Intervention(deed, why, timedelta(seconds=effects[0].after_seconds), known)


def _brought_back(retry: Event) -> Iterator[str]:
    """How many jobs, where its drain has told."""
    told = [each for each in retry.after.values() if isinstance(each, Mapping) and "rate" in each]
    if told:
        yield counted(sum(int(each.get("backlog", 0)) for each in told), "job")


def _with_those_of_one_restore(events: Iterable[Event]) -> Iterator[tuple[Event, tuple[str, ...]]]:
    """Each event with the ids of those that are told with it: a restore of several backlogs is one."""
    told: list[Event] = []
    for event in events:
        if told and not _is_of_one_restore(told[-1], event):
            yield _as_one(told), tuple(each.id for each in told[1:])
            told = []
        told.append(event)
    if told:
        yield _as_one(told), tuple(each.id for each in told[1:])


def _is_of_one_restore(one: Event, other: Event) -> bool:
    of_one, of_other = ((each.verb, each.undoes, each.by, each.why) for each in (one, other))
    return one.verb == "restore" and of_one == of_other and other.at - one.at <= TOGETHER


def _as_one(events: Sequence[Event]) -> Event:
    lanes = tuple(dict.fromkeys(lane for event in events for lane in event.lanes))
    before = {f"{lane} {number}" if number else lane: said
              for number, event in enumerate(events) for lane, said in event.before.items()}  # fmt: skip
    return events[0] if len(events) == 1 else replace(events[0], lanes=lanes, before=before)


def _lane_effect(lane: str, before: Reading, after: Reading) -> LaneEffect:
    return LaneEffect(
        lane=lane,
        depth_before=before.waiting + before.backlog,
        depth_after=after.waiting + after.backlog,
        oldest_before=timedelta(seconds=before.oldest_seconds or 0),
        oldest_after=timedelta(seconds=after.oldest_seconds or 0),
        completions_before=before.completions,
        completions_after=after.completions,
        backlog_before=before.backlog,
        backlog_after=after.backlog,
        failing_before=before.failing,
        failing_after=after.failing,
    )


def _listed(names: Iterable[str], *, most: int = 4) -> str:
    return some_named(list(names), most)
