"""What the jobs of the documented promises run, and what is asked of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rq import get_current_job
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job

from tests.jobs import mark, started
from tests.waiting import wait_until

if TYPE_CHECKING:
    from redis import Redis

    from shedder.rq import Queue

HERE = "tests.rq.documented.functions"
TOLD = f"{RQ_KEY_PREFIX}:told"
HANDLED = f"{RQ_KEY_PREFIX}:handled"

LONG = 25.0
"""Seconds that a job would take which is to be ended before."""


def add(one: int, other: int) -> int:
    return one + other


def describe(description: str, ttl: int) -> str:
    return f"{description} {ttl}"


def show(*args: Any, **kwargs: Any) -> str:
    return json.dumps([args, kwargs])


def break_down(*_: Any) -> None:
    raise LookupError("as the test wants")


def idle(*_: Any) -> None:
    """Runs until it is interrupted, in steps that a timer of another thread gets between."""
    for _round in range(10_000_000):
        sum(range(100))


def keep_notes() -> str:
    job = get_current_job()
    assert job is not None
    job.meta["handled_by"] = "here"
    job.save_meta()
    return str(job.get_meta()["handled_by"])


def tell(job: Job, connection: Redis, *_: Any) -> None:
    connection.rpush(TOLD, job.id)


def told(redis: Redis) -> list[str]:
    return [line.decode() for line in redis.lrange(TOLD, 0, -1)]


def states(*jobs: Job) -> list[str]:
    return [job.get_status().value for job in jobs]


def begun(mail: Queue, marks: str) -> Job:
    """A job that runs."""
    job = mail.enqueue(mark, marks, "long", LONG, job_timeout=60)
    wait_until(lambda: started(marks) == ["long"], what="the job")
    wait_until(lambda: Job.fetch(job.id, mail.connection).worker_name, what="its worker")
    return job
