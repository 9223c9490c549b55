"""Does what RQ's documentation promises of workers hold with our classes?

In the order of its pages: workers, exceptions, monitoring. What a worker does when it dies or is
told to stop is in `test_claims`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rq.command import send_kill_horse_command, send_shutdown_command, send_stop_job_command
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException, TimerDeathPenalty, UnixSignalDeathPenalty

from shedder.rq import Queue, SimpleWorker, SpawnWorker, Worker
from tests.cli.programs import environment
from tests.jobs import ended, mark, started
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis
    from rq.worker import BaseWorker

    from shedder.embedded import EmbeddedServer
    from tests.workers import WorkerProcess, Yard

LONG = 25.0
"""Seconds that a job would take which is to be ended before."""


@pytest.fixture
def mail(redis: Redis) -> Queue:
    return Queue("mail", connection=redis)


def raise_again() -> None:
    raise LookupError("as the test wants")


def note_it(job: Job, kind: type, value: Exception, _: Any) -> bool:
    """An exception handler, which lets the next one have it too."""
    job.connection.rpush("handled", f"{job.id} {kind.__name__}")
    return True


def stop_here(job: Job, *_: Any) -> bool:
    job.connection.rpush("handled", "stop")
    return False


def note_death(job: Job, pid: int, status: int, _: Any) -> None:
    job.connection.rpush("handled", f"killed {job.id}")


class Impatient(UnixSignalDeathPenalty):
    """A death penalty of a user's own: no job has more than a second."""

    def __init__(self, timeout: float, *args: Any, **more: Any) -> None:
        super().__init__(min(int(timeout), 1), *args, **more)


def begun(mail: Queue, marks: str) -> Job:
    """A job that runs."""
    job = mail.enqueue(mark, marks, "long", LONG, job_timeout=60)
    wait_until(lambda: started(marks) == ["long"], timeout=20, what="the job")
    wait_until(lambda: Job.fetch(job.id, mail.connection).worker_name, what="its worker")
    return job


def handled(redis: Redis) -> list[str]:
    return [line.decode() for line in redis.lrange("handled", 0, -1)]


# commands


def test_a_worker_shuts_down_when_it_is_told(yard: Yard, redis: Redis, mail: Queue) -> None:
    """`send_shutdown_command` ends it as a signal does."""
    worker = yard.start("mail").wait_until_idle(redis)
    send_shutdown_command(redis, worker.name)
    assert 0 == worker.wait()
    assert not redis.sismember(f"{RQ_KEY_PREFIX}:workers", worker.key)


@pytest.mark.parametrize("kind", [Worker, SpawnWorker], ids=["fork", "spawn"])
def test_the_process_of_a_job_can_be_killed(
    yard: Yard, redis: Redis, mail: Queue, marks: str, kind: type[BaseWorker]
) -> None:
    """`send_kill_horse_command` fails the job that runs, and the worker goes on."""
    worker = yard.start("mail", worker_class=kind)
    job = begun(mail, marks)
    send_kill_horse_command(redis, worker.name)
    wait_until(lambda: job.get_status() == JobStatus.FAILED, timeout=15, what="the failure")
    mail.enqueue(mark, marks, "next")
    wait_until(lambda: "next" in ended(marks), timeout=20, what="the next job")


def test_a_job_can_be_stopped(yard: Yard, redis: Redis, mail: Queue, marks: str) -> None:
    """`send_stop_job_command` stops it; it does not come back, in a lane too."""
    yard.start("mail")
    job = begun(mail.low, marks)
    send_stop_job_command(redis, job.id)
    wait_until(lambda: job.get_status() == JobStatus.STOPPED, timeout=15, what="the stop")
    assert [job.id] == mail.low.failed_job_registry.get_job_ids()


# what a worker says of itself


def test_workers_are_listed_with_their_numbers(yard: Yard, redis: Redis, mail: Queue) -> None:
    """`Worker.all`, `count`, by connection and by queue; what ran and failed; `rq info`."""
    worker = yard.start("mail").wait_until_idle(redis)
    mail.enqueue(len, "a")
    mail.low.enqueue(raise_again)
    wait_until(lambda: _counts(redis, worker) == (1, 1), what="both jobs")
    assert (1, 1, 0) == (
        Worker.count(connection=redis), Worker.count(queue=mail.low),
        Worker.count(queue=Queue("reports", connection=redis)),
    )  # fmt: skip
    (found,) = Worker.all(queue=mail)
    assert (worker.name, worker.pid) == (found.name, found.pid)
    assert ["mail.critical", "mail.high", "mail", "mail.low"] == found.queue_names()
    assert (True, True) == (found.total_working_time > 0, found.last_heartbeat is not None)


def _counts(redis: Redis, worker: WorkerProcess) -> tuple[int, int]:
    found = Worker.find_by_key(worker.key, connection=redis)
    return (found.successful_job_count, found.failed_job_count) if found else (0, 0)


def test_rq_info_requeue_and_empty_see_lanes(
    server: EmbeddedServer, redis: Redis, mail: Queue
) -> None:
    """RQ's own command line works on queues of ours."""
    mail.low.enqueue(raise_again)
    run_burst(SimpleWorker(["mail"], connection=redis))
    mail.low.enqueue(len, "a")
    assert "mail.low" in _rq(server, "info", "--raw", "--only-queues")
    _rq(server, "requeue", "--all", "--queue", "mail.low", "--queue-class", "shedder.rq.Queue")
    assert 2 == len(mail.low)
    _rq(server, "empty", "mail.low", "--queue-class", "shedder.rq.Queue")
    assert 0 == len(mail.low)


def _rq(server: EmbeddedServer, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rq.cli", *words, "--url", server.url], env=environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return done.stdout


# failures


def test_exception_handlers_are_called_in_their_order(redis: Redis, mail: Queue) -> None:
    """The first that returns False ends the chain; without RQ's own the job is still failed."""
    job = mail.enqueue(raise_again)
    worker = SimpleWorker(
        ["mail"], connection=redis, exception_handlers=[note_it, stop_here, note_it]
    )
    run_burst(worker)
    assert [f"{job.id} LookupError", "stop"] == handled(redis)
    assert JobStatus.FAILED == job.get_status()


def test_a_handler_learns_that_the_process_of_a_job_was_killed(
    yard: Yard, redis: Redis, mail: Queue, marks: str
) -> None:
    """`work_horse_killed_handler`, for a job that had started."""
    worker = yard.start("mail", settings={"work_horse_killed_handler": note_death})
    job = begun(mail, marks)
    for child in worker.children():
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: handled(redis) == [f"killed {job.id}"], timeout=15, what="the handler")
    wait_until(lambda: job.get_status() == JobStatus.FAILED, timeout=15, what="the failure")


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(UnixSignalDeathPenalty, 1), (TimerDeathPenalty, 1), (Impatient, 180)],
    ids=["signal", "timer", "own"],
)
def test_a_job_that_takes_too_long_fails(
    redis: Redis, mail: Queue, marks: str, kind: type[Any], seconds: int
) -> None:
    """`job_timeout`, by RQ's penalties and by one of a user's own."""
    job = mail.enqueue("tests.rq.test_documented_workers.spin", job_timeout=seconds)

    class OurWorker(SimpleWorker):
        death_penalty_class = kind

    run_burst(OurWorker(["mail"], connection=redis))
    result = job.latest_result()
    assert result is not None
    assert JobTimeoutException.__name__ in (result.exc_string or "")


def spin() -> None:
    """Runs until it is interrupted, in steps that a timer of another thread gets between."""
    for _ in range(10_000_000):
        sum(range(100))
