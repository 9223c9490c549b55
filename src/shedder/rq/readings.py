"""How long are the lists of a lane, and how fast does it move?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from shedder.keys import Keys
from shedder.rq.layout import STARTED, registry_key
from shedder.rq.payload import job_of
from shedder.rq.running import JOBS_PER_LANE
from shedder.stored import StoredOrder, count_of, ms_from_time, text_of

if TYPE_CHECKING:
    from redis.client import Pipeline

RATE_WINDOW_MS = 60_000
"""Rates are told from the oldest sample that is not older."""

LEAST_RATE_MS = 1_000
"""A sample that is younger tells no rate."""

SAMPLES_READ = 90


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists that are read one after the other.

    Attributes:
        lengths: Jobs in each.
        heads: Ids of the first jobs of each: one, unless more were asked for.
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
        meters: Jobs that workers of ours have started and ended.
        samples: The last samples of these numbers, oldest first, JSON each.
        stale: Jobs that were set aside because they are old.
        backlogs: For each order its lists, and the hash with the counts of its drain.
    """

    waiting: Lists
    executions: int
    executing: frozenset[str]
    meters: tuple[int, int]
    samples: Sequence[bytes]
    stale: int
    backlogs: tuple[tuple[Lists, Mapping[bytes, bytes]], ...]

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
    ask: Pipeline, keys: Keys, lane: str, orders: Sequence[StoredOrder], *, heads: int = 1
) -> None:
    """Ask for what `reading_from` reads, with so many `heads` of each list."""
    listed, kept, parked, _ = keys.lane(lane)
    executions = registry_key(STARTED, lane)
    _ask_lists(ask, (kept, parked, listed), heads)
    ask.zcard(executions)
    ask.zrange(executions, 0, JOBS_PER_LANE - 1)
    ask.hmget(keys.meters, f"{lane}:started", f"{lane}:ended")
    ask.lrange(keys.series(lane), -SAMPLES_READ, -1)
    ask.llen(keys.stale(lane))
    for order in orders:
        _ask_lists(ask, order.backlog_keys, heads)
        ask.hgetall(order.bucket)


def reading_from(replies: Iterator[Any], orders: int) -> LaneReading:
    """Takes the replies to `ask_lane` for a lane with so many orders, and no more."""
    waiting = _lists(replies)
    executions, executing, meters, samples, stale = islice(replies, 5)
    return LaneReading(
        waiting=waiting,
        executions=executions,
        executing=frozenset(map(job_of, executing)),
        meters=(count_of(meters[0]), count_of(meters[1])),
        samples=samples,
        stale=stale,
        backlogs=tuple((_lists(replies), next(replies)) for _ in range(orders)),
    )


def rates_of(at: datetime, found: LaneReading) -> tuple[float | None, float | None]:
    """Arrivals and completions a second since the oldest sample in the window; None without one.

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


def _ask_lists(ask: Pipeline, lists: Sequence[str], heads: int) -> None:
    for key in lists:
        ask.llen(key)
        ask.lrange(key, 0, heads - 1)


def _lists(replies: Iterator[Any]) -> Lists:
    three = list(islice(replies, 6))
    heads = tuple(text_of(head) for first in three[1::2] for head in first)
    return Lists(tuple(three[::2]), heads)
