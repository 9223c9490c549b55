"""What does the next update say, before anybody has typed anything?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shedder.durations import format_duration
from shedder.heartbeat.messages import due_at
from shedder.incident.records import Incident
from shedder.lanes import lane_of
from shedder.policy import Policy
from shedder.records import LaneStatus, Status
from shedder.rq.lateness import measure_works
from shedder.selection import Selection
from shedder.sentences import compose, named
from shedder.situation import Measure, Situation, Work
from shedder.works import Kind, kinds_of

if TYPE_CHECKING:
    from shedder.facade import Shedder

LOOK_BACK = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Draft:
    """An update before it is posted.

    Attributes:
        situation: What it is made of.
        text: What it says.
        audience: Who it is for.
        next_update: When the one after it is due.
    """

    situation: Situation
    text: str
    audience: str
    next_update: datetime


def draft_update(
    shed: Shedder, policy: Policy, incident: Incident, *, audience: str, now: datetime
) -> Draft:
    """The update as it would be posted at `now`."""
    every = policy.incident.update_every_for(incident.severity)
    situation = read_situation(shed, policy, incident, next_update=now + every)
    return Draft(situation, compose(situation, audience=audience), audience, now + every)


def read_situation(
    shed: Shedder,
    policy: Policy,
    incident: Incident | None,
    *,
    next_update: datetime | None = None,
) -> Situation:
    """How things are, in the words of the policy."""
    status = shed.status()
    kinds = kinds_of(policy, [lane.queue for lane in status.lanes])
    lanes = tuple(dict.fromkeys(lane for kind in kinds for lane in kind.lanes))
    samples = shed.samples(*lanes, since=status.at - LOOK_BACK) if lanes else {}
    if next_update is None and incident is not None:
        next_update = due_at(incident, policy.incident)
    return Situation(
        at=status.at,
        works=measure_works(shed.store, shed.keys, kinds, status, samples),
        measures=tuple(measures_of(status, kinds, incident)),
        notices=tuple(_notices(policy, status)),
        next_update=next_update,
        title=incident.title if incident else "",
        began=(incident.began_at or incident.opened_at) if incident else None,
    )


def measures_of(
    status: Status, kinds: tuple[Kind, ...], incident: Incident | None
) -> Iterator[Measure]:
    """What stands on queues and limits, oldest first, once for lanes that were done together."""
    found: dict[tuple[str, str, datetime], Measure] = {}
    for lane in status.lanes:
        for measure in _of_lane(lane, kinds, incident):
            found.setdefault((measure.what, measure.role, measure.since), measure)
    yield from sorted(found.values(), key=lambda each: each.since)


def works_for_event(works: tuple[Work, ...]) -> list[dict[str, Any]]:
    """The numbers behind an update, for its event."""
    return [
        {
            "noun": work.noun,
            "late": work.late,
            "waiting": work.waiting,
            "oldest": None if work.oldest is None else int(work.oldest.total_seconds()),
            "tenants": work.tenants,
        }
        for work in works
    ]


def _of_lane(
    lane: LaneStatus, kinds: tuple[Kind, ...], incident: Incident | None
) -> Iterator[Measure]:
    if lane.pause is not None:
        what = f"{subject(kinds, lane.queue)} paused"
        yield Measure(what, _role(incident, lane.pause.by), lane.pause.since,
                      f"shedder resume {lane.queue}", lane.pause.why)  # fmt: skip
    for divert in lane.diverts:
        whose = subject(kinds, lane.queue, divert.selection)
        if divert.is_limit:
            what = f"{whose} started at a limit"
        elif divert.drain is not None:
            what = f"{whose} brought back at up to {divert.drain.rate}"
        else:
            what = f"{whose} put aside"
        yield Measure(what, _role(incident, divert.by), divert.since,
                      f"shedder drain {lane.queue}", divert.why)  # fmt: skip


MOST_NOUNS = 3


def subject(kinds: tuple[Kind, ...], queue: str, selection: Selection | None = None) -> str:
    """What a measure on `queue` concerns, such as `newsletters and reports are`."""
    own = [kind for kind in kinds if any(lane_of(lane).queue == queue for lane in kind.lanes)]
    taken = [kind for kind in own if selection is None or _may_take(selection, kind)]
    nouns = list(dict.fromkeys(kind.noun for kind in taken))
    if nouns and len(nouns) <= MOST_NOUNS:
        return f"{named(nouns)} are"
    return f"all jobs of {queue} are" if nouns or selection is None else f"some jobs of {queue} are"


def _may_take(selection: Selection, kind: Kind) -> bool:
    """Whether `selection` takes jobs of this kind, as far as their functions tell."""
    globs = kind.rule.selection.functions if kind.rule else ()
    if selection.is_whole or not selection.functions or not globs:
        return True
    return any(
        Selection(functions=(one,)).matches(
            function=other.replace("*", "x"), meta={}, age=timedelta()
        )
        for mine in selection.functions
        for theirs in globs
        for one, other in ((mine, theirs), (theirs, mine))
    )


def _role(incident: Incident | None, by: str) -> str:
    return incident.role_of(by) if incident else ""


def _notices(policy: Policy, status: Status) -> Iterator[str]:
    notices: Mapping[str, str] = policy.notices
    for flag in status.flags:
        if notice := notices.get(flag.name):
            share = "" if flag.percent >= 100 else f" (for {flag.percent:g} % of customers)"
            yield f"{notice.rstrip('.')}{share}"


def told_every(policy: Policy, incident: Incident) -> str:
    """How often updates are due, such as `15m`."""
    return format_duration(policy.incident.update_every_for(incident.severity))
