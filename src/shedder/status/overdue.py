"""Jobs that are due, and that no scheduler has put into their lane: scheduled, to be retried, repeated.

RQ keeps a job that is to start later in a registry, by the time at which it is due. A worker with
`--with-scheduler` runs a process that holds a lock for each of its queues, renews it every second,
and puts what is due into the queue. Without such a worker nobody does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shedder.engine.names import SCHEDULED, registry_key, scheduler_lock_key

if TYPE_CHECKING:
    from redis.client import Pipeline

TOLERATED = timedelta(minutes=1)
"""A job may be due for this long: a worker that is deployed anew has no scheduler for some seconds."""

LOCK_SECONDS = 61
"""For how long RQ's scheduler takes its lock, each second anew."""

SILENT_SECONDS = 30.0
"""A scheduler that has not renewed its lock for longer is taken for dead; a full round takes seconds."""

JOBS_AT_ONCE = 1000
"""Jobs that RQ's scheduler puts into a queue each second: with fewer overdue, a live one is not behind."""

NONE, GONE, BEHIND = "none", "gone", "behind"


@dataclass(frozen=True, slots=True)
class Overdue:
    """Jobs of a lane that are due and wait for a scheduler of RQ.

    Attributes:
        jobs: How many they are.
        since: When the first of them was due (by the clock of its producer or worker, UTC).
        scheduler: `none` runs for the lane; the one that did is `gone` and holds RQ's lock still;
            or one runs and is `behind`.
        lock_seconds: Until RQ lets another scheduler have the lane, where one is gone; else 0.
    """

    jobs: int
    since: datetime
    scheduler: str
    lock_seconds: float = 0.0

    @property
    def silent_seconds(self) -> float:
        """For how long at least the scheduler that is gone has shown no sign of life."""
        return LOCK_SECONDS - self.lock_seconds


def ask_first_due(ask: Pipeline, lanes: Sequence[str], at: datetime) -> None:
    """Ask each of `lanes` for its first job that is overdue at the server's time `at`: one reply each."""
    border = (at - TOLERATED).timestamp()
    for lane in lanes:
        ask.zrangebyscore(registry_key(SCHEDULED, lane), 0, border, start=0, num=1, withscores=True)


def first_due_from(lanes: Sequence[str], replies: Iterator[Any]) -> dict[str, datetime]:
    """Since when, by lane, the lanes have overdue jobs that do; takes the replies to `ask_first_due`."""
    found = {lane: next(replies) for lane in lanes}
    return {lane: datetime.fromtimestamp(first[0][1], UTC) for lane, first in found.items() if first}


def ask_overdue(ask: Pipeline, since: dict[str, datetime], at: datetime) -> None:
    """Ask for what `overdue_from` reads: two replies for each lane with overdue jobs."""
    for lane in since:
        ask.zcount(registry_key(SCHEDULED, lane), 0, at.timestamp())
        ask.pttl(scheduler_lock_key(lane))


def overdue_from(since: dict[str, datetime], replies: Iterator[Any]) -> dict[str, Overdue]:
    """The overdue jobs by lane, but for those that a scheduler is about to take."""
    found = {lane: _overdue(next(replies), first, next(replies)) for lane, first in since.items()}
    return {lane: each for lane, each in found.items() if each is not None}


def _overdue(jobs: int, since: datetime, lock_ms: int) -> Overdue | None:
    if lock_ms == _NO_LOCK:
        return Overdue(jobs, since, NONE) if jobs else None
    seconds = lock_ms / 1000
    if 0 <= seconds < LOCK_SECONDS - SILENT_SECONDS:
        return Overdue(jobs, since, GONE, seconds) if jobs else None
    return Overdue(jobs, since, BEHIND) if jobs > JOBS_AT_ONCE else None


_NO_LOCK = -2
"""What PTTL says of a key that is not there."""
