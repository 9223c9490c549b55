"""The plan: how long until it is over, for each option.

Workers serve lanes in the order of priority that the policy gives them, and are never idle while an
open lane has jobs. All jobs take the same time, so what all workers do in a second, the pace, is
shared by the lanes: the first takes what it can use, up to its limit, the next what is left. Arrivals
go on as they are. Jobs that wait arrived evenly over the time since the oldest arrived, and a lane is
served in order. Then everything moves on straight lines between the moments at which a lane runs
empty, and the answer needs no simulation in time. Work that fails is not done, however fast it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shedder.errors import InvalidInput
from shedder.lanes import PRIORITIES, lane_of, lanes_of_target
from shedder.policy.lateness import Late
from shedder.policy.model import Policy
from shedder.policy.workload import TOLERANCE, Workload, kinds_of
from shedder.queues.controls import Divert
from shedder.queues.outcomes import FEWEST_ENDED, is_failing
from shedder.queues.preview import FunctionMix
from shedder.queues.samples import Pace, Sample, paces_of
from shedder.response.failing import FailingWork, failing_work
from shedder.status.readings import LaneStatus, Status
from shedder.units import Rate

HORIZON_SECONDS = 30 * 24 * 3600.0
"""What takes longer is never over."""

MOST_STEPS = 1000

PACE_LOOK_BACK = timedelta(hours=1)
"""The time before the status of which the samples tell how fast all workers can be."""

LATELY = timedelta(seconds=15)
"""The time of which the samples tell what arrives now, and how fast workers are if enough jobs ended."""

ENOUGH_ENDED = 100
"""With so many jobs that ended in this time they tell the pace better than those of a minute."""

LANES_LOOKED_AT = 10
"""The fullest lanes, of which it is told by which functions they are filled."""

MORE_WORKERS = 2
"""What if so many more workers were there, where nobody says how many."""

LEAST_SHARE = 0.1
"""To put a function aside helps little where fewer of the waiting jobs are its."""

HELD, FAILS, SLOW, UNKNOWN = "held", "fails", "slow", "unknown"
WHY_NEVER = {HELD: "it is held back", FAILS: "it fails", SLOW: "more arrives than is done"}
"""Why something never comes: paused or put aside; it fails; more arrives than is done; no pace is known."""

_MINUTE = timedelta(minutes=1)
_URGENT = frozenset({"critical", "high"})
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A lane as the model sees it.

    Attributes:
        lane: Its name.
        depth: Jobs that wait to start, those of backlogs that drain among them.
        oldest: Seconds for which the oldest of them has waited.
        arrivals: Jobs that arrive a second.
        tolerance: Seconds for which a job may wait.
        is_urgent: It is the work that must be well first.
        is_closed: None of its jobs starts: it is paused, or put aside.
        limit: Its jobs start at most so often a second; None without a limit.
        draining: Jobs among `depth` that are in backlogs that drain.
        aside: Jobs besides that were put aside and do not start.
        failing: The share of its jobs that fail, 0 to 1; 0 where the policy accepts it.
        is_urgent_failing: What is urgent of it fails.
        movable: By function that may wait, the share of the waiting jobs that are its.
    """

    lane: str
    depth: float
    oldest: float
    arrivals: float
    tolerance: float
    is_urgent: bool = False
    is_closed: bool = False
    limit: float | None = None
    draining: float = 0.0
    aside: float = 0.0
    failing: float = 0.0
    is_urgent_failing: bool = False
    movable: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_work(self) -> bool:
        """Whether it has jobs, or gets some."""
        return self.depth > _NOTHING or self.arrivals > _NOTHING or (self.is_closed and self.aside > _NOTHING)


