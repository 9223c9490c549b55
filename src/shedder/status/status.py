"""Reads the status of lanes, at a cost that does not depend on how many jobs wait.

It takes four round trips: what exists, how long it is and where the jobs begin that are older than a
tolerance, what is in workers' hands, and what some of the old jobs are. With the last
it also asks how jobs failed that nobody counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shedder.engine import workers
from shedder.engine.jobs import time_of
from shedder.errors import RecordUnreadable
from shedder.lanes import DEFAULT_PRIORITY, PRIORITIES, Lane, lane_of, queues_in, why_refused
from shedder.policy.applied import applied_from
from shedder.policy.lateness import Late, late_as_whole, late_in, looks_at_jobs, looks_at_meta, tolerances_of
from shedder.policy.model import Policy
from shedder.queues import outcomes
from shedder.queues.claims import ClaimSeen, list_claims
from shedder.queues.controls import Pause, StoredDivert, pause_from, readable, readable_on
from shedder.queues.outcomes import OutcomesFound, ask_outcomes, nothing_counted, outcomes_from
from shedder.settings.flags import FlagState, ask_flags, flags_from
from shedder.settings.limits import LimitState, ask_limits, limits_from
from shedder.status import overdue, readings
from shedder.status.findings import by_trouble, lane_findings, status_warnings
from shedder.status.looks import (
    Borders,
    LaneLook,
    ToLookAt,
    all_borders,
    all_looks,
    ask_borders,
    ask_jobs,
    read_looks,
    to_look_at,
)
from shedder.store.codec import text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Store

if TYPE_CHECKING:
    from redis.client import Pipeline


def read_status(
    store: Store, lanes: Sequence[Lane] | None = None, *, policy: Policy | None = None, is_brief: bool = False
) -> readings.Status:
    """How `lanes` are, or all lanes that have jobs, workers or controls, and all queues.

    By `policy`, else the policy in force, it is judged what is late. With `is_brief`, it says only which jobs lanes
    hold, how old they are, and what stands on the lanes: nothing of past, failed, stale and overdue jobs, of workers,
    and no warnings.
    """
    server = _read_server(store)
    server = server if policy is None else replace(server, policy=policy)
    chosen = _known_lanes(store.keys, server) if lanes is None else list(dict.fromkeys(lanes))
    names = [lane.name for lane in chosen]
    controls = {name: _controls(server, name) for name in names}
    looks = _to_look_at(store.keys, server.policy, {name: each.orders for name, each in controls.items()})
    found, counted, borders, due, registered = _read_lanes(store, controls, looks, server.at, is_brief=is_brief)
    uncounted = [lane for lane, each in found.items() if each.failures.tell_more_than(counted.of_lane(lane))]
    known = workers.registered_from(() if is_brief else names, registered)
    around = _read_around(store, found, known, uncounted, looks, borders, due=due, at=server.at)
    around = replace(around, is_brief=is_brief)
    statuses = [_lane_status(lane, server, controls[lane.name], found[lane.name], around, counted) for lane in chosen]
    status = readings.Status(
        at=server.at,
        lanes=by_trouble([each for each in statuses if lanes is not None or _is_worth(each)]),
        memory_used=memory_share(server.memory),
        is_suspended=server.is_suspended,
        flags=server.flags,
        limits=server.limits,
        eviction=str(server.memory.get("maxmemory_policy", "noeviction")),
        policy_error=server.policy_error,
        labels=_labels(server, found.values(), counted),
        fails_at=server.policy.defaults.share_that_fails,
        refused=tuple(sorted(name for name in _names(store.keys, server) if why_refused(name))),
    )
    return status if is_brief else replace(status, warnings=status_warnings(status))


def read_late(
    store: Store, lanes: Sequence[str], *, policy: Policy, at: datetime, work: float | None = None
) -> dict[str, tuple[Late, ...]]:
    """By lane, who is late by `policy` at the server's time `at`, or may be, in looks that may cost `work`."""
    orders, _ = readable_on(store, lanes)
    seen = read_looks(
        store, _to_look_at(store.keys, policy, {lane: orders.get(lane, ()) for lane in lanes}), at, work=work
    )
    return {lane: _late(policy, lane_of(lane), seen.get(lane), at) for lane in lanes}


