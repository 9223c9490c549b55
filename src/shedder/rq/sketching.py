"""What does a running system show of its queues, for a first policy?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from shedder.keys import Keys
from shedder.lanes import PRIORITIES, Lane
from shedder.policy_sketch import SeenQueue
from shedder.records import LaneStatus, Status
from shedder.rq.notes import NOTE_FIELD, function_of_note
from shedder.rq.payload import function_name
from shedder.rq.status import read_status
from shedder.selection import MAX_TEXT
from shedder.store import Store
from shedder.stored import text_of

JOBS_LOOKED_AT = 100
"""Of each lane, from its front: enough to see what a queue is for."""

LONGEST_DATA = 2_000
"""Bytes of a job's data that are worth fetching for the name of its function."""


def seen_queues(store: Store, keys: Keys) -> tuple[SeenQueue, ...]:
    """All queues with what was seen of them; reads only, in bounded steps."""
    status = read_status(store, keys)
    names = sorted({lane.queue for lane in status.lanes})
    return tuple(_seen(store, keys, name, status) for name in names)


def _seen(store: Store, keys: Keys, queue: str, status: Status) -> SeenQueue:
    lanes = [lane for lane in status.lanes if lane.queue == queue]
    functions = _functions(store, keys, _first_jobs(store, keys, queue))
    times = [each for lane in lanes for each in (lane.oldest, lane.oldest_in_backlog) if each]
    return SeenQueue(
        name=queue,
        waiting=sum(lane.waiting + lane.backlog for lane in lanes),
        arrivals=_sum(lanes, "arrivals"),
        completions=_sum(lanes, "completions"),
        oldest_seconds=(status.at - min(times)).total_seconds() if times else None,
        functions={name: count for name, count in functions.items() if name},
        looked_at=sum(functions.values()),
    )


def _first_jobs(store: Store, keys: Keys, queue: str) -> list[str]:
    lists = [key for priority in PRIORITIES for key in keys.lane(Lane(queue, priority).name)[:3]]
    replies = store.read(lambda ask: [ask.lrange(key, 0, JOBS_LOOKED_AT - 1) for key in lists])
    return [text_of(job) for ids in replies for job in ids]


def _functions(store: Store, keys: Keys, jobs: Sequence[str]) -> Counter[str]:
    prefix = keys.engine.jobs

    def ask_all(ask: Any) -> None:
        for job in jobs:
            ask.hmget(prefix + job, NOTE_FIELD, "created_at")
            ask.hstrlen(prefix + job, "data")

    replies = store.read(ask_all) if jobs else []
    named = {
        job: function_of_note(*fields) or "" for job, fields in zip(jobs, replies[::2], strict=True)
    }
    small = [
        job for job, length in zip(jobs, replies[1::2], strict=True)
        if not named[job] and 0 < length <= LONGEST_DATA
    ]  # fmt: skip
    data = store.read(lambda ask: [ask.hget(prefix + job, "data") for job in small])
    named.update(
        {job: function_name(each or b"") or "" for job, each in zip(small, data, strict=True)}
    )
    return Counter(name if _is_glob_free(name) else "" for name in named.values())


def _is_glob_free(name: str) -> bool:
    is_long = len(name.encode("utf-8", "replace")) > MAX_TEXT
    return name.isprintable() and not is_long and not any(each in name for each in "*?[]")


def _sum(lanes: Iterable[LaneStatus], name: str) -> float | None:
    found = [getattr(lane, name) for lane in lanes]
    known = [each for each in found if each is not None]
    return sum(known) if known else None
