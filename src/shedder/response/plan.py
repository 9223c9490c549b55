"""The plan: how long until it is over, for each option.

Workers serve lanes in order of priority and are never idle while an open lane has jobs. All jobs
take the same time, so what all workers do in a second, the pace, is shared by the lanes: the first
takes what it can use, up to its limit, the next what is left. Arrivals go on as they are. Jobs that
wait arrived evenly over the time since the oldest arrived, and a lane is served in order. Then
everything moves on straight lines between the moments at which a lane runs empty, and the answer
needs no simulation in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shedder.lanes import PRIORITIES
from shedder.policy.lateness import Late
from shedder.policy.model import Policy
from shedder.policy.workload import TOLERANCE, Workload, kinds_of
from shedder.queues.samples import Sample, paces_of
from shedder.status.readings import LaneStatus, Status

HORIZON_SECONDS = 30 * 24 * 3600.0
"""What takes longer is never over."""

MOST_STEPS = 1000

PACE_LOOK_BACK = timedelta(hours=1)
"""The time before the status of which the samples tell how fast all workers can be."""

_URGENT = frozenset({"critical", "high"})
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A lane as the model sees it.

    Attributes:
        lane: Its name.
        depth: Jobs that wait in it, those of backlogs that drain among them.
        oldest: Seconds for which the oldest of them has waited.
        arrivals: Jobs that arrive a second.
        tolerance: Seconds for which a job may wait.
        is_urgent: It is the work that must be well first.
        is_closed: None of its jobs starts: it is paused, or put aside.
        limit: Its jobs start at most so often a second; None without a limit.
    """

    lane: str
    depth: float
    oldest: float
    arrivals: float
    tolerance: float
    is_urgent: bool = False
    is_closed: bool = False
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """Something that could be done.

    Attributes:
        name: In words, such as `divert mail.low`.
        closed: Lanes that would be paused or put aside.
        limits: Lanes whose starts would be limited, and to how many a second.
        more_workers: Workers that would be added.
    """

    name: str
    closed: frozenset[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)
    more_workers: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which every lane is served evenly.

    Attributes:
        since: Seconds from now at which it begins.
        seconds: Its length.
        served: By lane, how many of its jobs start a second.
        depths: By lane, how many jobs wait at its beginning.
    """

    since: float
    seconds: float
    served: Mapping[str, float]
    depths: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an option would bring.

    Attributes:
        option: Its name.
        pace: Jobs that all workers do a second.
        urgent_in: Seconds until the urgent work is inside of its tolerance; None for never.
        gone_in: Seconds until no open lane has jobs that wait; None for never.
        left: Jobs that are put aside or paused by then.
        phases: The arithmetic.
    """

    option: str
    pace: float
    urgent_in: float | None
    gone_in: float | None
    left: float
    phases: tuple[Phase, ...]


def forecast(lanes: Sequence[LaneLoad], option: Option, *, pace: float, workers: int) -> Forecast:
    """What `option` would bring; `lanes` are in order of priority, and `pace` is that of `workers`.

    A worker that is added does as much as each of the others.
    """
    faster = pace * (workers + option.more_workers) / workers if workers else 0.0
    phases = tuple(_phases(lanes, option, faster))
    left = sum(lane.depth for lane in lanes if _is_closed(lane, option))
    urgent_in, gone_in = _urgent_in(lanes, phases), _gone_in(lanes, option, phases)
    return Forecast(option.name, faster, urgent_in, gone_in, left, phases)


