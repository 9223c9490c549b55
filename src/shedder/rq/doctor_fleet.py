"""Which workers and producers are there, are they ours, and are their clocks right?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from shedder.checkup import FINE, WARNING, Finding
from shedder.counts import counted
from shedder.keys import Keys
from shedder.records import WorkerSeen
from shedder.rq.fleet import all_workers
from shedder.rq.layout import WORKER, WORKERS
from shedder.rq.notes import NOTE_FIELD
from shedder.rq.payload import time_of
from shedder.rq.skew import TOLERATED_SECONDS
from shedder.store import Store
from shedder.stored import server_time, text_of

NEWEST_JOBS = 10
"""Jobs at the end of each lane that tell which producers are at work."""

LANES_SAMPLED = 200
"""Lanes whose newest jobs are looked at, so that one round trip stays short."""


def fleet_findings(store: Store, keys: Keys, lanes: Sequence[str]) -> Iterator[Finding]:
    """What there is to say of workers, producers and clocks."""
    yield _workers(all_workers(store))
    yield _producers(store, keys, lanes)
    yield from _unseen(store, keys, lanes)
    yield from _clocks(store)


def _workers(workers: Sequence[WorkerSeen]) -> Finding:
    stock = [worker.name for worker in workers if worker.is_stock]
    if not workers:
        return Finding("workers", WARNING, "No worker is registered, so no job starts.")
    if not stock:
        return Finding("workers", FINE, f"Workers, all of shedder: {len(workers):,}.")
    return Finding(
        "workers",
        WARNING,
        f"Stock RQ workers: {len(stock):,} of {len(workers):,}. They obey no pause and no divert, "
        "and lose the job in hand when they are killed: start them with "
        "`--worker-class shedder.rq.Worker`.",
        subjects=tuple(stock),
    )


def _producers(store: Store, keys: Keys, lanes: Sequence[str]) -> Finding:
    sampled = _newest_jobs(store, keys, lanes[:LANES_SAMPLED])
    stock = sorted(_without_note(store, keys, sampled))
    if not sampled:
        return Finding("producers", FINE, "No job waits that would tell which producers there are.")
    if not stock:
        return Finding("producers", FINE, "The newest waiting jobs come from queues of shedder.")
    return Finding(
        "producers",
        WARNING,
        f"Lanes with jobs of stock RQ queues: {len(stock):,}. A divert by function must read each "
        "of them, and an idle worker finds them within a second instead of at once: use "
        "`shedder.rq.Queue` there.",
        subjects=tuple(stock),
    )


def _unseen(store: Store, keys: Keys, lanes: Sequence[str]) -> Iterator[Finding]:
    lengths = store.read(lambda ask: [ask.llen(keys.unseen(lane)) for lane in lanes])
    found = {lane: count for lane, count in zip(lanes, lengths, strict=True) if count}
    if found:
        yield Finding(
            "unseen jobs",
            WARNING,
            f"{counted(sum(found.values()), 'id')} had no job when their turn came, and stand in "
            f"{keys.unseen('<lane>')}. Jobs with a ttl expire so. If none has one, producers may "
            "use a job class with `redis_job_namespace_prefix`, whose jobs no worker of shedder "
            "sees.",
            subjects=tuple(found),
        )


def _newest_jobs(store: Store, keys: Keys, lanes: Sequence[str]) -> list[tuple[str, bytes]]:
    ids = store.read(
        lambda ask: [ask.lrange(keys.lane(lane)[0], -NEWEST_JOBS, -1) for lane in lanes]
    )
    return [(lane, job) for lane, some in zip(lanes, ids, strict=True) for job in some]


def _without_note(store: Store, keys: Keys, jobs: Sequence[tuple[str, bytes]]) -> set[str]:
    """The lanes of those of `jobs` that no queue of ours has enqueued."""
    prefix = keys.engine.jobs.encode()

    def ask_sizes(ask: Any) -> None:
        for _, job in jobs:
            ask.hstrlen(prefix + job, "data")
            ask.hstrlen(prefix + job, NOTE_FIELD)

    sizes = store.read(ask_sizes)
    return {
        lane
        for (lane, _), data, note in zip(jobs, sizes[::2], sizes[1::2], strict=True)
        if data and not note
    }


def _clocks(store: Store) -> Iterator[Finding]:
    beats = _heartbeats(store)
    now = server_time(store).timestamp()
    behind = now - time.time()
    if abs(behind) > TOLERATED_SECONDS:
        side = "behind" if behind > 0 else "ahead of"
        yield Finding(
            "clocks",
            WARNING,
            f"This machine's clock is {abs(behind):.0f} s {side} the server's. Controls and paces "
            "follow the server's; the ages of jobs that are enqueued here do not.",
        )
    # a heartbeat tells nothing of a clock that is behind: it may simply be old
    ahead = sorted(name for name, beat in beats.items() if beat - now > TOLERATED_SECONDS)
    if ahead:
        yield Finding(
            "clocks",
            WARNING,
            f"Workers whose clock is ahead of the server's: {len(ahead):,}. Stock workers among "
            "them fail healthy jobs of others.",
            subjects=tuple(ahead),
        )
    if not ahead and abs(behind) <= TOLERATED_SECONDS:
        yield Finding(
            "clocks", FINE, "No clock is ahead of the server's, and this machine's is right."
        )


def _heartbeats(store: Store) -> dict[str, float]:
    """By name of worker, its last sign of life by its own clock, in seconds since 1970."""
    members = store.read(lambda ask: ask.smembers(WORKERS))[0]
    names = sorted(map(text_of, members))
    if not names:
        return {}
    beats = store.read(lambda ask: [ask.hget(key, "last_heartbeat") for key in names])
    return {
        key.removeprefix(WORKER): said.timestamp()
        for key, beat in zip(names, beats, strict=True)
        if (said := time_of(beat))
    }
