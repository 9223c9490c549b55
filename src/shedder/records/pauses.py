"""What did a pause or its end do?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shedder.records.controls import Pause
from shedder.records.fleet import RunningJob, WorkerSeen


@dataclass(frozen=True, slots=True)
class PauseReceipt:
    """What `pause` did.

    Attributes:
        event: Id of its event; `undo` takes it.
        at: When it was in force (server's clock, UTC).
        until: When it ends by itself, if it does; None also where an undo put pauses back that end
            at different times.
        lanes: The lanes, one by one.
        running: Jobs of these lanes that still run, uncertain ones among them.
        workers: The workers that serve these lanes, stock ones among them.
        resumed: Of an undo: the other lanes, which were not paused before and are not any more.
    """

    event: str
    at: datetime
    until: datetime | None
    lanes: tuple[PausedLane, ...]
    running: tuple[RunningJob, ...]
    workers: tuple[WorkerSeen, ...]
    resumed: tuple[ResumedLane, ...] = ()

    @property
    def stock_workers(self) -> tuple[WorkerSeen, ...]:
        """The workers that do not obey the pause."""
        return tuple(worker for worker in self.workers if worker.is_stock)


@dataclass(frozen=True, slots=True)
class PausedLane:
    """What `pause` did to one lane.

    Attributes:
        lane: Its name.
        waiting: Jobs that wait in it.
        replaced: The pause that was in force before, if there was one.
        parked: Jobs taken out of the reach of stock workers.
        restored: Of an undo: the pause that stood before and stands again.
    """

    lane: str
    waiting: int
    replaced: Pause | None = None
    parked: int = 0
    restored: Pause | None = None


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