@dataclass(frozen=True, slots=True)
class Option:
    """Something that could be done.

    Attributes:
        name: In words, such as `divert mail.low`.
        closed: Lanes that would be paused or put aside.
        limits: Lanes whose starts would be limited, and to how many a second.
        more_workers: Workers that would be added.
        taken: By lane, the share of its waiting jobs that would be put aside.
        stopped: Lanes whose drains would be stopped.
        command: What to type, a word each, without `shedder`, where the name does not say it.
    """

    name: str
    closed: frozenset[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)
    more_workers: int = 0
    taken: Mapping[str, float] = field(default_factory=dict)
    stopped: frozenset[str] = frozenset()
    command: tuple[str, ...] = ()

    def concerns(self, lanes: Iterable[LaneLoad]) -> bool:
        """Whether it would change any of `lanes`."""
        return not {*self.closed, *self.limits}.isdisjoint(each.lane for each in lanes)


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
        gone_in: Seconds until no open lane has jobs that wait; None for never, and where none is open
            that has any.
        left: Jobs that are put aside or paused by then.
        phases: The arithmetic.
        urgent_never: Why `urgent_in` is None: `held` (paused or put aside), `fails`, `slow` (more
            arrives than is done) or `unknown` (no pace is known).
        gone_never: The same of `gone_in`.
        command: What to type for it, as the option has it.
    """

    option: str
    pace: float
    urgent_in: float | None
    gone_in: float | None
    left: float
    phases: tuple[Phase, ...]
    urgent_never: str = ""
    gone_never: str = ""
    command: tuple[str, ...] = ()


def forecast(lanes: Sequence[LaneLoad], option: Option, *, pace: float, workers: int) -> Forecast:
    """What `option` would bring; `lanes` are in order of priority, and `pace` is that of `workers`.

    A worker that is added does as much as each of the others.
    """
    faster = pace * (workers + option.more_workers) / workers if workers else 0.0
    changed = [_under(lane, option) for lane in lanes]
    phases = tuple(_phases(changed, faster))
    left = sum(lane.aside + (lane.depth if lane.is_closed else 0.0) for lane in changed)
    slow = SLOW if faster or not (pace == 0 or option.more_workers) else UNKNOWN
    urgent_in, urgent_never = _urgent_in(changed, phases, slow)
    gone_in, gone_never = _gone_in(changed, phases, left, slow)
    return Forecast(
        option.name, faster, urgent_in, gone_in, left, phases, urgent_never, gone_never, option.command
    )  # fmt: skip


def options_asked(pauses: Iterable[str], diverts: Iterable[str], limits: Iterable[str]) -> tuple[Option, ...]:
    """What if these lanes were paused, their jobs put aside, or limited, `LANE=RATE`; an option for each.

    Raises:
        InvalidInput: a lane or a rate cannot be read.
    """
    closed = [Option(f"{what} {name}", closed=frozenset(_lanes(name)))
              for what, names in (("pause", pauses), ("divert", diverts)) for name in names]  # fmt: skip
    return (*closed, *map(_limited, limits))


def _limited(text: str) -> Option:
    name, is_there, rate = text.rpartition("=")
    if not is_there:
        raise InvalidInput(name="limit", value=text, accepted="LANE=RATE: mail=50/second")
    pace = Rate.parse(rate).per_second
    return Option(f"limit {name} to {rate}", limits=dict.fromkeys(_lanes(name), pace))


def _lanes(target: str) -> list[str]:
    return [lane.name for lane in lanes_of_target(target)]


def options_for(lanes: Sequence[LaneLoad], *, more_workers: int = MORE_WORKERS) -> tuple[Option, ...]:
    """The options that there are: nothing, and each kind of intervention that could help.

    What fails stops; what fills a lane and may wait, and lanes that are not urgent, make way.
    """
    others = [lane for lane in lanes if not lane.is_urgent and lane.depth and not lane.is_closed]
    names = [lane.lane for lane in others]
    options = [Option("do nothing"), *_stops(lanes), *_function_asides(lanes)]
    if others:
        heaviest = max(others, key=lambda lane: lane.depth).lane
        options += [
            Option(f"pause {heaviest}", closed=frozenset({heaviest})),
            Option(f"divert {' '.join(names)}", closed=frozenset(names)),
            Option(f"limit {heaviest} to 10/second", limits={heaviest: 10.0}),
        ]
    options.append(Option(f"{more_workers} more workers", more_workers=more_workers))
    return tuple({each.name: each for each in options}.values())


def _stops(lanes: Sequence[LaneLoad]) -> Iterator[Option]:
    """Keep from starting what fails: the drain of it, or its lane."""
    failing = [lane for lane in lanes if lane.failing and lane.depth and not lane.is_closed]
    draining = [lane.lane for lane in failing if lane.draining]
    if draining:
        yield Option(f"drain {' '.join(draining)} --stop", stopped=frozenset(draining))
    others = [lane.lane for lane in failing if not lane.draining]
    if others:
        yield Option(f"pause {' '.join(others)}", closed=frozenset(others))


def _function_asides(lanes: Sequence[LaneLoad]) -> Iterator[Option]:
    """Put the function aside of which most jobs wait in one queue, if that is no lane as a whole."""
    jobs: dict[tuple[str, str], float] = {}
    for lane in lanes:
        for function, share in lane.movable.items():
            place = lane_of(lane.lane).queue, function
            jobs[place] = jobs.get(place, 0.0) + share * (0.0 if lane.is_closed else lane.depth - lane.draining)
    queue, function = max(jobs, key=lambda place: jobs[place], default=("", ""))
    of_queue = [lane for lane in lanes if lane_of(lane.lane).queue == queue and lane.movable.get(function)]
    fewest = LEAST_SHARE * sum(lane.depth for lane in of_queue)
    is_part = any(lane.is_urgent or lane.movable[function] < 1 for lane in of_queue)
    if is_part and jobs[queue, function] >= max(fewest, 1.0):
        taken = {lane.lane: lane.movable[function] for lane in of_queue}
        name = f"divert {function.rpartition('.')[2]} of {queue}"
        yield Option(name, taken=taken, command=("divert", queue, "--function", function))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the plan begins with.

    Attributes:
        at: When it was read (server's clock, UTC).
        lanes: The lanes, in the order in which workers serve them.
        pace: Jobs that all workers do a second.
        is_pace_now: It is what they do now; else the most that they did in the last hour.
        workers: Workers that serve these lanes.
        failing: The work of which too many jobs fail.
        failing_pace: Attempts among the pace that fail a second.
        unmeasured: Lanes of which it is not known how many jobs arrive: stock workers serve them.
        late: Who waits longer than the policy tolerates, or may do so.
    """

    at: datetime
    lanes: tuple[LaneLoad, ...]
    pace: float
    is_pace_now: bool
    workers: int
    failing: tuple[FailingWork, ...] = ()
    failing_pace: float = 0.0
    unmeasured: tuple[str, ...] = ()
    late: tuple[Late, ...] = ()


