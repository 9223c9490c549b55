"""The records of a status, and what the lists and counters of a lane say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from shedder.engine.jobs import NOTE_FIELD, function_from_field, job_of, meta_texts, time_of
from shedder.engine.names import STARTED, registry_key
from shedder.policy.lateness import Late, WaitingJob
from shedder.policy.model import FAILS_AT
from shedder.queues.claims import JOBS_PER_LANE
from shedder.queues.controls import Divert, Pause, StoredDivert
from shedder.queues.outcomes import LabelOutcomes, LaneFailures, Outcomes, ask_lane_failures, lane_failures_from
from shedder.settings.flags import FlagState
from shedder.settings.limits import LimitState
from shedder.status.overdue import Overdue
from shedder.store.codec import count_of, ms_from_time, text_of, time_from_ms
from shedder.store.keys import Keys

if TYPE_CHECKING:
    from redis.client import Pipeline

RATE_WINDOW_MS = 60_000
"""Rates are told from the oldest sample that is not older."""

LEAST_RATE_MS = 1_000
"""A sample that is younger tells no rate."""

SAMPLES_READ = 90

WAITING_FIELDS = ("enqueued_at", NOTE_FIELD, "created_at", "meta")
"""Fields of a job's hash that `waiting_from` reads."""


@dataclass(frozen=True, slots=True)
class Status:
    """How all lanes are, those in trouble first.

    Attributes:
        at: When it was read (server's clock, UTC).
        lanes: Lanes that have jobs, workers or controls.
        memory_used: Share of the server's memory limit in use, 0 to 1; None without a limit.
        is_suspended: RQ's own suspend is on.
        warnings: What concerns several lanes or the whole server, one sentence each.
        flags: Flags that are degraded.
        limits: Limits that an operator set.
        eviction: The server's `maxmemory-policy`.
        policy_error: Why the policy in force cannot be read; empty when it can.
        labels: How the jobs ended that the policy in force gives a label, in its order.
        fails_at: Work fails where this share of its jobs failed, 0 to 1; 0 for never.
        refused: RQ queues that shedder neither serves nor controls, since their names could be
            meant for others.
    """

    at: datetime
    lanes: tuple[LaneStatus, ...]
    memory_used: float | None = None
    is_suspended: bool = False
    warnings: tuple[str, ...] = ()
    flags: tuple[FlagState, ...] = ()
    limits: tuple[LimitState, ...] = ()
    eviction: str = "noeviction"
    policy_error: str = ""
    labels: tuple[LabelOutcomes, ...] = ()
    fails_at: float = FAILS_AT
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """How a lane is.

    Attributes:
        lane: Its name.
        queue: The queue that it belongs to.
        priority: Its priority.
        waiting: Jobs that wait in it.
        backlog: Jobs in its backlogs.
        running: Jobs that run now.
        claimed: Jobs in a worker's hands that have not started.
        oldest: When the job that has waited longest was enqueued (producer's clock, UTC).
        oldest_in_backlog: The same of its backlogs.
        arrivals: Jobs that arrived a second, lately; None when not known yet.
        completions: Jobs that ended well a second, lately; None when not known yet.
        pause: The pause in force.
        diverts: The diverts in force, oldest first.
        workers: Workers of ours that serve it.
        stock_workers: Stock workers that serve it.
        warnings: What a person should know, one sentence each.
        stale: Jobs of its backlogs that were set aside because they are old.
        late: Who waits longer than the policy tolerates, or may do so.
        is_judged: The policy says of some of its work how long it may wait.
        parked: Jobs among those that wait that are out of the reach of stock workers.
        unreadable: Why its pause or its diverts cannot be read, a sentence each.
        outcomes: How its jobs ended lately.
        sampled: When a worker of ours last kept its numbers; None when none did.
        overdue: Jobs that are due and that no scheduler of RQ puts into it; None without any.
    """

    lane: str
    queue: str
    priority: str
    waiting: int = 0
    backlog: int = 0
    running: int = 0
    claimed: int = 0
    oldest: datetime | None = None
    oldest_in_backlog: datetime | None = None
    arrivals: float | None = None
    completions: float | None = None
    pause: Pause | None = None
    diverts: tuple[Divert, ...] = ()
    workers: int = 0
    stock_workers: int = 0
    warnings: tuple[str, ...] = ()
    stale: int = 0
    late: tuple[Late, ...] = ()
    is_judged: bool = False
    parked: int = 0
    unreadable: tuple[str, ...] = ()
    outcomes: Outcomes = field(default_factory=Outcomes)
    sampled: datetime | None = None
    overdue: Overdue | None = None


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists that are read one after the other.

    Attributes:
        lengths: Jobs in each.
        heads: Id of the first job of each that has one.
    """

    lengths: tuple[int, ...]
    heads: tuple[str, ...]

    @property
    def jobs(self) -> int:
        """Jobs in all of them."""
        return sum(self.lengths)


@dataclass(frozen=True, slots=True)
class LaneReading:
    """What the lists and counters of one lane say.

    Attributes:
        waiting: The lists that the lane is read from: kept, parked, RQ's own.
        executions: Executions that RQ has of its jobs.
        executing: Ids of the first jobs that have one.
        backlogs: For each order its lists, and the hash with the counts of its drain.
        meters: Jobs that workers of ours have started and ended.
        samples: The last samples of these numbers, oldest first, JSON each.
        stale: Jobs that were set aside because they are old.
        failures: What is kept of its jobs that failed.
    """

    waiting: Lists
    executions: int
    executing: frozenset[str]
    backlogs: tuple[tuple[Lists, Mapping[bytes, bytes]], ...]
    meters: tuple[int, int] = (0, 0)
    samples: Sequence[bytes] = ()
    stale: int = 0
    failures: LaneFailures = field(default_factory=LaneFailures)

    @property
    def parked(self) -> int:
        """Jobs out of the reach of stock workers."""
        return self.waiting.lengths[1]

    @property
    def backlog(self) -> int:
        """Jobs in all backlogs."""
        return sum(lists.jobs for lists, _ in self.backlogs)

    @property
    def lists(self) -> tuple[Lists, ...]:
        """The lane's own lists, then those of each backlog."""
        return (self.waiting, *(lists for lists, _ in self.backlogs))


