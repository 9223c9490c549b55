"""What does the plan begin with? Lanes, arrivals and pace, as they are measured now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shedder.lanes import PRIORITIES
from shedder.planning import LaneLoad
from shedder.records import LaneStatus, Status
from shedder.samples import Sample, paces_of
from shedder.works import TOLERANCE, Kind, kinds_of

if TYPE_CHECKING:
    from shedder.policy import Policy

PACE_LOOK_BACK = timedelta(hours=1)
"""The time before the status of which the samples tell how fast all workers can be."""

_URGENT = frozenset({"critical", "high"})


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the plan begins with.

    Attributes:
        at: When it was read (server's clock, UTC).
        lanes: The lanes, in the order in which workers serve them.
        pace: Jobs that all workers do a second.
        is_pace_now: It is what they do now; else the most that they did in the last hour.
        workers: Workers of ours that serve these lanes.
    """

    at: datetime
    lanes: tuple[LaneLoad, ...]
    pace: float
    is_pace_now: bool
    workers: int


def read_outlook(
    status: Status, samples: Mapping[str, Sequence[Sample]], policy: Policy
) -> Outlook:
    """How the lanes of `status` are now; `samples` of them reach back by `PACE_LOOK_BACK`."""
    kinds = kinds_of(policy, [lane.queue for lane in status.lanes])
    now = sum(lane.completions or 0.0 for lane in status.lanes)
    is_busy = any(lane.waiting for lane in status.lanes if lane.pause is None)
    is_pace_now = bool(is_busy and now)
    return Outlook(
        at=status.at,
        lanes=loads_of(status, kinds),
        # what has just begun is in no two samples yet
        pace=now if is_pace_now else max(best_pace(samples), now),
        is_pace_now=is_pace_now,
        workers=max((lane.workers for lane in status.lanes), default=0),
    )


def loads_of(status: Status, kinds: Iterable[Kind]) -> tuple[LaneLoad, ...]:
    """The lanes as the model sees them, those that are served first in front."""
    tolerances: dict[str, timedelta] = {}
    for kind in kinds:
        for lane in kind.lanes:
            tolerances[lane] = min(kind.tolerance, tolerances.get(lane, kind.tolerance))
    lanes = sorted(status.lanes, key=lambda lane: PRIORITIES.index(lane.priority))
    urgent = _urgent(lanes, tolerances)
    return tuple(
        _load(lane, status.at, tolerances.get(lane.lane, TOLERANCE), is_urgent=lane.lane in urgent)
        for lane in lanes
    )


def best_pace(samples: Mapping[str, Sequence[Sample]]) -> float:
    """The most jobs a second that all lanes together did in any minute; 0 when none did."""
    ended: dict[datetime, float] = {}
    for each in samples.values():
        for pace in paces_of(each):
            minute = pace.at.replace(second=0, microsecond=0)
            ended[minute] = ended.get(minute, 0.0) + pace.completions * pace.seconds
    return max(ended.values(), default=0.0) / 60


def _urgent(lanes: Sequence[LaneStatus], tolerances: Mapping[str, timedelta]) -> set[str]:
    """Lanes of a high priority, if they have work; else those whose work may wait least."""
    alive = [lane for lane in lanes if lane.waiting or lane.backlog or lane.arrivals]
    high = {lane.lane for lane in alive if lane.priority in _URGENT}
    if high or not alive:
        return high
    least = min(tolerances.get(lane.lane, TOLERANCE) for lane in alive)
    return {lane.lane for lane in alive if tolerances.get(lane.lane, TOLERANCE) == least}


def _load(lane: LaneStatus, at: datetime, tolerance: timedelta, *, is_urgent: bool) -> LaneLoad:
    draining = sum(divert.backlog for divert in lane.diverts if divert.drain is not None)
    rates = [divert.drain.rate.per_second for divert in lane.diverts if divert.drain is not None]
    oldest = [time for time in (lane.oldest, lane.oldest_in_backlog if draining else None) if time]
    age = max((at - min(oldest)).total_seconds(), 0.0) if oldest else 0.0
    return LaneLoad(
        lane=lane.lane,
        depth=float(lane.waiting + draining),
        oldest=age,
        arrivals=lane.arrivals or 0.0,
        tolerance=tolerance.total_seconds(),
        is_urgent=is_urgent,
        is_closed=lane.pause is not None,
        limit=sum(rates) if rates and not lane.waiting else None,
    )