def memory_share(memory: Mapping[str, Any]) -> float | None:
    """Share of the memory limit in use, 0 to 1 (and a bit), by the server's own report.

    None without a limit.
    """
    limit = int(memory.get("maxmemory", 0))
    return int(memory.get("used_memory", 0)) / limit if limit else None


@dataclass(frozen=True, slots=True)
class _Server:
    at: datetime
    queues: Sequence[bytes]
    pauses: Mapping[str, bytes]
    diverts: Mapping[str, bytes]
    memory: Mapping[str, Any]
    is_suspended: bool
    flags: tuple[FlagState, ...]
    limits: tuple[LimitState, ...]
    policy: Policy
    policy_error: str


@dataclass(frozen=True, slots=True)
class _Controls:
    pause: Pause | None
    orders: tuple[StoredDivert, ...]
    unreadable: tuple[RecordUnreadable, ...]


@dataclass(frozen=True, slots=True)
class _Around:
    """What is around the lanes: jobs in workers' hands, workers, when jobs were enqueued, old jobs, overdue ones.

    Of the lanes where jobs failed that nobody counted, it has the exception of most of them. Where it `is_brief`,
    workers and overdue jobs were not asked for.
    """

    claims: Sequence[ClaimSeen]
    workers: Sequence[workers.WorkerSeen]
    enqueued: Mapping[str, datetime | None]
    looks: Mapping[str, LaneLook]
    exceptions: Mapping[str, str]
    overdue: Mapping[str, overdue.Overdue]
    is_brief: bool = False

    def oldest(self, lists: Iterable[readings.Lists], borders: Iterable[Borders] = ()) -> datetime | None:
        times = [self.enqueued[job] for each in lists for job in each.heads]
        times += [each.oldest for each in borders]
        return min((time for time in times if time is not None), default=None)

    def serving(self, lane: str, *, is_stock: bool) -> int:
        return sum(lane in each.lanes and each.is_stock == is_stock for each in self.workers)


def _read_server(store: Store) -> _Server:
    def ask_server(ask: Pipeline) -> None:
        ask.time()
        ask.smembers(store.keys.engine.queues)
        ask.hgetall(store.keys.pauses)
        ask.hgetall(store.keys.diverts)
        ask.info("memory")
        ask.exists(store.keys.engine.suspended)
        ask.hget(store.keys.policy, "current")
        ask_flags(ask, store.keys)
        ask_limits(ask, store.keys)

    (seconds, microseconds), queues, pauses, diverts, memory, suspended, policy, *more = store.read(ask_server)
    at_ms = seconds * 1000 + microseconds // 1000
    settings = iter(more)
    try:
        in_force, policy_error = applied_from(policy).policy, ""
    except RecordUnreadable as error:
        in_force, policy_error = Policy(), str(error)
    return _Server(
        at=time_from_ms(at_ms),
        queues=queues,
        pauses={text_of(lane): record for lane, record in pauses.items()},
        diverts={text_of(lane): record for lane, record in diverts.items()},
        memory=memory,
        is_suspended=bool(suspended),
        flags=tuple(flag for flag in flags_from(settings, at_ms) if flag.percent),
        limits=tuple(limit for limit in limits_from(settings, at_ms) if limit.setting),
        policy=in_force,
        policy_error=policy_error,
    )


def _names(keys: Keys, server: _Server) -> set[str]:
    return {*workers.queue_names(keys, server.queues), *server.pauses, *server.diverts}


def _known_lanes(keys: Keys, server: _Server) -> list[Lane]:
    names = _names(keys, server)
    return [Lane(queue, priority) for queue in queues_in(names) for priority in PRIORITIES]


