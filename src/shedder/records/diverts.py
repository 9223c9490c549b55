"""What did a divert or a limit on starts do, or what would it?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shedder.rates import Rate
from shedder.records.controls import StartsLimit
from shedder.records.fleet import WorkerSeen
from shedder.selection import Selection


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
