"""What do commands return? Plain facts, frozen; the command line renders them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shedder.rates import Rate
from shedder.selection import Selection
from shedder.setting_records import FlagState, LimitState

INCIDENT_VERBS = frozenset(
    {
        "incident mitigated", "incident resolve", "incident reopen", "incident correct",
        "role assign", "role take", "role offer", "role accept", "role leave",
        "action add", "action set", "action done", "review",
    }
)  # fmt: skip
"""Changes of the record of an incident that can be taken back."""

_CAN_UNDO = INCIDENT_VERBS | {
    "pause", "resume", "divert", "drain", "limit start",
    "flag degrade", "flag restore", "limit set", "limit clear", "policy apply",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cause:
    """Who changes something, and for which reason.

    Attributes:
        by: The person or program, such as `oncall@host`.
        why: The reason, in their words.
        incident: Id of the incident that it belongs to; empty outside of one.
        role: The role that they have in it; empty without one.
        readings: During an incident, by lane how it was just before.
    """

    by: str
    why: str
    incident: str = ""
    role: str = ""
    readings: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force.

    Attributes:
        lane: Name of the lane.
        by: Who paused it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it ends by itself; None when somebody must end it.
        is_parked: Its list was taken out of the reach of stock workers.
    """

    lane: str
    by: str
    why: str
    since: datetime
    until: datetime | None = None
    is_parked: bool = False


