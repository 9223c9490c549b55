"""Which old jobs were set aside, and who brings them back?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from shedder.keys import Keys
from shedder.lanes import Lane
from shedder.records import Cause
from shedder.rq.payload import time_from
from shedder.rq.places import all_lanes
from shedder.stale import ReplayedLane, ReplayReceipt, StaleLane, replay, set_aside
from shedder.store import Store
from shedder.stored import server_time, text_of

if TYPE_CHECKING:
    from datetime import datetime

IDS_SHOWN = 20
"""Ids of a lane that a list of what was set aside has."""

STEPS_PER_ROUND = 10
"""Steps that the upkeep of one second does for one backlog."""


def stale_lanes(store: Store, keys: Keys, lanes: Sequence[Lane] = ()) -> tuple[StaleLane, ...]:
    """The lanes of which jobs were set aside; of all lanes where none are named."""
    names = [lane.name for lane in lanes] or [*all_lanes(store, keys)]

    def ask_all(ask: Any) -> None:
        for name in names:
            ask.llen(keys.stale(name))
            ask.lrange(keys.stale(name), 0, IDS_SHOWN - 1)

    replies = store.read(ask_all) if names else []
    found = [
        (name, jobs, tuple(map(text_of, first)))
        for name, jobs, first in zip(names, replies[::2], replies[1::2], strict=True)
        if jobs
    ]
    times = _enqueued(store, keys, [first[0] for _, _, first in found])
    return tuple(
        StaleLane(name, jobs, first, oldest)
        for (name, jobs, first), oldest in zip(found, times, strict=True)
    )


def replay_lanes(
    store: Store,
    keys: Keys,
    lanes: Sequence[Lane],
    cause: Cause,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReplayReceipt:
    """Put all that was set aside of `lanes`, and no more, into its lanes again."""
    standing = stale_lanes(store, keys, lanes)
    total, done = sum(each.jobs for each in standing), 0
    replayed: list[ReplayedLane] = []
    for each in standing:
        lane = ReplayedLane(each.lane, 0, 0, each.jobs)
        for lane in _replay_one(store, keys, each, cause):
            if on_progress is not None:
                on_progress(done + lane.replayed + lane.skipped, total)
        done += lane.replayed + lane.skipped
        replayed.append(lane)
    return ReplayReceipt(server_time(store), tuple(replayed))


def set_aside_all(store: Store, keys: Keys, lane: str, order: str) -> int:
    """Set aside what is stale at the front of a backlog, in bounded steps; how many jobs."""
    moved = 0
    for _ in range(STEPS_PER_ROUND):
        count, is_more = store.run(set_aside(keys, lane, order))
        moved += count
        if not is_more:
            break
    return moved


def _replay_one(store: Store, keys: Keys, stale: StaleLane, cause: Cause) -> Iterator[ReplayedLane]:
    operation, to_do, done = uuid4().hex, stale.jobs, ReplayedLane(stale.lane, 0, 0, stale.jobs)
    step = 0
    while to_do > 0:
        found = store.run(
            replay(keys, stale.lane, cause, operation=operation, step=step, most=to_do)
        )
        step += 1
        met = found.replayed + found.skipped
        to_do -= met
        done = ReplayedLane(
            stale.lane, done.replayed + found.replayed, done.skipped + found.skipped, found.left
        )
        yield done
        if not met:
            return


def _enqueued(store: Store, keys: Keys, jobs: Sequence[str]) -> list[datetime | None]:
    if not jobs:
        return []
    texts = store.read(
        lambda ask: [ask.hget(keys.engine.jobs + job, "enqueued_at") for job in jobs]
    )
    return [time_from(text) for text in texts]