def options_for(lanes: Sequence[LaneLoad], *, more_workers: int = 2) -> tuple[Option, ...]:
    """The options that there are: nothing, and each kind of intervention on what is not urgent."""
    others = [lane for lane in lanes if not lane.is_urgent and lane.depth and not lane.is_closed]
    names = [lane.lane for lane in others]
    options = [Option("do nothing")]
    if others:
        heaviest = max(others, key=lambda lane: lane.depth).lane
        options += [
            Option(f"pause {heaviest}", closed=frozenset({heaviest})),
            Option(f"divert {' '.join(names)}", closed=frozenset(names)),
            Option(f"limit {heaviest} to 10/second", limits={heaviest: 10.0}),
        ]
    return (*options, Option(f"{more_workers} more workers", more_workers=more_workers))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the plan begins with.

    Attributes:
        at: When it was read (server's clock, UTC).
        lanes: The lanes, in the order in which workers serve them.
        pace: Jobs that all workers do a second.
        is_pace_now: It is what they do now; else the most that they did in the last hour.
        workers: Workers of ours that serve these lanes.
        late: Who waits longer than the policy tolerates, or may do so.
    """

    at: datetime
    lanes: tuple[LaneLoad, ...]
    pace: float
    is_pace_now: bool
    workers: int
    late: tuple[Late, ...] = ()


def read_outlook(status: Status, samples: Mapping[str, Sequence[Sample]], policy: Policy) -> Outlook:
    """How the lanes of `status` are now; `samples` of them reach back by `PACE_LOOK_BACK`."""
    kinds = kinds_of(policy, [lane.queue for lane in status.lanes])
    now = sum(lane.completions or 0.0 for lane in status.lanes)
    is_busy = any(lane.waiting for lane in status.lanes if lane.pause is None)
    is_pace_now = bool(is_busy and now)
    return Outlook(
        at=status.at,
        lanes=_loads_of(status, kinds),
        # what has just begun is in no two samples yet
        pace=now if is_pace_now else max(_best_pace(samples), now),
        is_pace_now=is_pace_now,
        workers=max((lane.workers for lane in status.lanes), default=0),
        late=tuple(late for lane in status.lanes for late in lane.late),
    )


def _phases(lanes: Sequence[LaneLoad], option: Option, pace: float) -> Iterator[Phase]:
    depths = {lane.lane: lane.depth for lane in lanes}
    now = 0.0
    for _ in range(MOST_STEPS):
        served = _served(lanes, option, depths, pace)
        falls = {
            lane.lane: served[lane.lane] - lane.arrivals
            for lane in lanes
            if not _is_closed(lane, option) and depths[lane.lane] > _NOTHING
        }
        ends = [depths[name] / fall for name, fall in falls.items() if fall > _NOTHING]
        seconds = min([*ends, HORIZON_SECONDS - now])
        yield Phase(now, seconds, served, dict(depths))
        now += seconds
        if not falls or now >= HORIZON_SECONDS:
            return
        for lane in lanes:
            grown = depths[lane.lane] + (lane.arrivals - served[lane.lane]) * seconds
            depths[lane.lane] = max(grown, 0.0) if grown > 1e-6 else 0.0


def _served(lanes: Sequence[LaneLoad], option: Option, depths: Mapping[str, float], pace: float) -> dict[str, float]:
    """How the pace is shared: the first lane takes what it can use, the next what is left."""
    left, served = pace, {}
    for lane in lanes:
        wanted = left if depths[lane.lane] > _NOTHING else min(lane.arrivals, left)
        limit = option.limits.get(lane.lane, lane.limit)
        if limit is not None:
            wanted = min(wanted, limit)
        served[lane.lane] = 0.0 if _is_closed(lane, option) else wanted
        left -= served[lane.lane]
    return served


def _is_closed(lane: LaneLoad, option: Option) -> bool:
    return lane.is_closed or lane.lane in option.closed


def _urgent_in(lanes: Sequence[LaneLoad], phases: Sequence[Phase]) -> float | None:
    found = [_inside_in(lane, phases) for lane in lanes if lane.is_urgent]
    if any(each is None for each in found):
        return None
    return max((each for each in found if each is not None), default=0.0)


def _inside_in(lane: LaneLoad, phases: Sequence[Phase]) -> float | None:
    """When the oldest job of the lane has waited no longer than it may, for the last time."""
    answer: float | None = 0.0 if lane.oldest <= lane.tolerance else None
    done = 0.0
    for phase in phases:
        pace = phase.served[lane.lane]
        for began, ended, age, change in _straight_parts(lane, done, pace, phase):
            final = age + change * (ended - began)
            if final > lane.tolerance + _NOTHING:
                answer = None
            elif age > lane.tolerance:
                answer = began + (age - lane.tolerance) / -change if change < 0 else ended
            elif answer is None:
                answer = began
        done += pace * phase.seconds
    return answer


_Part = tuple[float, float, float, float]


def _straight_parts(lane: LaneLoad, done: float, pace: float, phase: Phase) -> Iterator[_Part]:
    """Beginning, end, age of the oldest and its change a second, while these are straight lines.

    First those jobs are served that wait now, as close together as they came; then those that
    arrive from now on.
    """
    began, ended = phase.since, phase.since + phase.seconds
    if lane.depth - done > _NOTHING:
        until = min(ended, began + (lane.depth - done) / pace) if pace > 0 else ended
        spacing = lane.oldest / lane.depth
        yield began, until, began + lane.oldest - done * spacing, 1 - pace * spacing
        done, began = done + pace * (until - began), until
    if ended - began > _NOTHING:
        if lane.arrivals <= _NOTHING or phase.depths[lane.lane] <= _NOTHING:
            yield began, ended, 0.0, 0.0
        else:
            age = began - (done - lane.depth) / lane.arrivals
            yield began, ended, max(age, 0.0), 1 - pace / lane.arrivals


def _gone_in(lanes: Sequence[LaneLoad], option: Option, phases: Sequence[Phase]) -> float | None:
    last = phases[-1]
    open_lanes = [lane.lane for lane in lanes if not _is_closed(lane, option)]
    return None if any(last.depths[name] > _NOTHING for name in open_lanes) else last.since


def _loads_of(status: Status, kinds: Iterable[Workload]) -> tuple[LaneLoad, ...]:
    """The lanes as the model sees them, those that are served first in front."""
    tolerances: dict[str, timedelta] = {}
    for kind in kinds:
        for lane in kind.lanes:
            tolerances[lane] = min(kind.tolerance, tolerances.get(lane, kind.tolerance))
    lanes = sorted(status.lanes, key=lambda lane: PRIORITIES.index(lane.priority))
    urgent = _urgent(lanes, tolerances)
    return tuple(
        _load(lane, status.at, tolerances.get(lane.lane, TOLERANCE), is_urgent=lane.lane in urgent) for lane in lanes
    )


def _best_pace(samples: Mapping[str, Sequence[Sample]]) -> float:
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
