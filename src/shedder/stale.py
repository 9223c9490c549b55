"""How is old work of a backlog set aside, and how does it come back?

Which jobs are old, the policy says. They are never dropped: each lane has a list of those that were
set aside, in their order, from which an operator replays them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shedder.journal import event_head
from shedder.keys import Keys
from shedder.records import Cause
from shedder.store import Command
from shedder.stored import time_from_ms

STALE_PER_STEP = 100
"""Jobs that one step sets aside or replays."""


@dataclass(frozen=True, slots=True)
class StaleLane:
    """What was set aside of one lane.

    Attributes:
        lane: Its name.
        jobs: How many jobs.
        first: Ids of the first of them.
        oldest: When the first was enqueued (producer's clock, UTC); None when it is not known.
    """

    lane: str
    jobs: int
    first: tuple[str, ...] = ()
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReplayedLane:
    """What a replay did in one lane.

    Attributes:
        lane: Its name.
        replayed: Jobs that are in it again, or in its backlog where it is diverted.
        skipped: Jobs that could not run any more: expired, cancelled or deleted.
        left: Jobs that are still set aside.
    """

    lane: str
    replayed: int
    skipped: int
    left: int


@dataclass(frozen=True, slots=True)
class ReplayReceipt:
    """What a replay did.

    Attributes:
        at: When it was done (server's clock, UTC).
        lanes: The lanes that had jobs set aside.
    """

    at: datetime
    lanes: tuple[ReplayedLane, ...]

    @property
    def replayed(self) -> int:
        """Jobs that are back, in all lanes."""
        return sum(each.replayed for each in self.lanes)


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """What one step of a replay did.

    Attributes:
        at: Server's clock, UTC.
        replayed: Jobs that went back.
        skipped: Jobs that could not run any more.
        left: Jobs still set aside.
    """

    at: datetime
    replayed: int
    skipped: int
    left: int


def set_aside(keys: Keys, lane: str, order: str) -> Command[tuple[int, bool]]:
    """Set aside the stale jobs at the front of a backlog: how many, and whether more may follow."""
    return Command(
        "set_aside_stale",
        (keys.policy, keys.diverts, keys.events, keys.stale(lane), keys.unseen(lane)),
        (lane, order, STALE_PER_STEP, *keys.engine.script_prefixes),
        lambda reply: (int(reply[0]), bool(reply[1])),
    )


def replay(
    keys: Keys, lane: str, cause: Cause, *, operation: str, step: int, most: int = STALE_PER_STEP
) -> Command[ReplayStep]:
    """Put the first jobs that were set aside into `lane` again, as if they were enqueued now."""
    return Command(
        "replay_stale",
        (keys.pauses, keys.diverts, keys.events, keys.operation(operation), keys.stale(lane),
         *keys.lane(lane)),
        (step, event_head("replay", cause, (lane,)), lane, min(most, STALE_PER_STEP),
         keys.engine.jobs, keys.engine.executions),
        lambda reply: ReplayStep(time_from_ms(int(reply[1])), *map(int, reply[2:])),
    )  # fmt: skip
