"""How much memory shedder adds in Redis for each job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import rq

from benchmarks.ground import Ground
from benchmarks.load import QUEUE
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict
from benchmarks.settings import Settings
from benchmarks.work import charge_card
from shedder import Shedder
from shedder.rq import Queue

if TYPE_CHECKING:
    import redis

QUESTION = 13
BATCH = 1000
IDS = "00000000-0000-4000-8000-{:012d}"


def run(settings: Settings) -> Iterator[Row]:
    """The same jobs by both producers, waiting and diverted."""
    jobs = settings.size(short=20_000, full=20_000)
    for way in ("enqueue_many", "enqueue"):
        number = jobs if way == "enqueue_many" else min(jobs, 4_000)
        with Ground() as ground:
            theirs = _grown(ground.near, rq.Queue, number, way)
        with Ground() as ground:
            ours = _grown(ground.near, Queue, number, way)
            fixed = _diverted(ground.near)
        say(f"{way}: {ours / number:.1f} bytes a job beside {theirs / number:.1f}")
        yield _waiting(way, number, ours, theirs)
    yield _in_backlog(jobs, fixed)


def _grown(connection: redis.Redis, queue_class: type[rq.Queue], jobs: int, way: str) -> int:
    """Bytes that the server uses more when so many jobs wait."""
    queue = queue_class(QUEUE, connection=connection)
    queue.enqueue(charge_card, 0)  # scripts and connections are there
    before = _used(connection)
    if way == "enqueue":
        for number in range(jobs):
            queue.enqueue(charge_card, number, job_id=IDS.format(number))
    else:
        for first in range(0, jobs, BATCH):
            queue.enqueue_many(
                [
                    queue_class.prepare_data(charge_card, (number,), job_id=IDS.format(number))
                    for number in range(first, min(first + BATCH, jobs))
                ]
            )
    return _used(connection) - before


def _diverted(connection: redis.Redis) -> tuple[int, int]:
    """Bytes of the list of a lane before, and of the backlog after a divert of everything."""
    shedder = Shedder(connection, by="bench")
    before = _size(connection, f"rq:queue:{QUEUE}")
    receipt = shedder.divert(QUEUE, reason="bench")
    order = next(lane.order for lane in receipt.lanes if lane.moved)
    return before, sum(_size(connection, key) for key in shedder.keys.backlog(order, QUEUE))


def _size(connection: redis.Redis, key: str) -> int:
    size: Any = connection.memory_usage(key, samples=0)
    return int(size or 0)


def _used(connection: redis.Redis) -> int:
    memory: Any = connection.info("memory")
    return int(memory["used_memory"])


def _waiting(way: str, jobs: int, ours: int, theirs: int) -> Row:
    added = (ours - theirs) / jobs
    return Row(
        QUESTION,
        f"a job that waits in a normal lane, by {way}",
        f"{ours / jobs:.1f} bytes, {added:+.1f} than stock",
        f"rq.Queue: {theirs / jobs:.1f} bytes",
        f"{ours / theirs:.3f}x",
        "0 bytes more",
        Verdict.of(added <= 0.5),
        "hash and list entry, by INFO memory; fields that RQ stores empty are left out and pay for the note of ours",
        {"ours": ours / jobs, "theirs": theirs / jobs},
    )


def _in_backlog(jobs: int, sizes: tuple[int, int]) -> Row:
    before, after = sizes
    return Row(
        QUESTION,
        "a diverted job",
        f"{after / jobs:.1f} bytes for its place in the backlog",
        f"its place in RQ's list: {before / jobs:.1f} bytes",
        f"{after / before:.3f}x",
        "no more than RQ's own list entry",
        Verdict.of(after <= before * 1.01),
        "its hash stays as it is; by MEMORY USAGE",
        {"backlog": after / jobs, "list": before / jobs},
    )
