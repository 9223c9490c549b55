"""Does what RQ's documentation promises of workers hold with our classes?

In the order of its pages: workers, exceptions, monitoring. What a worker does when it dies or is
told to stop is in `claims`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rq import Retry
from rq.command import (
    send_kill_horse_command,
    send_shutdown_command,
    send_stop_execution_command,
    send_stop_job_command,
)
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException, TimerDeathPenalty, UnixSignalDeathPenalty
from rq.worker import HerokuWorker

from shedder.rq import Queue, SimpleWorker, SpawnWorker, Worker, WorkerMixin
from tests.cli.programs import environment
from tests.jobs import ended, mark, started
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis
    from rq.worker import BaseWorker

    from shedder.embedded import EmbeddedServer
    from tests.workers import WorkerProcess, Yard

HANDLED = f"{RQ_KEY_PREFIX}:handled"

LONG = 25.0
"""Seconds that a job would take which is to be ended before."""


def raise_again() -> None:
    raise LookupError("as the test wants")


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


def begun(mail: Queue, marks: str) -> Job:
    """A job that runs."""
    job = mail.enqueue(mark, marks, "long", LONG, job_timeout=60)
    wait_until(lambda: started(marks) == ["long"], timeout=60, what="the job")
    wait_until(lambda: Job.fetch(job.id, mail.connection).worker_name, what="its worker")
    return job


def handled(redis: Redis) -> list[str]:
    return [line.decode() for line in redis.lrange(HANDLED, 0, -1)]


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
    wait_until(lambda: job.get_status() == JobStatus.FAILED, timeout=60, what="the failure")
    mail.enqueue(mark, marks, "next")
    wait_until(lambda: "next" in ended(marks), timeout=60, what="the next job")


def test_a_job_can_be_stopped(yard: Yard, redis: Redis, mail: Queue, marks: str) -> None:
    """`send_stop_job_command` stops it; it does not come back, in a lane too."""
    yard.start("mail")
    job = begun(mail.low, marks)
    send_stop_job_command(redis, job.id)
    wait_until(lambda: job.get_status() == JobStatus.STOPPED, timeout=60, what="the stop")
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


def test_a_worker_tells_what_it_runs(
    yard: Yard, redis: Redis, mail: Queue, marks: str, tmp_path: Path
) -> None:
    """Its state, its job and its executions, from another process; one can be stopped alone."""
    worker = yard.start("mail").wait_until_idle(redis)
    (found,) = Worker.all(connection=redis)
    assert (None, 0, [], "idle") == (
        found.get_current_job(), found.current_execution_count, found.get_current_executions(),
        found.get_state(),
    )  # fmt: skip
    job = begun(mail.low, marks)
    (found,) = Worker.all(connection=redis)
    assert (job, job.id, 1) == (
        found.get_current_job(), found.get_current_job_id(), found.current_execution_count,
    )  # fmt: skip
    assert ("busy", socket.gethostname()) == (found.get_state(), found.hostname)
    assert found.birth_date <= found.last_heartbeat
    (execution,) = found.get_current_executions()
    assert (job.id, worker.name) == (execution.job_id, execution.worker_name)
    send_stop_execution_command(redis, job.id, execution.id)
    wait_until(lambda: job.get_status() == JobStatus.STOPPED, timeout=60, what="the stop")
    found.refresh()
    wait_until(lambda: found.get_current_executions(refresh=True) == [], what="no execution")


def test_a_stopped_job_is_not_tried_again(
    yard: Yard, redis: Redis, mail: Queue, marks: str
) -> None:
    """Though it could be retried; it is among the failed ones."""
    yard.start("mail").wait_until_idle(redis)
    job = mail.low.enqueue(mark, marks, "long", LONG, retry=Retry(max=3))
    wait_until(lambda: started(marks) == ["long"], timeout=60, what="the job")
    wait_until(lambda: Job.fetch(job.id, redis).worker_name, what="its worker")
    send_stop_job_command(redis, job.id)
    wait_until(lambda: job.get_status() == JobStatus.STOPPED, timeout=60, what="the stop")
    mail.low.enqueue(mark, marks, "next")
    wait_until(lambda: "next" in ended(marks), timeout=60, what="the next job")
    assert (["long", "next"], 3) == (started(marks), Job.fetch(job.id, redis).retries_left)


def test_a_second_signal_ends_the_job_too(
    yard: Yard, redis: Redis, mail: Queue, marks: str
) -> None:
    """SIGINT waits for the job, another one a second later kills it; the worker says goodbye."""
    worker = yard.start("mail").wait_until_idle(redis)
    job = begun(mail.low, marks)
    worker.send(signal.SIGINT)
    wait_until(lambda: redis.hexists(worker.key, "shutdown_requested_date"), what="the first")
    assert JobStatus.STARTED == job.get_status()

    def is_over() -> bool:
        if worker.children():  # another one would interrupt the goodbye
            worker.send(signal.SIGINT)  # RQ takes one that comes within a second for the same
        return not worker.is_alive()

    wait_until(is_over, timeout=60, what="the end")
    assert 0 == worker.wait()
    assert not redis.sismember(f"{RQ_KEY_PREFIX}:workers", worker.key)
    assert [] == ended(marks)


class OurHerokuWorker(WorkerMixin, HerokuWorker):
    """As on Heroku, where a dyno that stops has ten seconds."""

    imminent_shutdown_delay = 1


def test_a_worker_on_heroku_ends_its_job_in_time(
    yard: Yard, redis: Redis, mail: Queue, marks: str
) -> None:
    """`HerokuWorker` with our mixin: the job is told that the shutdown is imminent, and fails."""
    worker = yard.start("mail", worker_class=OurHerokuWorker).wait_until_idle(redis)
    job = begun(mail.low, marks)
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()
    result = job.latest_result()
    assert result is not None
    assert "ShutDownImminentException" in (result.exc_string or "")
    assert JobStatus.FAILED == job.get_status()


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


def test_a_handler_that_says_nothing_lets_the_next_one_have_it(redis: Redis, mail: Queue) -> None:
    """None counts as True; without RQ's own handler the job is failed, but in no registry."""
    job = mail.low.enqueue(raise_again)
    worker = SimpleWorker(
        ["mail"], connection=redis, exception_handlers=[say_nothing, stop_here],
        disable_default_exception_handler=True,
    )  # fmt: skip
    run_burst(worker)
    assert ["nothing", "stop"] == handled(redis)
    assert (JobStatus.FAILED, 0) == (job.get_status(), len(mail.low.failed_job_registry))


def test_a_job_whose_worker_was_killed_is_abandoned(
    yard: Yard, redis: Redis, mail: Queue, marks: str
) -> None:
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
    wait_until(lambda: handled(redis) == [f"killed {job.id}"], timeout=60, what="the handler")
    wait_until(lambda: job.get_status() == JobStatus.FAILED, timeout=60, what="the failure")


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(UnixSignalDeathPenalty, 1), (TimerDeathPenalty, 1), (Impatient, 180)],
    ids=["signal", "timer", "own"],
)
def test_a_job_that_takes_too_long_fails(
    redis: Redis, mail: Queue, marks: str, kind: type[Any], seconds: int
) -> None:
    """`job_timeout`, by RQ's penalties and by one of a user's own."""
    job = mail.enqueue("tests.rq.documented.test_workers.spin", job_timeout=seconds)

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
