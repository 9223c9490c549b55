"""What did a step on a backlog do? What the commands of `backlog` return."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from shedder.rates import Rate
from shedder.records import StartsLimit
from shedder.stored import NO_TIME


@dataclass(frozen=True, slots=True)
class DivertSet:
    """A divert that is in force now.

    Attributes:
        event: Id of its event.
        at: Server's clock, UTC.
        lanes: For each lane its name, the id of the order in force, jobs moved, jobs left to scan.
        replaced: The limits that were changed.
    """

    event: str
    at: datetime
    lanes: tuple[tuple[str, str, int, int], ...]
    replaced: tuple[StartsLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderSetBack:
    """An order on one lane that says again what it said before.

    Attributes:
        lane: Name of the lane.
        order: Id of the order.
        backlog: Jobs in its backlog.
        waiting: Jobs that wait in the lane.
        rate: The rate of its drain until now; None when it did not drain.
        limit: As a limit, what it said until now.
    """

    lane: str
    order: str
    backlog: int
    waiting: int
    rate: Rate | None = None
    limit: StartsLimit | None = None


@dataclass(frozen=True, slots=True)
class OrdersSetBack:
    """Orders that are as they were before an event, or why they are not.

    Attributes:
        state: `done`, `changed` (somebody has changed one since), `over` (a limit would have ended
            by now) or `ended` (none of them stands any more).
        event: Id of its event; empty unless it is done.
        at: Server's clock, UTC.
        orders: What was done to each.
        lane: The lane that keeps it from being done.
        by: Who has changed that lane since, as far as it is known.
    """

    state: str
    event: str = ""
    at: datetime = NO_TIME
    orders: tuple[OrderSetBack, ...] = ()
    lane: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Undecided:
    """A job that a script cannot judge.

    Attributes:
        job_id: Its id; bytes that are no text stand in it as half characters.
        data: The first bytes of its serialized data.
        meta: Its serialized meta, `?` when that is too long.
        enqueued_at: When it was enqueued, as RQ writes it; empty when not asked for.
    """

    job_id: str
    data: bytes
    meta: bytes
    enqueued_at: str = ""


@dataclass(frozen=True, slots=True)
class ScanStep:
    """What one step of a scan did.

    Attributes:
        state: `more`, `done` or `ended` (there is no such order any more).
        moved: Jobs moved to the backlog.
        looked_at: Jobs looked at.
        undecided: Jobs that the next step needs a judgement of.
    """

    state: str
    moved: int
    looked_at: int
    undecided: tuple[Undecided, ...]


@dataclass(frozen=True, slots=True)
class RestoreStep:
    """What one step of a restore did.

    Attributes:
        state: `more`, `done`, `ended` (there is no such order any more) or `fold` (the lane must
            be folded first).
        event: Id of the event, when it is done.
        restored: Jobs put back in this step.
        left: Jobs left in the backlog.
    """

    state: str
    event: str
    restored: int
    left: int


@dataclass(frozen=True, slots=True)
class PreviewWindow:
    """What a dry run saw in one window of a lane.

    Attributes:
        looked_at: Jobs in the window; less than asked for means that the list has ended.
        taken: Those that would be taken, as far as a script can judge.
        oldest: When the oldest of them was enqueued.
        functions: Those taken, by function.
        undecided: Those that the caller must judge, or whose function it must read.
    """

    looked_at: int
    taken: int
    oldest: datetime | None
    functions: Counter[str]
    undecided: tuple[Undecided, ...]
