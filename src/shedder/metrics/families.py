"""The metrics: what each is called, what it says, and its values, told from one reading of Redis.

Labels are queues, lanes, kinds of work of the policy, limits, flags and verbs: names that people
chose, of which there are few. Never a job, a worker, a function, a tenant, a person or a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shedder.engine.workers import WorkerSeen
from shedder.incident.records import Incident
from shedder.lanes import DEFAULT_PRIORITY, PRIORITIES, Lane, lane_of
from shedder.policy.lateness import Late
from shedder.policy.model import Policy
from shedder.policy.workload import kinds_of
from shedder.settings.flags import FlagState
from shedder.settings.limits import LimitState
from shedder.status.readings import LaneStatus, Status

GAUGE, COUNTER = "gauge", "counter"

SEVERITIES = ("1", "2", "3", "4", "5")
IN_TIME, TOO_LATE = "in_tolerance", "out_of_tolerance"
"""What the counters of a label are called that say how its jobs started."""

ALWAYS_TOLD = ("queued", "failed")
"""The states of jobs that are told of each queue also where there is none."""

Rows = Iterable[tuple[tuple[str, ...], float]]
"""The values of a metric: labels, value."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """What Redis said at one moment.

    Attributes:
        status: How all lanes are.
        policy: The policy in force.
        jobs: By queue, how many jobs of all its lanes are in each state.
        late: By lane, who waits longer than the policy tolerates, or may do so.
        workers: All live workers.
        counts: Counters by lane, such as `mail:started`.
        outcomes: Counters by lane and by label, such as `label:receipts:ended`.
        events: Counters of events, by verb and by who: `pause:person`.
        flags: All flags.
        limits: All limits.
        incidents: The incidents that are not resolved; None when one of them cannot be read.
        server: What serves, such as `valkey 9.1.0`.
    """

    status: Status
    policy: Policy = field(default_factory=Policy)
    jobs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    late: Mapping[str, tuple[Late, ...]] = field(default_factory=dict)
    workers: Sequence[WorkerSeen] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    flags: Sequence[FlagState] = ()
    limits: Sequence[LimitState] = ()
    incidents: Sequence[Incident] | None = ()
    server: str = ""

    @property
    def at(self) -> datetime:
        """When it was read (server's clock, UTC)."""
        return self.status.at


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: Its name in Prometheus; a counter's ends with `_total`.
        kind: `GAUGE` or `COUNTER`.
        labels: The names of its labels.
        says: What it says, for its help and the reference.
        rows: Its values in a reading.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    says: str
    rows: Callable[[Scraped], Rows]


# jobs and workers as RQ has them


def _jobs(found: Scraped) -> Rows:
    for queue, states in found.jobs.items():
        for state, number in states.items():
            if number or state in ALWAYS_TOLD:
                yield (queue, state), number


def _workers(found: Scraped) -> Rows:
    states = Counter({"busy": 0, "idle": 0})
    states.update(each.state or "unknown" for each in found.workers)
    return (((state,), number) for state, number in states.items())


def _serving(found: Scraped) -> Rows:
    serving = Counter(dict.fromkeys(found.jobs, 0))
    for each in found.workers:
        serving.update({lane_of(lane).queue for lane in each.lanes} & found.jobs.keys())
    return (((queue,), number) for queue, number in serving.items())


# lanes


def _of_lanes(value: Callable[[LaneStatus, Scraped], float | None]) -> Callable[[Scraped], Rows]:
    def rows(found: Scraped) -> Rows:
        for each in found.status.lanes:
            told = value(each, found)
            if told is not None:
                yield (each.queue, each.lane), told

    return rows


def _age(since: datetime | None, at: datetime) -> float:
    return round(max((at - since).total_seconds(), 0.0), 3) if since else 0.0


def _is_told(lane: LaneStatus) -> bool:
    """Whether a lane is told of at all: of an empty one a zero would carry nothing, but for the queue's own."""
    return bool(lane.waiting) or lane.priority == DEFAULT_PRIORITY


def _waiting(lane: LaneStatus, _: Scraped) -> float | None:
    return lane.waiting if _is_told(lane) else None


def _running(lane: LaneStatus, _: Scraped) -> float | None:
    return lane.running or None


def _backlog(lane: LaneStatus, _: Scraped) -> float | None:
    return lane.backlog or None


def _oldest(lane: LaneStatus, found: Scraped) -> float | None:
    return _age(lane.oldest, found.at) if _is_told(lane) else None


def _oldest_in_backlog(lane: LaneStatus, found: Scraped) -> float | None:
    return _age(lane.oldest_in_backlog, found.at) if lane.backlog else None


def _counters(found: Scraped) -> Iterator[Lane]:
    """All lanes that may have counters: of all queues, so that none vanishes while a lane is empty."""
    queues = dict.fromkeys([*(each.queue for each in found.status.lanes), *found.jobs])
    return (Lane(queue, priority) for queue in queues for priority in PRIORITIES)


def _counted(suffix: str) -> Callable[[Scraped], Rows]:
    """The counters of lanes that workers of ours keep; a lane where they counted nothing has none."""

    def rows(found: Scraped) -> Rows:
        for lane in _counters(found):
            number = found.counts.get(f"{lane.name}:{suffix}")
            if number is not None:
                yield (lane.queue, lane.name), number

    return rows


def _ended(found: Scraped) -> Rows:
    for lane in _counters(found):
        ended = found.counts.get(f"{lane.name}:ended")
        failed = found.outcomes.get(f"lane:{lane.name}:failed", 0)
        if ended is not None or failed:
            yield (lane.queue, lane.name, "well"), max((ended or 0) - failed, 0)
            if failed:
                yield (lane.queue, lane.name, "failed"), failed


# work


def _labels(policy: Policy) -> list[str]:
    return list(dict.fromkeys(rule.label for rule in policy.rules if rule.label))


def _started_of_work(*where: str) -> Callable[[Scraped], Rows]:
    def rows(found: Scraped) -> Rows:
        for label in _labels(found.policy):
            names = {name: f"label:{label}:{name}" for name in (IN_TIME, TOO_LATE)}
            if any(name in found.outcomes for name in names.values()):
                yield (label,), sum(found.outcomes.get(names[name], 0) for name in where)

    return rows


def _ended_of_work(found: Scraped) -> Rows:
    for label in _labels(found.policy):
        ended = found.outcomes.get(f"label:{label}:ended")
        failed = found.outcomes.get(f"label:{label}:failed", 0)
        if ended is not None or failed:
            yield (label, "well"), max((ended or 0) - failed, 0)
            yield (label, "failed"), failed


def _judged(policy: Policy) -> list[str]:
    """The labels of work of which the policy says how long it may wait."""
    return list(dict.fromkeys(rule.label for rule in policy.rules if rule.label and rule.tolerance is not None))


def _late(found: Scraped) -> Rows:
    late = Counter(dict.fromkeys(_judged(found.policy), 0))
    for each in (each for lane in found.late.values() for each in lane):
        if each.is_certain and each.noun in late:
            late[each.noun] += each.count
    return (((work,), number) for work, number in late.items())


def _doubtful(found: Scraped) -> Rows:
    nouns = {each.noun for lane in found.late.values() for each in lane if not each.is_certain}
    return (((work,), float(work in nouns)) for work in _judged(found.policy))


def _oldest_of_work(found: Scraped) -> Rows:
    """Of work that is late its oldest late job, of work that has lanes of its own the oldest of these."""
    ages: dict[str, float] = {}
    alone = {lane: kind.noun for kind in kinds_of(found.policy, found.jobs) if kind.rule is None for lane in kind.lanes}
    labels = set(_labels(found.policy))
    for lane in found.status.lanes:
        told = [(each.noun, each.oldest) for each in found.late.get(lane.lane, ()) if each.is_certain]
        if lane.lane in alone:
            told += [(alone[lane.lane], since) for since in (lane.oldest, lane.oldest_in_backlog) if since]
            ages.setdefault(alone[lane.lane], 0.0)
        for noun, since in told:
            ages[noun] = max(ages.get(noun, 0.0), _age(since, found.at))
    return (((work,), age) for work, age in ages.items() if work in labels)


# controls


@dataclass(frozen=True, slots=True)
class _Control:
    kind: str
    queue: str
    since: datetime
    until: datetime | None


def _controls(found: Scraped) -> Iterator[_Control]:
    for lane in found.status.lanes:
        if lane.pause is not None:
            yield _Control("pause", lane.queue, lane.pause.since, lane.pause.until)
        for each in lane.diverts:
            kind = "limit" if each.is_limit else "retry" if each.is_retry else "divert"
            yield _Control(kind, lane.queue, each.since, each.until)
            if each.drain is not None and not each.is_limit:
                yield _Control("drain", lane.queue, each.drain.since, None)


def _since(found: Scraped) -> Rows:
    first: dict[tuple[str, str], datetime] = {}
    for each in _controls(found):
        key = each.kind, each.queue
        first[key] = min(first.get(key, each.since), each.since)
    return ((key, since.timestamp()) for key, since in first.items())


def _until(found: Scraped) -> Rows:
    """When the last of the controls ends; none where one of them has no end."""
    last: dict[tuple[str, str], float] = {}
    for each in _controls(found):
        key = each.kind, each.queue
        last[key] = max(last.get(key, 0.0), each.until.timestamp() if each.until else float("inf"))
    return ((key, until) for key, until in last.items() if until != float("inf"))


def _or_zero(number: float, lane: LaneStatus) -> float | None:
    """`number`; 0 is told only of the lane that every queue has, and only where all of its records can be read."""
    is_known = lane.priority == DEFAULT_PRIORITY and not lane.unreadable
    return number if number or is_known else None


def _is_paused(lane: LaneStatus, _: Scraped) -> float | None:
    return _or_zero(float(lane.pause is not None), lane)


def _is_diverted(lane: LaneStatus, _: Scraped) -> float | None:
    return _or_zero(float(any(not each.is_limit and not each.is_retry for each in lane.diverts)), lane)


def _retry_left(lane: LaneStatus, _: Scraped) -> float | None:
    retries = [each.backlog for each in lane.diverts if each.is_retry]
    return sum(retries) if retries else None


def _retry_failed(lane: LaneStatus, _: Scraped) -> float | None:
    retries = [each.drain.failed for each in lane.diverts if each.is_retry and each.drain]
    return sum(retries) if retries else None


def _drains(value: Callable[[LaneStatus], float]) -> Callable[[Scraped], Rows]:
    def rows(found: Scraped) -> Rows:
        for lane in found.status.lanes:
            if any(each.drain and not each.is_limit for each in lane.diverts):
                yield (lane.queue, lane.lane), value(lane)

    return rows


def _drained(lane: LaneStatus, found: Scraped) -> float | None:
    # 0 at first, else a drain of which nothing is ever released would have no rate to be slower than its own
    is_drained = any(each.drain and not each.is_limit for each in lane.diverts)
    return found.counts.get(f"{lane.lane}:drained", 0 if is_drained else None)


def _drain_rate(lane: LaneStatus) -> float:
    return sum(each.drain.rate.per_second for each in lane.diverts if each.drain and not each.is_limit)


def _drain_left(lane: LaneStatus) -> float:
    return sum(each.backlog for each in lane.diverts if each.drain and not each.is_limit)


def _is_halted(lane: LaneStatus, _: Scraped) -> float | None:
    return 1.0 if any(each.halted for each in lane.diverts) else None


# settings, incidents, events


def _limit_rates(found: Scraped) -> Rows:
    # a key of a limit may be a tenant or an address, and there may be many
    return (((each.name,), each.rate.per_second) for each in found.limits if each.rate and not each.key)


def _refused(found: Scraped) -> Rows:
    for each in found.limits:
        if not each.key:
            yield (each.name, "shadow" if each.is_shadow else "enforced"), each.refusals


def _flags(found: Scraped) -> Rows:
    return (((each.name,), each.percent / 100) for each in found.flags)


def _open_incidents(found: Scraped) -> Rows:
    severities = Counter(dict.fromkeys(SEVERITIES, 0))
    if found.incidents is None:
        return ()
    severities.update(str(each.severity) for each in found.incidents)
    return (((severity,), number) for severity, number in severities.items())


def _next_update(found: Scraped) -> Rows:
    rules = found.policy.incident
    due = [it.next_update_at or it.opened_at + rules.update_every_for(it.severity) for it in found.incidents or ()]
    return [((), min(due).timestamp())] if due else []


def _events(found: Scraped) -> Rows:
    for name, number in found.events.items():
        verb, _, actor = name.rpartition(":")
        yield (verb, actor), number


def _unreadable(found: Scraped) -> Rows:
    controls = sum(len(lane.unreadable) for lane in found.status.lanes)
    yield (), controls + bool(found.status.policy_error) + (found.incidents is None)


def _memory(found: Scraped) -> Rows:
    used = found.status.memory_used
    return [] if used is None else [((), used)]


_LANE = ("queue", "lane")

FAMILIES = (
    Family("rq_jobs", GAUGE, ("queue", "status"), "Jobs of a queue, of all its lanes together, in each state of RQ; "
           "those in a backlog are queued. A state without jobs is told for queued and failed.", _jobs),
    Family("rq_workers", GAUGE, ("state",), "Live workers in each state, ours and stock ones.", _workers),
    Family("rq_workers_serving", GAUGE, ("queue",), "Live workers that serve a queue, or a lane of it.", _serving),
    Family("shedder_lane_waiting_jobs", GAUGE, _LANE, "Jobs that wait in a lane; 0 is told of a queue's own lane only.",
           _of_lanes(_waiting)),
    Family("shedder_lane_backlog_jobs", GAUGE, _LANE, "Jobs in the backlogs of a lane, while there are any.",
           _of_lanes(_backlog)),
    Family("shedder_lane_running_jobs", GAUGE, _LANE, "Jobs of a lane that run, while there are any.",
           _of_lanes(_running)),
    Family("shedder_lane_oldest_age_seconds", GAUGE, _LANE, "For how long the oldest job that waits in a lane has "
           "waited; 0 when none waits, told of a queue's own lane only.", _of_lanes(_oldest)),
    Family("shedder_lane_backlog_oldest_age_seconds", GAUGE, _LANE, "The same of its backlogs, where there are any.",
           _of_lanes(_oldest_in_backlog)),
    Family("shedder_jobs_enqueued_total", COUNTER, _LANE, "Jobs that arrived in a lane, by any producer; those "
           "that come back count again: retried, requeued, replayed. Scheduled jobs, and those that RQ's own rate "
           "limit holds back, arrive when they are due. Told once a second by workers of shedder, and only as far as "
           "they start the lane's jobs: one that was deleted, or taken by a stock worker, within that second is not.",
           _counted("arrived")),
    Family("shedder_jobs_started_total", COUNTER, _LANE, "Jobs of a lane that workers of shedder started.",
           _counted("started")),
    Family("shedder_jobs_ended_total", COUNTER, (*_LANE, "outcome"), "Jobs of a lane that workers of shedder ended, "
           "well or failed; each failed attempt counts. Those that failed are told from the first on.", _ended),
    Family("shedder_work_started_total", COUNTER, ("work",), "Jobs of a kind of work that workers of shedder "
           "started; of work with a label and a tolerance in the policy.", _started_of_work(IN_TIME, TOO_LATE)),
    Family("shedder_work_in_tolerance_total", COUNTER, ("work",), "Those of them that had waited no longer than "
           "the policy tolerates: the service level is the ratio of the two.", _started_of_work(IN_TIME)),
    Family("shedder_work_ended_total", COUNTER, ("work", "outcome"), "Jobs of a kind of work that workers of shedder "
           "ended, well or failed.", _ended_of_work),
    Family("shedder_work_late_jobs", GAUGE, ("work",), "Jobs of a kind of work that wait longer than the policy "
           "tolerates, about; where several kinds share a lane, told from some of its jobs.", _late),
    Family("shedder_work_may_be_late", GAUGE, ("work",), "1 where jobs may be late that nobody has looked at, "
           "else 0.", _doubtful),
    Family("shedder_work_oldest_age_seconds", GAUGE, ("work",), "For how long the oldest job of a kind of work has "
           "waited: of work in lanes of its own always, of other work where it is late.", _oldest_of_work),
    Family("shedder_paused", GAUGE, _LANE, "1 where a lane is paused; 0 where the queue's own lane is not.",
           _of_lanes(_is_paused)),
    Family("shedder_diverted", GAUGE, _LANE, "1 where a divert stands on a lane; 0 where none stands on the "
           "queue's own.", _of_lanes(_is_diverted)),
    Family("shedder_control_since_timestamp_seconds", GAUGE, ("kind", "queue"), "Since when a queue has a pause, a "
           "divert, a retry, a drain or a limit on starts; the earliest of its lanes.", _since),
    Family("shedder_control_until_timestamp_seconds", GAUGE, ("kind", "queue"), "When the last of them ends; none "
           "where one stands until somebody ends it.", _until),
    Family("shedder_drain_rate_limit", GAUGE, _LANE, "At most so many jobs a second leave the backlogs of a lane; "
           "while a drain is under way.", _drains(_drain_rate)),
    Family("shedder_drain_left_jobs", GAUGE, _LANE, "Jobs that a drain has still to release; while it is under way.",
           _drains(_drain_left)),
    Family("shedder_drain_halted", GAUGE, _LANE, "1 where a drain was halted because too many of its jobs failed.",
           _of_lanes(_is_halted)),
    Family("shedder_retry_left_jobs", GAUGE, _LANE, "Failed jobs that come back to a lane and have not started; while "
           "a retry stands on it.", _of_lanes(_retry_left)),
    Family("shedder_retry_failed_jobs", GAUGE, _LANE, "Jobs that a retry under way has brought back, and that failed "
           "again.", _of_lanes(_retry_failed)),
    Family("shedder_drained_jobs_total", COUNTER, _LANE, "Jobs of a lane that drains have released.",
           _of_lanes(_drained)),
    Family("shedder_limit_rate", GAUGE, ("limit",), "The rate of a limit that is on, a second; not of single keys.",
           _limit_rates),
    Family("shedder_limit_refused_total", COUNTER, ("limit", "mode"), "Hits that a limit refused, or in shadow would "
           "have refused, all keys together; the mode is that of now.", _refused),
    Family("shedder_flag_degraded_ratio", GAUGE, ("flag",), "How much of a feature is degraded, 0 to 1.", _flags),
    Family("shedder_incident_open", GAUGE, ("severity",), "Incidents that are not resolved.", _open_incidents),
    Family("shedder_incident_next_update_timestamp_seconds", GAUGE, (), "When the next update of an open incident is "
           "due; none when none is.", _next_update),
    Family("shedder_events_total", COUNTER, ("verb", "actor"), "Events of the journal, by people and by shedder "
           "itself.", _events),
    Family("shedder_unreadable_records", GAUGE, (), "Records of pauses, diverts, the policy and open incidents that "
           "are damaged, or of a newer shedder; of what they say nothing is told.", _unreadable),
    Family("shedder_memory_used_ratio", GAUGE, (), "Share of the server's memory limit in use; none without a limit.",
           _memory),
)  # fmt: skip
"""All that is read from Redis; `shedder_up` and the two beside it are the exporter's own."""