def _controls(server: _Server, lane: str) -> _Controls:
    pause: Pause | None = None
    unreadable: tuple[RecordUnreadable, ...] = ()
    try:
        pause = pause_from(lane, server.pauses.get(lane))
    except RecordUnreadable as error:
        unreadable = (error,)
    orders, more = readable({lane: server.diverts.get(lane)})
    if pause is not None and not pause.holds_at(server.at):
        pause = None
    return _Controls(pause, tuple(orders.get(lane, ())), (*unreadable, *more))


def _to_look_at(keys: Keys, policy: Policy, orders: Mapping[str, Sequence[StoredDivert]]) -> dict[str, ToLookAt]:
    """The lanes of which the policy says how long a job may wait."""
    queues = {name: lane_of(name).queue for name in orders}
    # a policy may have a hundred rules, and each queue four lanes
    told = {queue: (tolerances_of(policy, queue), looks_at_jobs(policy, queue)) for queue in {*queues.values()}}
    with_meta = looks_at_meta(policy)
    return {
        name: to_look_at(keys, name, each, tolerances, is_told_by_jobs=is_told_by_jobs, with_meta=with_meta)
        for name, each in orders.items()
        for tolerances, is_told_by_jobs in [told[queues[name]]]
        if tolerances
    }


def _read_lanes(
    store: Store, controls: Mapping[str, _Controls], looks: Mapping[str, ToLookAt], at: datetime, *, is_brief: bool
) -> tuple[
    dict[str, readings.LaneReading], OutcomesFound, dict[str, tuple[Borders, ...]], dict[str, datetime], list[Any]
]:
    """What each lane's lists say, how jobs ended, where old jobs begin, which lanes have overdue ones since when.

    Last the replies to `ask_registered`.
    """
    names = [] if is_brief else list(controls)

    def ask_all(ask: Pipeline) -> None:
        for lane, each in controls.items():
            readings.ask_lane(ask, store.keys, lane, each.orders, at=at, is_brief=is_brief)
        ask_borders(ask, store.keys, looks, at)
        if names:
            ask_outcomes(ask, store.keys, at)
            overdue.ask_first_due(ask, names, at)
            workers.ask_registered(ask, names)

    replies = iter(store.read(ask_all))
    found = {lane: readings.reading_from(replies, len(each.orders), is_brief=is_brief)
             for lane, each in controls.items()}  # fmt: skip
    borders = all_borders(replies, looks)
    ends = outcomes_from(replies, at) if names else nothing_counted(at)
    return found, ends, borders, overdue.first_due_from(names, replies), list(replies)


def _read_around(
    store: Store, found: Mapping[str, readings.LaneReading], registered: workers.Registered, uncounted: Sequence[str],
    looks: Mapping[str, ToLookAt], borders: Mapping[str, tuple[Borders, ...]], *, due: dict[str, datetime],
    at: datetime,
) -> _Around:  # fmt: skip
    claims = store.run(list_claims(store.keys, starting=0))
    heads = [job for each in found.values() for lists in each.lists for job in lists.heads]
    failed = [(lane, job) for lane in uncounted for job in found[lane].failures.last]

    def ask_all(ask: Pipeline) -> None:
        ask_jobs(ask, store.keys, looks, borders, at)
        for job in heads:
            ask.hget(store.keys.engine.jobs + job, "enqueued_at")
        outcomes.ask_exceptions(ask, (job for _, job in failed))
        overdue.ask_overdue(ask, due, at)
        workers.ask_workers(ask, registered)

    replies = iter(store.read(ask_all))
    seen = all_looks(replies, looks, borders)
    enqueued = {job: time_of(next(replies)) for job in heads}
    named = [(lane, outcomes.exception_of(next(replies))) for lane, _ in failed]
    found_in = {lane: outcomes.most_frequent(each for of, each in named if of == lane) for lane in uncounted}
    exceptions = {lane: exception for lane, exception in found_in.items() if exception}
    late = overdue.overdue_from(due, replies)
    return _Around(claims, workers.workers_from(registered, list(replies)), enqueued, seen, exceptions, late)


