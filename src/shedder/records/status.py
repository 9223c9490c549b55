"""How are all lanes, and where is every job?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shedder.records.controls import Divert, Pause
from shedder.setting_records import FlagState, LimitState


@dataclass(frozen=True, slots=True)
class Status:
    """How all lanes are, those in trouble first.

    Attributes:
        at: When it was read (server's clock, UTC).
        lanes: Lanes that have jobs, workers or controls.
        memory_used: Share of the server's memory limit in use, 0 to 1; None without a limit.
        is_suspended: RQ's own suspend is on.
        warnings: What concerns the whole server, one sentence each.
        flags: Flags that are degraded.
        limits: Limits that an operator set.
        eviction: The server's `maxmemory-policy`.
        policy_error: Why the policy in force cannot be read; empty when it can.
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
        completions: Jobs that ended a second, lately; None when not known yet.
        pause: The pause in force.
        diverts: The diverts in force, oldest first.
        workers: Workers of ours that serve it.
        stock_workers: Stock workers that serve it.
        warnings: What a person should know, one sentence each.
        stale: Jobs of its backlogs that were set aside because they are old.
        late: Who waits longer than the policy tolerates.
        parked: Jobs among those that wait that are out of the reach of stock workers.
        unreadable: Why its pause or its diverts cannot be read, a sentence each.
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
    parked: int = 0
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Late:
    """Work that waits longer than the policy tolerates.

    Attributes:
        lane: Name of the lane in which it waits, or in whose backlog.
        noun: What the business calls it.
        rule: Number of the rule that says what is tolerated.
        tolerance: How long it may wait.
        oldest: When its oldest job was enqueued (producer's clock, UTC).
    """

    lane: str
    noun: str
    rule: int
    tolerance: timedelta
    oldest: datetime


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Where every job is.

    Attributes:
        at: When the audit ended (server's clock, UTC).
        jobs: Jobs (hashes) found.
        places: Jobs by kind of place (`lane`, `kept`, `parked`, `backlog`, `claim`, `started`,
            `finished`, `failed`, `deferred`, `scheduled`, `ready`, `canceled`, `rate limited`,
            `stock intermediate`).
        nowhere: Ids of jobs that are in no place.
        twice: Ids of jobs that are in two waiting places, with the names of these places.
        dangling: Ids in a waiting place whose job is gone (expired or deleted).
    """

    at: datetime
    jobs: int
    places: Mapping[str, int]
    nowhere: tuple[str, ...] = ()
    twice: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dangling: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether every job is in exactly one place."""
        return not self.nowhere and not self.twice
