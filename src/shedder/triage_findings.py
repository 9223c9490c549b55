"""What do queues, settings and events say to the questions of the checklist?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shedder.durations import format_duration
from shedder.incident.begun import NO_END_YET, began_at, unended, without_outdated
from shedder.incident.records import Incident
from shedder.lanes import DEFAULT_PRIORITY, lane_of
from shedder.policy import Policy
from shedder.records import Event, LaneStatus, Status
from shedder.setting_records import FlagState, LimitState
from shedder.triage import TriageDone

PROTECTED = ("critical", "high")

FINE_WITHIN = timedelta(seconds=30)
"""A lane of high priority is fine while its oldest job waits no longer, unless the policy says."""

LOOKS_BACK = timedelta(hours=1)
"""Without an incident, what was done so lately counts."""

MOST_EVENTS = 5000

FEWEST_JOBS = 10
"""A queue with fewer waiting jobs is not clogged."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the checklist is made of.

    Attributes:
        status: How the queues are.
        flags: All flags.
        limits: All limits.
        policy: What the team decided before.
        events: What was done: in the incident, or lately without one.
        incident: The incident that is open; None without one.
    """

    status: Status
    flags: tuple[FlagState, ...] = ()
    limits: tuple[LimitState, ...] = ()
    policy: Policy = field(default_factory=Policy)
    events: tuple[Event, ...] = ()
    incident: Incident | None = None

    @property
    def reason(self) -> tuple[str, str]:
        """What the commands give as their reason."""
        return "-r", self.incident.title if self.incident else "triage"


def clogged(status: Status) -> LaneStatus | None:
    """The lane in which most jobs wait, unless that are few."""
    busy = [lane for lane in status.lanes if lane.waiting >= FEWEST_JOBS]
    return max(busy, key=lambda lane: lane.waiting, default=None)


def done_about(seen: Seen, verbs: Sequence[str], *, kind: str = "") -> tuple[TriageDone, ...]:
    """What was done by these verbs, or mitigations of a kind, and still stands, oldest first."""
    undone = {each.undoes for each in seen.events if each.undoes}
    begun = unended(seen.events) if "mitigate" in verbs else ()
    effects = {each.event: each for each in seen.incident.effects} if seen.incident else {}
    return tuple(
        TriageDone(each.id, each.verb, each.by, each.role, began_at(each), _what(each),
                   effects.get(each.id), _outcome(each))
        for each in without_outdated(seen.events)
        if (each.verb in verbs or each in begun) and each.id not in undone and not each.undoes
        and (not kind or each.details.get("kind") == kind)
    )  # fmt: skip


def growth(status: Status) -> str:
    """Which lanes grow, and how fast; empty when none does."""
    growing = [
        each for each in status.lanes
        if each.arrivals is not None and each.completions is not None
        and each.arrivals > each.completions + 0.1
    ]  # fmt: skip
    return ", ".join(
        f"{each.lane} grows: {each.arrivals:.1f}/s in, {each.completions:.1f}/s out"
        for each in growing[:3]
    )


def age(lane: LaneStatus, now: datetime) -> str:
    """How long the oldest job of a lane has waited, to stand behind its name; empty without one."""
    if lane.oldest is None:
        return ""
    return f", the oldest for {format_duration(max((now - lane.oldest).total_seconds(), 0) // 1)}"


def is_held(seen: Seen, lane: LaneStatus) -> bool:
    """Whether a pause holds jobs that matter most, or what is left once the rest was diverted."""
    if lane.pause is None or not lane.waiting:
        return False
    is_first = _priority(seen, lane) in PROTECTED
    queue = [each for each in seen.status.lanes if each.queue == lane.queue]
    has_diverted = any(not each.is_limit for other in queue for each in other.diverts)
    return is_first or (has_diverted and _priority(seen, lane) == DEFAULT_PRIORITY)


def is_late(seen: Seen, lane: LaneStatus) -> bool:
    """Whether jobs that matter most wait longer than is tolerated."""
    if _priority(seen, lane) not in PROTECTED or lane.oldest is None:
        return False
    found = seen.policy.rule_for("tolerance", queue=lane_of(lane.lane).queue)
    tolerance = (found[1].tolerance if found else None) or FINE_WITHIN
    return seen.status.at - lane.oldest > tolerance


def is_whole(lane: LaneStatus) -> bool:
    """Whether a divert takes all jobs of the lane."""
    return any(each.selection.is_whole and not each.is_limit for each in lane.diverts)


def is_diverted(status: Status, queue: str, described: str) -> bool:
    """Whether a divert of such jobs stands on the queue already."""
    return any(
        each.selection.describe() == described
        for lane in status.lanes
        if lane_of(lane.lane).queue == queue
        for each in lane.diverts
    )


def _priority(seen: Seen, lane: LaneStatus) -> str:
    return seen.policy.served_as(lane.lane)


def _what(event: Event) -> tuple[str, ...]:
    if event.lanes:
        return event.lanes
    names = event.details.get("names")
    if isinstance(names, list):
        return tuple(str(each) for each in names)
    said = event.details.get("mitigation")
    return (str(said),) if said else ()


def _outcome(event: Event) -> str:
    if not event.verb.startswith("mitigate"):
        return ""
    return str(event.details.get("outcome", NO_END_YET))