def _labels(
    server: _Server, found: Iterable[readings.LaneReading], counted: OutcomesFound
) -> tuple[outcomes.LabelOutcomes, ...]:
    lanes = [each.failures for each in found if each.failures.noted]
    noted = [each for lane in lanes for each in lane.noted]
    exceptions = {
        label: outcomes.most_frequent(exception for _, named, exception in noted if named == label)
        for label in dict.fromkeys(rule.label for rule in server.policy.rules if rule.label)
    }
    return tuple(
        outcomes.LabelOutcomes(
            label, outcomes.as_noted(counted.of_label(label, exception=exception), lanes, server.at, label)
        )
        for label, exception in exceptions.items()
    )


def _outcomes(lane: str, found: readings.LaneReading, counted: OutcomesFound, around: _Around) -> outcomes.Outcomes:
    exception = around.exceptions.get(lane) or found.failures.exception()
    # stock workers count neither starts nor ends, and one that has failed a job may be gone
    if lane in around.exceptions or around.serving(lane, is_stock=True):
        return replace(found.failures.stock, exception=exception)
    known = counted.of_lane(lane, exception=exception, kept=found.failures.kept)
    return outcomes.as_noted(known, [found.failures], counted.now.at)


def _lane_status(
    lane: Lane,
    server: _Server,
    controls: _Controls,
    found: readings.LaneReading,
    around: _Around,
    counted: OutcomesFound,
) -> readings.LaneStatus:
    at = server.at
    claimed = [claim.job_id for claim in around.claims if claim.lane == lane.name]
    stock = around.serving(lane.name, is_stock=True)
    own, *aside = around.looks.get(lane.name, LaneLook()).borders or (None,)
    # stock workers count neither starts nor ends
    arrivals, ended = (None, None) if stock else readings.rates_of(at, found)
    status = readings.LaneStatus(
        lane=lane.name,
        queue=lane.queue,
        priority=lane.priority,
        waiting=found.waiting.jobs,
        backlog=found.backlog,
        running=max(found.executions - len(found.executing.intersection(claimed)), 0),
        claimed=len(claimed),
        stale=found.stale,
        late=_late(server.policy, lane, around.looks.get(lane.name), at),
        is_judged=lane.name in around.looks,
        oldest=around.oldest([found.waiting], [own] if own else []),
        oldest_in_backlog=around.oldest(found.lists[1:], aside),
        arrivals=arrivals,
        completions=ended and ended * counted.share_well(lane.name),
        pause=controls.pause,
        diverts=tuple(
            order.counted(backlog=lists.jobs, counts=counts)
            for order, (lists, counts) in zip(controls.orders, found.backlogs, strict=True)
        ),
        workers=around.serving(lane.name, is_stock=False),
        stock_workers=stock,
        parked=found.parked,
        sampled=readings.sampled_at(found),
        unreadable=tuple(map(str, controls.unreadable)),
        outcomes=_outcomes(lane.name, found, counted, around),
        overdue=around.overdue.get(lane.name),
    )
    if around.is_brief:
        return status
    told = lane_findings(status, at=at, fails_at=server.policy.defaults.share_that_fails)
    return replace(status, warnings=tuple(each.says for each in told))


def _late(policy: Policy, lane: Lane, seen: LaneLook | None, at: datetime) -> tuple[Late, ...]:
    if seen is None:
        return ()
    if looks_at_jobs(policy, lane.queue):
        return late_in(policy, lane.name, seen.looked, at)
    count = seen.older(tolerances_of(policy, lane.queue)[0])
    return late_as_whole(policy, lane.name, count=count, oldest=seen.oldest, at=at)


def _is_worth(lane: readings.LaneStatus) -> bool:
    """Whether a lane is shown that nobody asked for by name."""
    has_jobs = lane.waiting or lane.backlog or lane.running or lane.claimed or lane.stale or lane.overdue
    has_failed = lane.outcomes.failed_in_hour or lane.outcomes.failed_kept
    has_controls = lane.pause or lane.diverts or lane.warnings
    is_queue = lane.priority == DEFAULT_PRIORITY
    return bool(is_queue or has_jobs or has_failed or has_controls or lane.workers or lane.stock_workers)
