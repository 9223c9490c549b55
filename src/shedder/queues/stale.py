"""Work that is too old: set aside, list, replay.

The policy says which jobs are old. They are never dropped: each lane has a list of those that were
set aside, in their order, from which an operator replays them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shedder.engine.jobs import time_of
from shedder.events import Cause, event_head
from shedder.lanes import Lane
from shedder.queues.controls import all_lanes
from shedder.store.codec import server_time, text_of
from shedder.store.keys import Keys
from shedder.store.store import Command, Operation, Progress, Store

IDS_SHOWN = 20
"""Ids of a lane that a list of what was set aside has."""

STEPS_PER_ROUND = 10
"""Steps that the upkeep of one second does for one backlog."""

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


def stale_lanes(store: Store, lanes: Sequence[Lane] = ()) -> tuple[StaleLane, ...]:
    """The lanes of which jobs were set aside; of all lanes where none are named."""
    names = [lane.name for lane in lanes] or [*all_lanes(store)]

    def ask_all(ask: Any) -> None:
        for name in names:
            ask.llen(store.keys.stale(name))
            ask.lrange(store.keys.stale(name), 0, IDS_SHOWN - 1)

    replies = store.read(ask_all)
    found = [
        (name, jobs, tuple(map(text_of, first)))
        for name, jobs, first in zip(names, replies[::2], replies[1::2], strict=True)
        if jobs
    ]
    times = _enqueued(store, [first[0] for _, _, first in found])
    return tuple(StaleLane(name, jobs, first, oldest) for (name, jobs, first), oldest in zip(found, times, strict=True))


def replay_lanes(
    store: Store, lanes: Sequence[Lane], cause: Cause, on_progress: Progress | None = None
) -> ReplayReceipt:
    """Put all that was set aside of `lanes`, and no more, into its lanes again."""
    standing = stale_lanes(store, lanes)
    operation = Operation(on_progress, sum(each.jobs for each in standing))
    replayed = tuple(_replay_lane(store, each, cause, operation) for each in standing)
    return ReplayReceipt(server_time(store), replayed)


def set_aside_all(store: Store, lane: str, order: str) -> int:
    """Set aside what is stale at the front of a backlog, in bounded steps; how many jobs."""
    moved = 0
    for _ in range(STEPS_PER_ROUND):
        count, is_more = store.run(set_aside(store.keys, lane, order))
        moved += count
        if not is_more:
            break
    return moved


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
) -> Command[ReplayedLane]:
    """Put the first jobs that were set aside into `lane` again, as if they were enqueued now."""
    return Command(
        "replay_stale",
        (keys.pauses, keys.diverts, keys.events, keys.operation(operation), keys.stale(lane), *keys.lane(lane)),
        (step, event_head("replay", cause, (lane,)), lane, min(most, STALE_PER_STEP),
         keys.engine.jobs, keys.engine.executions),
        lambda reply: ReplayedLane(lane, *map(int, reply[2:])),
    )  # fmt: skip


def _replay_lane(store: Store, stale: StaleLane, cause: Cause, operation: Operation) -> ReplayedLane:
    lane, to_do = stale.lane, stale.jobs
    done = ReplayedLane(lane, 0, 0, to_do)
    while to_do > 0:
        step, name = operation.next_step(), operation.id
        found = store.run(replay(store.keys, lane, cause, operation=name, step=step, most=to_do))
        met = found.replayed + found.skipped
        replayed, skipped = done.replayed + found.replayed, done.skipped + found.skipped
        done = ReplayedLane(lane, replayed, skipped, found.left)
        operation.count(met)
        to_do = to_do - met if met else 0
    return done


def _enqueued(store: Store, jobs: Sequence[str]) -> list[datetime | None]:
    texts = store.read(lambda ask: [ask.hget(store.keys.engine.jobs + job, "enqueued_at") for job in jobs])
    return [time_of(text) for text in texts]
