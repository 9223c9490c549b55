"""What did a drain do, and how far is it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shedder.rates import Rate
from shedder.records.fleet import WorkerSeen


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
