"""What RQ's documentation promises of workers holds with our classes.

In the order of its pages: workers, monitoring. What a worker does when it dies or is told to stop
is in `claims`.
"""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

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
from rq.worker import HerokuWorker

from shedder.rq import Queue, SimpleWorker, SpawnWorker, Worker, WorkerMixin
from tests.cli.programs import environment
from tests.forked import run_module
from tests.jobs import ended, mark, started
from tests.rq.documented.functions import LONG, begun, break_down
from tests.servers import patient
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis
    from rq.worker import BaseWorker

    from shedder.embedded import EmbeddedServer
    from tests.workers import WorkerProcess, Yard


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
    wait_until(lambda: job.get_status() == JobStatus.FAILED, what="the failure")
    mail.enqueue(mark, marks, "next")
    wait_until(lambda: "next" in ended(marks), what="the next job")


def test_a_job_can_be_stopped(yard: Yard, redis: Redis, mail: Queue, marks: str) -> None:
    """`send_stop_job_command` stops it; it does not come back, in a lane too."""
    yard.start("mail")
    job = begun(mail.low, marks)
    send_stop_job_command(redis, job.id)
    wait_until(lambda: job.get_status() == JobStatus.STOPPED, what="the stop")
    assert [job.id] == mail.low.failed_job_registry.get_job_ids()


# what a worker says of itself


def test_workers_are_listed_with_their_numbers(yard: Yard, redis: Redis, mail: Queue) -> None:
    """`Worker.all`, `count`, by connection and by queue; what ran and failed; `rq info`."""
    worker = yard.start("mail").wait_until_idle(redis)
    mail.enqueue(len, "a")
    mail.low.enqueue(break_down)
    wait_until(lambda: _counts(redis, worker) == (1, 1), what="both jobs")
    assert (1, 1, 0) == (
        Worker.count(connection=redis), Worker.count(queue=mail.low),
        Worker.count(queue=Queue("reports", connection=redis)),
    )  # fmt: skip
    (found,) = Worker.all(queue=mail)
    assert (worker.name, worker.pid) == (found.name, found.pid)
    assert ["mail.critical", "mail.high", "mail", "mail.low"] == found.queue_names()
    assert (True, True) == (found.total_working_time > 0, found.last_heartbeat is not None)


def test_a_worker_tells_what_it_runs(yard: Yard, redis: Redis, mail: Queue, marks: str, tmp_path: Path) -> None:
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
    wait_until(lambda: job.get_status() == JobStatus.STOPPED, what="the stop")
    found.refresh()
    wait_until(lambda: found.get_current_executions(refresh=True) == [], what="no execution")


def test_a_stopped_job_is_not_tried_again(yard: Yard, redis: Redis, mail: Queue, marks: str) -> None:
    """Though it could be retried; it is among the failed ones."""
    yard.start("mail").wait_until_idle(redis)
    job = mail.low.enqueue(mark, marks, "long", LONG, retry=Retry(max=3))
    wait_until(lambda: started(marks) == ["long"], what="the job")
    wait_until(lambda: Job.fetch(job.id, redis).worker_name, what="its worker")
    send_stop_job_command(redis, job.id)
    wait_until(lambda: job.get_status() == JobStatus.STOPPED, what="the stop")
    mail.low.enqueue(mark, marks, "next")
    wait_until(lambda: "next" in ended(marks), what="the next job")
    assert (["long", "next"], 3) == (started(marks), Job.fetch(job.id, redis).retries_left)


def test_a_second_signal_ends_the_job_too(yard: Yard, redis: Redis, mail: Queue, marks: str) -> None:
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

    wait_until(is_over, what="the end")
    assert 0 == worker.wait()
    assert not redis.sismember(f"{RQ_KEY_PREFIX}:workers", worker.key)
    assert [] == ended(marks)


class OurHerokuWorker(WorkerMixin, HerokuWorker):
    """As on Heroku, where a dyno that stops has ten seconds."""

    imminent_shutdown_delay = 1


def test_a_worker_on_heroku_ends_its_job_in_time(yard: Yard, redis: Redis, mail: Queue, marks: str) -> None:
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


def test_rq_info_requeue_and_empty_see_lanes(server: EmbeddedServer, redis: Redis, mail: Queue) -> None:
    """RQ's own command line works on queues of ours."""
    mail.low.enqueue(break_down)
    run_burst(SimpleWorker(["mail"], connection=redis))
    mail.low.enqueue(len, "a")
    assert "mail.low" in _rq(server, "info", "--raw", "--only-queues")
    _rq(server, "requeue", "--all", "--queue", "mail.low", "--queue-class", "shedder.rq.Queue")
    assert 2 == len(mail.low)
    _rq(server, "empty", "mail.low", "--queue-class", "shedder.rq.Queue")
    assert 0 == len(mail.low)


def _rq(server: EmbeddedServer, *words: str) -> str:
    done = run_module("rq.cli", *words, "--url", patient(server.url), env=environment())
    assert 0 == done.returncode, done.stderr
    return done.stdout