def ask_lane(
    ask: Pipeline, keys: Keys, lane: str, orders: Sequence[StoredDivert], *, at: datetime, is_brief: bool = False
) -> None:
    """Ask for what `reading_from` reads; `at` is the server's time.

    With `is_brief`, only for what the lane holds now: not for counts, samples, stale and failed jobs.
    """
    listed, kept, parked, _ = keys.lane(lane)
    executions = registry_key(STARTED, lane)
    _ask_lists(ask, (kept, parked, listed))
    ask.zcard(executions)
    ask.zrange(executions, 0, JOBS_PER_LANE - 1)
    for order in orders:
        _ask_lists(ask, order.backlog_keys)
        ask.hgetall(order.bucket)
    if not is_brief:
        ask.hmget(keys.meters, f"{lane}:started", f"{lane}:ended")
        ask.lrange(keys.series(lane), -SAMPLES_READ, -1)
        ask.llen(keys.stale(lane))
        ask_lane_failures(ask, keys, lane, at)


def reading_from(replies: Iterator[Any], orders: int, *, is_brief: bool = False) -> LaneReading:
    """Takes the replies to `ask_lane` for a lane with `orders` orders, and no more."""
    waiting = _lists(replies)
    executions, executing = islice(replies, 2)
    backlogs = tuple((_lists(replies), next(replies)) for _ in range(orders))
    found = LaneReading(waiting, executions, frozenset(map(job_of, executing)), backlogs)
    if is_brief:
        return found
    (started, ended), samples, stale = islice(replies, 3)
    return replace(
        found, meters=(count_of(started), count_of(ended)), samples=samples, stale=stale,
        failures=lane_failures_from(replies),
    )  # fmt: skip


def rates_of(at: datetime, found: LaneReading) -> tuple[float | None, float | None]:
    """Arrivals and ended jobs a second since the oldest sample in the window; None without one.

    Workers of ours take the samples and count; of the jobs that stock workers run nothing is known.
    """
    started, ended = found.meters
    now_ms, standing = ms_from_time(at), found.waiting.jobs + found.backlog
    for text in found.samples:
        try:
            then_ms, waiting_then, backlog_then, started_then, ended_then = json.loads(text)
            age_ms = int(now_ms - then_ms)
            arrived = standing + started - waiting_then - backlog_then - started_then
        except (OverflowError, RecursionError, TypeError, ValueError):
            continue
        if LEAST_RATE_MS <= age_ms <= RATE_WINDOW_MS:
            # what was cancelled or had expired left without a start
            rates = 1000 * arrived / age_ms, 1000 * (ended - ended_then) / age_ms
            return max(rates[0], 0.0), max(rates[1], 0.0)
    return None, None


def sampled_at(found: LaneReading) -> datetime | None:
    """When the numbers of a lane were last kept; None when that is not known."""
    try:
        return time_from_ms(int(json.loads(found.samples[-1])[0]))
    except (LookupError, OverflowError, RecursionError, TypeError, ValueError):
        return None


def waiting_from(values: Sequence[bytes | None]) -> WaitingJob:
    """The waiting job whose hash has these values in its `WAITING_FIELDS`."""
    enqueued_at, note, created_at, meta = values
    return WaitingJob(time_of(enqueued_at), function_from_field(note, created_at), meta_texts(meta) or {})


def _ask_lists(ask: Pipeline, lists: Sequence[str]) -> None:
    for key in lists:
        ask.llen(key)
        ask.lrange(key, 0, 0)


def _lists(replies: Iterator[Any]) -> Lists:
    three = list(islice(replies, 6))
    heads = tuple(text_of(head) for first in three[1::2] for head in first)
    return Lists(tuple(three[::2]), heads)