@dataclass(frozen=True, slots=True)
class Divert:
    """A divert in force: an order on one lane.

    Attributes:
        lane: Name of the lane.
        order: Id of the order, one for all lanes that were diverted together.
        by: Who diverted it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        selection: Which jobs it takes.
        backlog: Jobs in its backlog.
        drain: The drain under way, if there is one.
        is_scanning: Its first pass through the waiting jobs is not finished.
        is_restoring: Its backlog is on the way back into the lane.
        is_limit: It is a limit on starts: what it takes starts at its rate, from its backlog.
        most: As a limit, at most so many of its jobs run at once; None without such a bound.
        until: As a limit, when it ends by itself; None when somebody must end it.
    """

    lane: str
    order: str
    by: str
    why: str
    since: datetime
    selection: Selection
    backlog: int = 0
    drain: Drain | None = None
    is_scanning: bool = False
    is_restoring: bool = False
    is_limit: bool = False
    most: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """A drain under way.

    Attributes:
        rate: At most so many jobs start from the backlog.
        by: Who ordered it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        stays: The divert stays in force after its backlog is empty.
        released: Jobs that it has released so far.
        skipped: Jobs that could not run any more, by cause (`gone`, `canceled`, ...).
    """

    rate: Rate
    by: str
    why: str
    since: datetime
    stays: bool = False
    released: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that runs now.

    Attributes:
        job_id: Its id.
        lane: The lane it came from.
        worker: Name of the worker that runs it; empty when RQ does not say.
        since: When it started (worker's clock, UTC); None when RQ does not say.
        function: What it runs; empty when its data cannot be read.
        is_certain: False when its process has passed the gate and has not been heard of since: it
            may have been frozen before the first line of the function.
    """

    job_id: str
    lane: str
    worker: str = ""
    since: datetime | None = None
    function: str = ""
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker that serves a lane.

    Attributes:
        name: Its name in RQ.
        lanes: Names of the lanes (RQ queues) that it serves.
        is_stock: It is a worker without shedder: it obeys no control.
        state: RQ's state of it (`busy`, `idle`, ...).
        host: Where it runs; empty when RQ does not say.
    """

    name: str
    lanes: tuple[str, ...]
    is_stock: bool
    state: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class PausedLane:
    """What `pause` did to one lane.

    Attributes:
        lane: Its name.
        waiting: Jobs that wait in it.
        replaced: The pause that was in force before, if there was one.
        parked: Jobs taken out of the reach of stock workers.
    """

    lane: str
    waiting: int
    replaced: Pause | None = None
    parked: int = 0


@dataclass(frozen=True, slots=True)
class PauseReceipt:
    """What `pause` did.

    Attributes:
        event: Id of its event; `undo` takes it.
        at: When it was in force (server's clock, UTC).
        until: When it ends by itself, if it does.
        lanes: The lanes, one by one.
        running: Jobs of these lanes that still run, uncertain ones among them.
        workers: The workers that serve these lanes, stock ones among them.
    """

    event: str
    at: datetime
    until: datetime | None
    lanes: tuple[PausedLane, ...]
    running: tuple[RunningJob, ...]
    workers: tuple[WorkerSeen, ...]

    @property
    def stock_workers(self) -> tuple[WorkerSeen, ...]:
        """The workers that do not obey the pause."""
        return tuple(worker for worker in self.workers if worker.is_stock)


@dataclass(frozen=True, slots=True)
class ResumedLane:
    """What `resume` did to one lane.

    Attributes:
        lane: Its name.
        waiting: Jobs that wait in it.
        ended: The pause that ended; None when it was not paused.
    """

    lane: str
    waiting: int
    ended: Pause | None


@dataclass(frozen=True, slots=True)
class ResumeReceipt:
    """What `resume` did.

    Attributes:
        event: Id of its event; empty when nothing was paused.
        at: When it was in force (server's clock, UTC).
        lanes: The lanes, one by one.
    """

    event: str
    at: datetime
    lanes: tuple[ResumedLane, ...]


@dataclass(frozen=True, slots=True)
class DivertedLane:
    """What `divert` did to one lane.

    Attributes:
        lane: Its name.
        order: Id of the order in force: an older one when the same divert stood already.
        moved: Jobs moved to the backlog now.
        waiting: Jobs left in the lane.
    """

    lane: str
    order: str
    moved: int
    waiting: int


@dataclass(frozen=True, slots=True)
class StartsLimit:
    """What a limit on the starts of jobs said before it was changed.

    Attributes:
        lane: The lane that it stands on.
        rate: At most so many starts; None without a pace.
        most: At most so many jobs that run at once; None without such a bound.
        by: Who set it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it would have ended by itself; None when somebody had to end it.
    """

    lane: str
    rate: Rate | None
    most: int | None
    by: str
    why: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DivertReceipt:
    """What `divert` or `limit_starts` did.

    Attributes:
        event: Id of its event; `undo` takes it.
        at: When it was in force (server's clock, UTC).
        selection: Which jobs it takes.
        lanes: The lanes, one by one.
        workers: The workers that serve these lanes, stock ones among them.
        rate: As a limit, at most so many starts; None without a pace.
        most: As a limit, at most so many jobs that run at once; None without such a bound.
        replaced: As a limit, what it said before, on the lanes where it stood already.
    """

    event: str
    at: datetime
    selection: Selection
    lanes: tuple[DivertedLane, ...]
    workers: tuple[WorkerSeen, ...] = ()
    rate: Rate | None = None
    most: int | None = None
    replaced: tuple[StartsLimit, ...] = ()

    @property
    def moved(self) -> int:
        """Jobs moved to backlogs in all."""
        return sum(lane.moved for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class LanePreview:
    """What a divert would take from one lane.

    Attributes:
        lane: Its name.
        waiting: Jobs that wait in it.
        taken: Jobs that would go to the backlog.
        oldest: When the oldest of them was enqueued (producer's clock, UTC).
    """

    lane: str
    waiting: int
    taken: int
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class DivertPreview:
    """What a divert would do (`--dry-run`).

    Attributes:
        selection: Which jobs it would take.
        lanes: The lanes, one by one.
        functions: What would be taken, by function, most first: name and number.
        others: When nothing would be taken: what waits there instead, name and number.
    """

    selection: Selection
    lanes: tuple[LanePreview, ...]
    functions: tuple[tuple[str, int], ...] = ()
    others: tuple[tuple[str, int], ...] = ()

    @property
    def taken(self) -> int:
        """Jobs that would go to backlogs in all."""
        return sum(lane.taken for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class DrainingLane:
    """What a drain order did to one backlog.

    Attributes:
        lane: Name of its lane.
        order: Id of the divert whose backlog it is.
        backlog: Jobs in it.
        rate_before: The rate until now; None when it did not drain.
    """

    lane: str
    order: str
    backlog: int
    rate_before: Rate | None


@dataclass(frozen=True, slots=True)
class DrainReceipt:
    """What a drain order did.

    Attributes:
        event: Id of its event; empty when there is no backlog.
        at: When it was in force (server's clock, UTC).
        rate: The rate for each backlog; None when the drain was stopped.
        lanes: The backlogs, one by one.
        workers: The workers that serve these lanes, stock ones among them.
    """

    event: str
    at: datetime
    rate: Rate | None
    lanes: tuple[DrainingLane, ...]
    workers: tuple[WorkerSeen, ...] = ()

    @property
    def backlog(self) -> int:
        """Jobs in these backlogs in all."""
        return sum(lane.backlog for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class RestoredLane:
    """A backlog that is back in its lane.

    Attributes:
        lane: Its name.
        order: Id of the divert that ended.
        restored: Jobs put back.
    """

    lane: str
    order: str
    restored: int


@dataclass(frozen=True, slots=True)
class RestoreReceipt:
    """What `drain --at-once`, or the undo of a divert, did.

    Attributes:
        events: Ids of its events, one for each backlog.
        at: When it was finished (server's clock, UTC).
        lanes: The backlogs, one by one.
    """

    events: tuple[str, ...]
    at: datetime
    lanes: tuple[RestoredLane, ...]

    @property
    def restored(self) -> int:
        """Jobs put back in all."""
        return sum(lane.restored for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class MitigationReceipt:
    """How a declared mitigation went.

    Attributes:
        event: Id of the event that says how it ended.
        at: When it had ended (server's clock, UTC).
        name: Its name in the policy.
        command: The program and its arguments, secrets masked.
        outcome: `done`, `failed`, `timed out` or `not started`.
        exit_code: What it exited with; minus the signal that ended it; None when it never began.
        seconds: How long it ran, in seconds.
        output: The end of what it printed, secrets masked.
    """

    event: str
    at: datetime
    name: str
    command: tuple[str, ...]
    outcome: str
    exit_code: int | None
    seconds: float
    output: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal.

    Attributes:
        id: Its id; ids grow with time.
        at: When it happened (server's clock, UTC).
        verb: What happened: `pause`, `resume`, `pause expired`, `divert`, `scan`, `drain`,
            `drain stopped`, `drained`, `restore`, `repair`, `flag degrade`, `flag restore`,
            `limit set`, `limit clear`, `policy apply`, `set aside`, `replay`, `incident open`,
            `incident update`, `incident mitigated`, `incident resolve`, `incident reopen`,
            `incident correct`, `incident close`, `incident import`,
            `role assign`, `role take`, `role offer`, `role accept`, `role leave`, `note`,
            `action add`, `action set`, `action done`, `review`, `effect`, `mitigate`,
            `mitigate started`.
        by: Who did it.
        why: For which reason.
        lanes: Names of the lanes concerned.
        order: Id of the divert concerned, if there is one.
        undoes: Id of the event that this one undid, if it did.
        before: What stood before, by lane, flag or limit.
        after: What stands after, by lane, flag or limit.
        details: What else the event says, such as a rate or a selection.
        incident: Id of the incident that it belongs to; empty outside of one.
        role: The role that who did it had in the incident; empty without one.
    """

    id: str
    at: datetime
    verb: str
    by: str
    why: str
    lanes: tuple[str, ...]
    order: str = ""
    undoes: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    incident: str = ""
    role: str = ""

    @property
    def can_undo(self) -> bool:
        """Whether `undo` knows a way back."""
        return self.verb in _CAN_UNDO


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
    """

    at: datetime
    lanes: tuple[LaneStatus, ...]
    memory_used: float | None = None
    is_suspended: bool = False
    warnings: tuple[str, ...] = ()
    flags: tuple[FlagState, ...] = ()
    limits: tuple[LimitState, ...] = ()


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


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far the drain of one backlog is.

    Attributes:
        lane: Name of its lane.
        order: Id of the divert whose backlog it is.
        backlog: Jobs left in it.
        released: Jobs released so far.
        skipped: Jobs that could not run any more, by cause.
        skipped_names: The first of them, `<id> <cause>` each.
        is_done: The backlog is empty and the divert has ended, or the drain was stopped.
    """

    lane: str
    order: str
    backlog: int
    released: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_names: tuple[str, ...] = ()
    is_done: bool = False