def lanes_to_look_at(status: Status) -> list[str]:
    """The lanes of which it should be told by which functions they are filled."""
    fullest = sorted(status.lanes, key=lambda lane: -lane.waiting)[:LANES_LOOKED_AT]
    return [lane.lane for lane in fullest if lane.waiting]


def read_outlook(
    status: Status,
    samples: Mapping[str, Sequence[Sample]],
    policy: Policy,
    looks: Mapping[str, FunctionMix] | None = None,
) -> Outlook:
    """How the lanes of `status` are now.

    `samples` of them reach back by `PACE_LOOK_BACK`; `looks` tell what waits there, by function.
    """
    paces = {lane: paces_of(each) for lane, each in samples.items()}
    now = _pace_now(status, paces)
    is_busy = any(lane.waiting or _flowing(lane) for lane in status.lanes if lane.pause is None)
    is_pace_now = bool(is_busy and now)
    # what has just begun is in no two samples yet
    pace = now if is_pace_now else max(_best_pace(paces), now)
    workers = max((lane.workers + lane.stock_workers for lane in status.lanes), default=0)
    failing = failing_work(status, policy)
    return Outlook(
        at=status.at,
        lanes=_Reader(status, policy, paces, looks or {}, failing, pace / workers if workers else 0.0).loads(),
        pace=pace,
        is_pace_now=is_pace_now,
        workers=workers,
        failing=failing,
        failing_pace=min(sum(lane.outcomes.failing or 0.0 for lane in status.lanes), pace),
        unmeasured=tuple(lane.lane for lane in status.lanes if lane.stock_workers and lane.waiting),
        late=tuple(late for lane in status.lanes for late in lane.late),
    )


