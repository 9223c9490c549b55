"""What RQ's documentation promises of jobs that fail holds with our classes.

By an exception, by the death of their process or worker, by taking too long.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException, TimerDeathPenalty, UnixSignalDeathPenalty

from shedder.rq import Queue, SimpleWorker
from tests.jobs import started
from tests.rq.documented.functions import HANDLED, HERE, begun, break_down
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

    from tests.workers import Yard


def note_it(job: Job, kind: type, value: Exception, _: Any) -> bool:
    """An exception handler, which lets the next one have it too."""
    job.connection.rpush(HANDLED, f"{job.id} {kind.__name__}")
    return True


def say_nothing(job: Job, *_: Any) -> None:
    job.connection.rpush(HANDLED, "nothing")


def stop_here(job: Job, *_: Any) -> bool:
    job.connection.rpush(HANDLED, "stop")
    return False


def note_death(job: Job, pid: int, status: int, _: Any) -> None:
    job.connection.rpush(HANDLED, f"killed {job.id}")


class Impatient(UnixSignalDeathPenalty):
    """A death penalty of a user's own: no job has more than a second."""

    def __init__(self, timeout: float, *args: Any, **more: Any) -> None:
        super().__init__(min(int(timeout), 1), *args, **more)


def handled(redis: Redis) -> list[str]:
    return [line.decode() for line in redis.lrange(HANDLED, 0, -1)]


def test_exception_handlers_are_called_in_their_order(redis: Redis, mail: Queue) -> None:
    """The first that returns False ends the chain; without RQ's own the job is still failed."""
    job = mail.enqueue(break_down)
    worker = SimpleWorker(["mail"], connection=redis, exception_handlers=[note_it, stop_here, note_it])
    run_burst(worker)
    assert [f"{job.id} LookupError", "stop"] == handled(redis)
    assert JobStatus.FAILED == job.get_status()


def test_a_handler_that_says_nothing_lets_the_next_one_have_it(redis: Redis, mail: Queue) -> None:
    """None counts as True; without RQ's own handler the job is failed, but in no registry."""
    job = mail.low.enqueue(break_down)
    worker = SimpleWorker(
        ["mail"], connection=redis, exception_handlers=[say_nothing, stop_here],
        disable_default_exception_handler=True,
    )  # fmt: skip
    run_burst(worker)
    assert ["nothing", "stop"] == handled(redis)
    assert (JobStatus.FAILED, 0) == (job.get_status(), len(mail.low.failed_job_registry))


def test_a_job_whose_worker_was_killed_is_abandoned(yard: Yard, redis: Redis, mail: Queue, marks: str) -> None:
    """The maintenance of another one fails it with `AbandonedJobError`; it runs no more."""
    worker = yard.start("mail")
    job = begun(mail.low, marks)
    worker.kill(and_children=True)
    started_registry = mail.low.started_job_registry
    for member in redis.zrange(started_registry.key, 0, -1):
        redis.zadd(started_registry.key, {member: 1}, xx=True)  # as when its heartbeats are old
    started_registry.cleanup()
    result = job.latest_result()
    assert result is not None
    assert ("AbandonedJobError" in (result.exc_string or ""), JobStatus.FAILED) == (
        True, job.get_status(),
    )  # fmt: skip
    assert (["long"], 0) == (started(marks), len(mail.low))


def test_a_handler_learns_that_the_process_of_a_job_was_killed(
    yard: Yard, redis: Redis, mail: Queue, marks: str
) -> None:
    """`work_horse_killed_handler`, for a job that had started."""
    worker = yard.start("mail", settings={"work_horse_killed_handler": note_death})
    job = begun(mail, marks)
    for child in worker.children():
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: handled(redis) == [f"killed {job.id}"], what="the handler")
    wait_until(lambda: job.get_status() == JobStatus.FAILED, what="the failure")


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(UnixSignalDeathPenalty, 1), (TimerDeathPenalty, 1), (Impatient, 180)],
    ids=["signal", "timer", "own"],
)
def test_a_job_that_takes_too_long_fails(redis: Redis, mail: Queue, marks: str, kind: type[Any], seconds: int) -> None:
    """`job_timeout`, by RQ's penalties and by one of a user's own."""
    job = mail.enqueue(f"{HERE}.idle", job_timeout=seconds)

    class OurWorker(SimpleWorker):
        death_penalty_class = kind

    run_burst(OurWorker(["mail"], connection=redis))
    result = job.latest_result()
    assert result is not None
    assert JobTimeoutException.__name__ in (result.exc_string or "")
