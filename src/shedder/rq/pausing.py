"""How is a queue paused so that nothing starts after the answer?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shedder.controls import (
    PausesSetBack,
    fold_lane,
    park_lane,
    pause_lanes,
    resume_lanes,
    set_back_pauses,
)
from shedder.keys import Keys
from shedder.lanes import Lane
from shedder.records import (
    Cause,
    PausedLane,
    PauseReceipt,
    ResumeReceipt,
    RunningJob,
    WorkerSeen,
)
from shedder.rq.fleet import ask_registered, live_workers, registered_from
from shedder.rq.running import ask_executions, list_claims, running_from, running_jobs
from shedder.store import Store

SETTLE_SECONDS = 1.0
"""Who has passed the gate and says nothing for so long is named as uncertain."""

GRACE_SECONDS = 0.05
"""From the report of a start to the first line of the function, on a busy machine."""

POLL_SECONDS = 0.01
WATCH_SECONDS = 0.2


def pause(
    store: Store,
    keys: Keys,
    lanes: Sequence[Lane],
    cause: Cause,
    *,
    operation: str,
    expires_in: timedelta | None = None,
    undoes: str = "",
) -> PauseReceipt:
    """Pause `lanes`, and return when those that had just passed the gate have settled."""
    done = store.run(
        pause_lanes(keys, lanes, cause, operation=operation, expires_in=expires_in, undoes=undoes)
    )
    names = [lane.name for lane in lanes]
    workers, running = _at_work(store, keys, names)
    parked = _park(store, keys, done.lanes, workers)
    if any(worker.is_stock for worker in workers):  # they may have started a job meanwhile
        running = running_jobs(store, keys, names)
    return PauseReceipt(
        event=done.event,
        at=done.at,
        until=done.at + expires_in if expires_in else None,
        lanes=parked,
        running=settle(store, keys, names, running),
        workers=workers,
    )


def settle(
    store: Store, keys: Keys, lanes: Sequence[str], running: tuple[RunningJob, ...]
) -> tuple[RunningJob, ...]:
    """The jobs of `lanes` that run, once nobody is between the gate and the function.

    `running` are those that ran when it was last read.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while not all(job.is_certain for job in running) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        running = running_jobs(store, keys, lanes)
    if running:
        time.sleep(GRACE_SECONDS)
    return running


def wait_until_idle(
    store: Store,
    keys: Keys,
    lanes: Sequence[str],
    *,
    timeout: timedelta | None = None,
    on_change: Callable[[tuple[RunningJob, ...]], None] | None = None,
) -> tuple[RunningJob, ...]:
    """Wait until no job of `lanes` runs; those that still do when `timeout` is over."""
    deadline = time.monotonic() + timeout.total_seconds() if timeout else None
    last: tuple[RunningJob, ...] | None = None
    while True:
        running = running_jobs(store, keys, lanes)
        if on_change is not None and running != last:
            on_change(running)
        last = running
        if not running or (deadline is not None and time.monotonic() >= deadline):
            return running
        time.sleep(WATCH_SECONDS)


def resume(
    store: Store,
    keys: Keys,
    lanes: Sequence[Lane],
    cause: Cause,
    *,
    operation: str,
    undoes: str = "",
) -> ResumeReceipt:
    """End the pause of `lanes`; what was parked is in the lanes again, in order."""
    done = store.run(resume_lanes(keys, lanes, cause, operation=operation, undoes=undoes))
    for lane in done.unfolded:
        fold(store, keys, lane)
    return done.receipt


def set_back(
    store: Store,
    keys: Keys,
    ways: Mapping[str, tuple[str, str]],
    cause: Cause,
    *,
    operation: str,
    undoes: str,
) -> PausesSetBack:
    """Put the pauses of lanes back as they were; those that are paused again are parked again."""
    done = store.run(set_back_pauses(keys, ways, cause, operation=operation, undoes=undoes))
    for lane in done.unfolded:
        fold(store, keys, lane)
    if not done.paused:
        return done
    workers, _ = _at_work(store, keys, [lane.lane for lane in done.paused])
    return replace(done, paused=_park(store, keys, done.paused, workers))


def pause_again_receipt(store: Store, keys: Keys, done: PausesSetBack) -> PauseReceipt:
    """The receipt of pauses that stand again, once those that had just passed the gate settled."""
    names = [lane.lane for lane in done.paused]
    ends = {lane.restored.until for lane in done.paused if lane.restored}
    workers, running = _at_work(store, keys, names)
    return PauseReceipt(
        event=done.pause,
        at=done.at,
        until=ends.pop() if len(ends) == 1 else None,
        lanes=done.paused,
        running=settle(store, keys, names, running),
        workers=workers,
        resumed=done.resumed,
    )


def fold(store: Store, keys: Keys, lane: str) -> None:
    """Make `lane` one list again, in bounded steps."""
    while store.run(fold_lane(keys, lane)):
        pass


def _at_work(
    store: Store, keys: Keys, lanes: Sequence[str]
) -> tuple[tuple[WorkerSeen, ...], tuple[RunningJob, ...]]:
    """The workers that serve `lanes`, and the jobs of them that run."""

    def ask_all(ask: Any) -> None:
        ask_registered(ask, lanes)
        ask_executions(ask, lanes)

    replies, claims = store.read_and_run(ask_all, list_claims(keys, limit=0))
    registered = registered_from(lanes, replies[: len(lanes)])
    running = running_from(store, keys, lanes, replies[len(lanes) :], claims)
    return live_workers(store, registered), running


def _park(
    store: Store, keys: Keys, lanes: Sequence[PausedLane], workers: Sequence[WorkerSeen]
) -> tuple[PausedLane, ...]:
    served = {name for worker in workers if worker.is_stock for name in worker.lanes}
    return tuple(_parked(store, keys, lane) if lane.lane in served else lane for lane in lanes)


def _parked(store: Store, keys: Keys, lane: PausedLane) -> PausedLane:
    is_done = False
    parked = 0
    while not is_done:
        is_done, parked = store.run(park_lane(keys, lane.lane))
    return replace(lane, parked=parked)