def _under(lane: LaneLoad, option: Option) -> LaneLoad:
    """The lane once `option` is done."""
    stopped = lane.draining if lane.lane in option.stopped else 0.0
    share = option.taken.get(lane.lane, 0.0)
    aside = stopped + share * (lane.depth - lane.draining)
    # what arrives in a lane that was put aside as a whole stays behind what is in its backlog
    is_whole = stopped > _NOTHING and lane.depth - stopped <= _NOTHING
    return replace(
        lane,
        depth=lane.depth - aside,
        aside=lane.aside + aside,
        draining=lane.draining - stopped,
        arrivals=lane.arrivals * (1 - share),
        is_closed=lane.is_closed or is_whole or lane.lane in option.closed,
        limit=option.limits.get(lane.lane, None if stopped else lane.limit),
    )


def _phases(lanes: Sequence[LaneLoad], pace: float) -> Iterator[Phase]:
    depths = {lane.lane: lane.depth for lane in lanes}
    now = 0.0
    for _ in range(MOST_STEPS):
        served = _served(lanes, depths, pace)
        falls = {
            lane.lane: served[lane.lane] - lane.arrivals
            for lane in lanes
            if not lane.is_closed and depths[lane.lane] > _NOTHING
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


def _served(lanes: Sequence[LaneLoad], depths: Mapping[str, float], pace: float) -> dict[str, float]:
    """How the pace is shared: the first lane takes what it can use, the next what is left."""
    left, served = pace, {}
    for lane in lanes:
        wanted = left if depths[lane.lane] > _NOTHING else min(lane.arrivals, left)
        if lane.limit is not None:
            wanted = min(wanted, lane.limit)
        served[lane.lane] = 0.0 if lane.is_closed else wanted
        left -= served[lane.lane]
    return served


def _urgent_in(lanes: Sequence[LaneLoad], phases: Sequence[Phase], slow: str) -> tuple[float | None, str]:
    """When all urgent work is well, or why never."""
    urgent = [lane for lane in lanes if lane.is_urgent and lane.has_work]
    if any(lane.is_closed for lane in urgent):
        return None, HELD
    if any(lane.is_urgent_failing for lane in urgent):
        return None, FAILS
    found = [_inside_in(lane, phases) for lane in urgent]
    if any(each is None for each in found):
        return None, slow
    return max((each for each in found if each is not None), default=0.0), ""


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


def _gone_in(lanes: Sequence[LaneLoad], phases: Sequence[Phase], left: float, slow: str) -> tuple[float | None, str]:
    """When the open lanes are empty and what was in them is done, or why never."""
    last, open_lanes = phases[-1], [lane for lane in lanes if not lane.is_closed]
    if any(lane.failing and lane.has_work for lane in open_lanes):
        return None, FAILS
    if any(last.depths[lane.lane] > _NOTHING for lane in open_lanes):
        return None, slow
    if left > _NOTHING and not any(lane.depth > _NOTHING for lane in open_lanes):
        return None, HELD
    return last.since, ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns what was read into lanes as the model sees them."""

    status: Status
    policy: Policy
    paces: Mapping[str, Sequence[Pace]]
    looks: Mapping[str, FunctionMix]
    failing: Sequence[FailingWork]
    per_worker: float

    def loads(self) -> tuple[LaneLoad, ...]:
        """All lanes, those that are served first in front."""
        kinds = kinds_of(self.policy, [lane.queue for lane in self.status.lanes])
        lanes = sorted(self.status.lanes, key=lambda lane: PRIORITIES.index(self.policy.served_as(lane.lane)))
        tolerances = _tolerances(kinds)
        urgent = self._urgent(lanes, tolerances)
        return tuple(
            self._load(lane, tolerances.get(lane.lane, TOLERANCE), kinds, is_urgent=lane.lane in urgent)
            for lane in lanes
        )

    def _urgent(self, lanes: Sequence[LaneStatus], tolerances: Mapping[str, timedelta]) -> set[str]:
        """Lanes that are served as a high priority, if they have work; else those whose work may wait least."""
        alive = [lane for lane in lanes if lane.waiting or lane.backlog or lane.arrivals]
        high = {lane.lane for lane in alive if self.policy.served_as(lane.lane) in _URGENT}
        if high or not alive:
            return high
        least = min(tolerances.get(lane.lane, TOLERANCE) for lane in alive)
        return {lane.lane for lane in alive if tolerances.get(lane.lane, TOLERANCE) == least}

    def _load(self, lane: LaneStatus, tolerance: timedelta, kinds: Sequence[Workload], *, is_urgent: bool) -> LaneLoad:
        flowing = _flowing(lane)
        share = self._share_failing(lane)
        return LaneLoad(
            lane=lane.lane,
            depth=float(lane.waiting + flowing),
            oldest=_age(lane, self.status.at, has_flow=bool(flowing)),
            arrivals=_arrivals(lane, self.paces.get(lane.lane, ()), self.status.at),
            tolerance=tolerance.total_seconds(),
            is_urgent=is_urgent,
            is_closed=lane.pause is not None or self.status.is_suspended or _is_put_aside(lane),
            limit=self._limit(lane),
            draining=float(sum(each.backlog for each in lane.diverts if each.drain and not each.is_limit)),
            aside=float(lane.backlog - flowing),
            failing=share,
            is_urgent_failing=self._is_urgent_failing(lane, tolerance, kinds, is_lane=share > 0),
            movable=self._movable(lane, tolerance),
        )

    def _limit(self, lane: LaneStatus) -> float | None:
        """At most how many of its jobs start a second, where all of them are in backlogs that flow."""
        rates = [_rate(each, self.per_worker) for each in lane.diverts if _flows(each)]
        known = [each for each in rates if each is not None]
        return sum(known) if known and len(known) == len(rates) and not lane.waiting else None

    def _share_failing(self, lane: LaneStatus) -> float:
        return max((each.outcomes.share_failed for each in self.failing if lane.lane in each.lanes), default=0.0)

    def _is_urgent_failing(
        self, lane: LaneStatus, tolerance: timedelta, kinds: Sequence[Workload], *, is_lane: bool
    ) -> bool:
        """Whether the kinds fail that may wait least; where nothing tells of them, whether the lane does."""
        urgent = {kind.noun for kind in kinds if lane.lane in kind.lanes and kind.tolerance <= tolerance}
        told = [each.outcomes for each in self.status.labels
                if each.label in urgent and each.outcomes.ended_lately >= FEWEST_ENDED]  # fmt: skip
        if not told:
            return is_lane
        return any(is_failing(each, self.policy.defaults.share_that_fails) for each in told)

    def _movable(self, lane: LaneStatus, tolerance: timedelta) -> dict[str, float]:
        found = self.looks.get(lane.lane)
        if found is None:
            return {}
        is_alone = len(found.functions) == 1
        return {name: share for name, share in found.shares.items()
                if name and self._may_wait(lane.queue, name, tolerance, is_alone=is_alone)}  # fmt: skip

    def _may_wait(self, queue: str, function: str, tolerance: timedelta, *, is_alone: bool) -> bool:
        """Whether jobs of `function` may wait for others of a lane that tolerates `tolerance`.

        Where the policy says nothing of them, they may if there are others.
        """
        if self.policy.rule_for("shed", queue=queue, function=function):
            return True
        found = self.policy.rule_for("tolerance", queue=queue, function=function)
        return not is_alone if found is None else (found[1].tolerance or TOLERANCE) > tolerance


def _tolerances(kinds: Iterable[Workload]) -> dict[str, timedelta]:
    """By lane, how long that kind of its work may wait that may wait least."""
    found: dict[str, timedelta] = {}
    for kind in kinds:
        for lane in kind.lanes:
            found[lane] = min(kind.tolerance, found.get(lane, kind.tolerance))
    return found


def _flows(divert: Divert) -> bool:
    """Whether what it put aside starts, at some rate."""
    return divert.drain is not None or divert.is_limit or divert.is_restoring


def _flowing(lane: LaneStatus) -> int:
    return sum(each.backlog for each in lane.diverts if _flows(each))


def _is_put_aside(lane: LaneStatus) -> bool:
    return any(each.selection.is_whole and not _flows(each) for each in lane.diverts)


def _rate(divert: Divert, per_worker: float) -> float | None:
    """How many jobs start from its backlog a second, at most; of so many at once each takes a worker."""
    rate = divert.drain.rate.per_second if divert.drain else None
    at_once = divert.most * per_worker if divert.most else None
    return min((each for each in (rate, at_once) if each is not None), default=None)


def _age(lane: LaneStatus, at: datetime, *, has_flow: bool) -> float:
    oldest = [time for time in (lane.oldest, lane.oldest_in_backlog if has_flow else None) if time]
    return max((at - min(oldest)).total_seconds(), 0.0) if oldest else 0.0


def _arrivals(lane: LaneStatus, paces: Sequence[Pace], at: datetime) -> float:
    """Jobs that arrive a second: those of the last minute, unless these were a burst that is over."""
    lately = [each for each in paces if at - each.at <= LATELY]
    if not lately:
        return lane.arrivals or 0.0
    minute = [each for each in paces if at - each.at <= _MINUTE]
    return min(_mean(minute), _mean(_without_jump(lately)))


def _without_jump(paces: Sequence[Pace]) -> Sequence[Pace]:
    """Without the time in which many jobs arrived at once, if it was one."""
    most = max(paces, key=lambda each: each.arrivals)
    rest = [each for each in paces if each is not most]
    return rest if rest and most.arrivals > 5 * _mean(rest) + 5 else paces


def _mean(paces: Sequence[Pace]) -> float:
    return sum(each.arrivals * each.seconds for each in paces) / sum(each.seconds for each in paces)


def _pace_now(status: Status, paces: Mapping[str, Sequence[Pace]]) -> float:
    """Jobs that all workers end a second: in the last seconds if these tell enough, else in the minute."""
    minute = sum(lane.completions or 0.0 for lane in status.lanes)
    lately = [[each for each in found if status.at - each.at <= LATELY] for found in paces.values()]
    ended = sum(each.completions * each.seconds for found in lately for each in found)
    seconds = max((sum(each.seconds for each in found) for found in lately), default=0.0)
    ours = ended / seconds if ended >= ENOUGH_ENDED else minute
    # stock workers count nothing: what RQ keeps of the last seconds tells
    stock = [lane.outcomes for lane in status.lanes if not lane.outcomes.is_counted]
    return ours + sum((each.well or 0.0) + (each.failing or 0.0) for each in stock)


def _best_pace(paces: Mapping[str, Sequence[Pace]]) -> float:
    """The most jobs a second that all lanes together did in any minute; 0 when none did."""
    ended: dict[datetime, float] = {}
    for each in paces.values():
        for pace in each:
            minute = pace.at.replace(second=0, microsecond=0)
            ended[minute] = ended.get(minute, 0.0) + pace.completions * pace.seconds
    return max(ended.values(), default=0.0) / 60
