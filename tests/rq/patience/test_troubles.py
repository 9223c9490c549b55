"""A worker outlives a Redis that is away, busy, full or read-only, and loses nothing."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rq.job import Job, JobStatus
from rq.rate_limit import RateLimit

from shedder.rq import Queue, SimpleWorker, Worker
from tests import jobs
from tests.rq.patience.troubles import KEYS, SORRY, TROUBLES, Trouble, finish, restarting, wait_for_notice
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from rq.worker import BaseWorker

    from shedder.embedded import EmbeddedServer

LONGER_THAN_A_SLICE = 1.2
KINDS = pytest.mark.parametrize("worker_class", [Worker, SimpleWorker])


@TROUBLES
@KINDS
def test_idle(server: EmbeddedServer, yard: Yard, marks: str, trouble: Trouble, worker_class: type[BaseWorker]) -> None:
    """A worker that was idle when Redis got into trouble takes the next job after it."""
    with server.client() as client:
        worker = yard.start("mail", "reports", worker_class=worker_class, server=server)
        worker.wait_until_idle(client)
    end = time.monotonic() + LONGER_THAN_A_SLICE
    with trouble(server):  # a worker that waits for its bell may not even notice
        wait_until(lambda: SORRY in worker.log.read_text() or time.monotonic() > end)
    with server.client() as client:
        job = Queue("reports", connection=client).low.enqueue(jobs.mark, marks, "a")
        wait_until(lambda: job.get_status() == JobStatus.FINISHED, what=f"the job; {worker}")
    finish(worker)
    assert ["a"] == jobs.started(marks)


@TROUBLES
@KINDS
def test_in_the_middle_of_a_job(
    server: EmbeddedServer, yard: Yard, marks: str, tmp_path: Path, trouble: Trouble, worker_class: type[BaseWorker]
) -> None:
    """A job that runs while Redis gets into trouble ends well, and the jobs behind it run once."""
    hold = str(tmp_path / "go")
    with server.client() as client:
        queue = Queue("mail", connection=client)
        many = [queue.enqueue(jobs.hold, marks, "first", hold).id]
        many += [queue.low.enqueue(jobs.mark, marks, str(number)).id for number in range(3)]
        worker = yard.start("mail", "reports", worker_class=worker_class, server=server)
        wait_until(lambda: jobs.started(marks) == ["first"])
    with trouble(server):
        Path(hold).touch()
        wait_for_notice(worker)
    with server.client() as client:
        wait_until(lambda: len(jobs.ended(marks)) == 4, what=f"all jobs; {worker}")
        finish(worker)
        statuses = {Job.fetch(each, connection=client).get_status() for each in many}
    assert (["first", "0", "1", "2"], {JobStatus.FINISHED}) == (jobs.started(marks), statuses)


@TROUBLES
def test_under_load(
    server: EmbeddedServer, yard: Yard, marks: str, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that are in the middle of everything when trouble comes run each job once."""
    monkeypatch.setattr("shedder.queues.claims.LEASE_MS", 2_000)
    keys = [str(number) for number in range(60)]
    with server.client() as client:
        queue = Queue("mail", connection=client)
        many = queue.enqueue_many([Queue.prepare_data(jobs.mark, (marks, key, 0.005)) for key in keys])
        names = ("mail", "reports")
        kinds = (Worker, SimpleWorker)
        workers = [yard.start(*names, worker_class=kind, server=server) for kind in kinds]
        wait_until(lambda: len(jobs.started(marks)) > 10)
    with trouble(server):
        for worker in workers:
            wait_for_notice(worker)
    with server.client() as client:
        wait_until(lambda: len(jobs.ended(marks)) >= 60, what=f"all jobs; {workers[0]}")
        for worker in workers:
            finish(worker)
        statuses = {Job.fetch(each.id, connection=client).get_status() for each in many}
        assert 0 == client.zcard(KEYS.claims)
    assert (sorted(keys), {JobStatus.FINISHED}) == (sorted(jobs.started(marks)), statuses)


@KINDS
def test_told_to_stop_while_redis_is_away(
    server: EmbeddedServer, yard: Yard, worker_class: type[BaseWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle worker that is told to stop does not wait for ever for a Redis that is away."""
    monkeypatch.setattr("shedder.rq.worker.LAST_PATIENCE_SECONDS", 0.3)
    with server.client() as client:
        worker = yard.start("mail", worker_class=worker_class, server=server)
        worker.wait_until_idle(client)
    server.kill()
    wait_for_notice(worker)
    worker.send(signal.SIGTERM)
    worker.wait()


class ToldWhileItLogs(Worker):
    """A worker that is told to stop in the middle of the line that says that Redis is away."""

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        logging.getLogger("shedder.worker").addHandler(StopsItself())
        super().bootstrap(*args, **kwargs)


class StopsItself(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            if "does not serve us" in record.getMessage():
                os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # noqa: BLE001 - as logging's own handlers do, also with what a signal raises
            self.handleError(record)


def test_told_to_stop_in_the_middle_of_a_log_line(
    server: EmbeddedServer, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logging swallows what the signal raises; the worker stops all the same."""
    monkeypatch.setattr("shedder.rq.worker.LAST_PATIENCE_SECONDS", 0.3)
    with server.client() as client:
        worker = yard.start("mail", worker_class=ToldWhileItLogs, server=server)
        worker.wait_until_idle(client)
        wait_until(lambda: any(each["cmd"] == "blpop" for each in client.client_list()), what="its rest")
    server.kill()
    worker.wait()


def test_rate_limited_jobs_after_a_restart(server: EmbeddedServer, yard: Yard, marks: str) -> None:
    """RQ's own scripts, which a restarted server does not know, lose no rate limited job."""
    with server.client() as client:
        queue = Queue("mail", connection=client)
        limit = RateLimit("tenant", concurrency=1)
        for number in range(6):
            queue.enqueue(jobs.mark, marks, str(number), 0.05, rate_limit=limit)
        worker = yard.start("mail", server=server)
        wait_until(lambda: len(jobs.started(marks)) == 2)
    with restarting(server):
        wait_for_notice(worker)
    wait_until(lambda: len(jobs.ended(marks)) == 6, what=f"all jobs; {worker}")
    finish(worker)
    assert [str(number) for number in range(6)] == sorted(jobs.started(marks))
