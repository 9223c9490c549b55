"""Producers, one for each way in; each job is written down before it is enqueued, and after."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import redis.exceptions
from rq import Queue as RQQueue
from rq import Retry
from rq.job import Dependency
from rq.rate_limit import RateLimit

from shedder.rq import Queue
from tests import jobs
from tests.faults.accounting import RUNS_TWICE, append_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from redis import Redis

    from tests.faults.stage import Stage

WAYS = ("enqueue", "many", "unique", "pipeline", "dependent", "retry", "stock", "stock many")


def fill(
    stage: Stage, lane: str, count: int, *, way: str = "enqueue", seconds: float = 0.0, client: Redis | None = None
) -> list[str]:
    """Enqueue `count` jobs in `lane` from this process; their ids."""
    ids = [stage.next_id(lane) for _ in range(count)]
    put(client or stage.redis, lane, ids, way=way, seconds=seconds, marks=stage.marks_path)
    stage.book.sure.update(dict.fromkeys(ids, lane))
    return ids


def put(client: Redis, lane: str, ids: Sequence[str], *, way: str, seconds: float, marks: str) -> None:
    """Enqueue jobs by one way in."""
    queue = (RQQueue if way.startswith("stock") else Queue)(lane, connection=client)
    if way.endswith("many"):
        prepare = queue.prepare_data
        queue.enqueue_many([prepare(jobs.mark, (marks, job, seconds), job_id=job, timeout=1000) for job in ids])
    elif way == "pipeline":
        with client.pipeline() as pipeline:
            for job in ids:
                queue.enqueue(jobs.mark, marks, job, seconds, job_id=job, pipeline=pipeline)
            pipeline.execute()
    else:
        for before, job in zip(("", *ids), ids, strict=False):
            _put_one(queue, job, before, way=way, seconds=seconds, marks=marks)


def _put_one(queue: RQQueue, job: str, before: str, *, way: str, seconds: float, marks: str) -> None:
    if way.endswith("other"):
        queue.enqueue(jobs.decorated, marks, job, job_id=job, meta={"tenant": "acme"})
    elif way == "retry":
        queue.enqueue(jobs.fail, marks, job, 1, job_id=job, retry=Retry(max=5))
    elif way == "dependent" and before:
        after = Dependency(jobs=[before], allow_failure=True)
        queue.enqueue(jobs.mark, marks, job, seconds, job_id=job, depends_on=after)
    elif way == "limited":
        limit = RateLimit(key="shop", concurrency=2)
        queue.enqueue(jobs.mark, marks, job, seconds, job_id=job, rate_limit=limit)
    elif way == "unique":
        queue.enqueue(jobs.mark, marks, job, seconds, job_id=job, unique=True)
    else:
        queue.enqueue(jobs.mark, marks, job, seconds, job_id=job)


def produce(
    client: Redis,
    lanes: Sequence[str],
    *,
    name: str,
    ledger: str,
    marks: str,
    dice: Random,
    ways: Sequence[str] = ("enqueue",),
    batches: int = 1_000_000,
    per_batch: int = 3,
    pause: float = 0.01,
    seconds: float = 0.0,
    most_waiting: int = 30,
) -> None:
    """Enqueue batch after batch, for a process of its own; errors of Redis end no producer."""
    number = 0
    for _ in range(batches):
        while _waiting(client, lanes) > most_waiting:
            time.sleep(pause)
        lane, way = dice.choice(lanes), dice.choice(ways)
        again = RUNS_TWICE if way == "retry" else ""
        prefix = f"{lane.replace('.', '_')}_{name}{again}"
        ids = [f"{prefix}-{number + each:06d}" for each in range(per_batch)]
        number += per_batch
        for job in ids:
            append_line(ledger, "maybe", job, lane)
        try:
            put(client, lane, ids, way=way, seconds=seconds, marks=marks)
        except redis.exceptions.RedisError:
            time.sleep(0.05)
        else:
            for job in ids:
                append_line(ledger, "sure", job, lane)
        time.sleep(pause)


def _waiting(client: Redis, lanes: Sequence[str]) -> int:
    try:
        return sum(client.llen(RQQueue.redis_queue_namespace_prefix + lane) for lane in lanes)
    except redis.exceptions.RedisError:
        return 0
