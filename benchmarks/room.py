"""A control room with much to show: 50 queues with 200 lanes, 200,000 waiting jobs, a policy, and samples."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks.work import nothing
from shedder import Selection, Shedder
from shedder.engine.jobs import function_field
from shedder.lanes import PRIORITIES, Lane
from shedder.policy.model import Policy, Rule
from shedder.queues.samples import SAMPLES_KEPT
from shedder.store.keys import SAMPLE_STEPS

if TYPE_CHECKING:
    import redis

QUEUES = tuple(f"queue-{number:02}" for number in range(50))
LANES = tuple(Lane(queue, priority).name for queue in QUEUES for priority in PRIORITIES)
PAUSED, DIVERTED, LATE = QUEUES[0], QUEUES[1], QUEUES[2]
STEPS_OF_ALL = 2
"""The steps of samples that all lanes have; the first lane has all of them."""

_FUNCTION = f"{nothing.__module__}.{nothing.__qualname__}"
_AT_ONCE = 2000
_FORMAT = struct.Struct(">8I")


def furnish(client: redis.Redis, jobs: int) -> Shedder:
    """Put the jobs into the lanes, the oldest of each two minutes old, and an hour of samples for each lane."""
    client.flushall()
    shedder = Shedder(client, by="bench")
    now = datetime.now(UTC)
    for lane in LANES:
        client.sadd(shedder.keys.engine.queues, shedder.keys.engine.lists + lane)
    for first in range(0, jobs, _AT_ONCE):
        _enqueue(client, shedder, range(first, min(first + _AT_ONCE, jobs)), now, jobs)
    _sample(client, shedder, now)
    shedder.policies.apply(_policy(), reason="the night's run")
    shedder.pause(PAUSED, reason="the database is at 99 %")
    shedder.divert(DIVERTED, reason="the database is at 99 %")
    shedder.incidents.open("receipts are late", severity=2)
    return shedder


def _policy() -> Policy:
    return Policy(rules=tuple(
        Rule(queue=queue, selection=Selection(functions=("benchmarks.*",)), label=f"work of {queue}",
             tolerance=timedelta(seconds=30) if queue == LATE else timedelta(minutes=30))
        for queue in QUEUES
    ))  # fmt: skip


def _enqueue(client: redis.Redis, shedder: Shedder, numbers: range, now: datetime, jobs: int) -> None:
    engine = shedder.keys.engine
    with client.pipeline(transaction=False) as ask:
        for number in numbers:
            at = (now - timedelta(minutes=2) * (jobs - number) / jobs).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            ask.hset(f"{engine.jobs}job-{number:06}", mapping={
                "enqueued_at": at, "created_at": at, "status": "queued", "shedder": function_field(_FUNCTION, at),
            })  # fmt: skip
            ask.rpush(engine.lists + LANES[number % len(LANES)], f"job-{number:06}")
        ask.execute()


def _sample(client: redis.Redis, shedder: Shedder, now: datetime) -> None:
    for number, lane in enumerate(LANES):
        steps = zip(shedder.keys.samples(lane), SAMPLE_STEPS, SAMPLES_KEPT, strict=True)
        for key, step, kept in list(steps)[: STEPS_OF_ALL if number else None]:
            client.rpush(key, *_samples(number, int(now.timestamp()), step, kept))


def _samples(number: int, now: int, step: int, kept: int) -> Iterator[bytes]:
    """Samples of a lane that goes up and down: depth, age, started and ended jobs."""
    for place in range(kept, 0, -1):
        depth = 1000 + (place * (number + 7)) % 100
        done = 1_000_000_000 - place * step * (1 + number % 5)
        yield _FORMAT.pack(now - place * step, depth, 0, number % 3, 120, 0, done, done)
