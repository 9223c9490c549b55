"""A job that ends the process that is about to run it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from redis.exceptions import OutOfMemoryError
from rq import Retry
from rq.command import send_stop_execution_command
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry

from shedder.engine.names import rq_keys
from shedder.queues.claims import CRASHES_FIELD
from shedder.rq import Queue, SimpleWorker, Worker
from tests import jobs
from tests.rq.claims.kinds import FORKS_AND_NOT, oldest_claim_ms, status_of, waiting
from tests.waiting import wait_until
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from redis import Redis
    from redis.exceptions import RedisError
    from rq.worker import BaseWorker


KEYS = rq_keys()


class HorseDiesBeforeTheGate(Worker):
    """Its child is killed with a job in hand."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class DiesBetweenCrashAndFailure(HorseDiesBeforeTheGate):
    """Is killed itself when it has decided that a job fails, before RQ has written that down."""

    def cleanup_execution(self, *args: Any, **kwargs: Any) -> Any:
        if self._held is None:
            os.kill(os.getpid(), signal.SIGKILL)
        super().cleanup_execution(*args, **kwargs)


def test_a_crash_before_the_start(redis: Redis, yard: Yard, marks: str) -> None:
    """A job whose process died before it started is the first of its lane again."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    worker = yard.start("mail", worker_class=HorseDiesBeforeTheGate, max_jobs=1)
    assert 0 == worker.wait()
    assert [job.id for job in many] == waiting(redis)
    assert (JobStatus.QUEUED, b"1") == (status_of(many[0]), redis.hget(many[0].key, CRASHES_FIELD))
    assert [] == StartedJobRegistry("mail", connection=redis).get_job_ids()
    run_burst(Worker(["mail"], connection=redis))
    assert ["a", "b"] == jobs.started(marks)
    assert None is redis.hget(many[0].key, CRASHES_FIELD)


@pytest.mark.parametrize("retries", [0, 1])
def test_crashes_without_end(redis: Redis, yard: Yard, marks: str, retries: int) -> None:
    """A job fails, or is tried again, when its process died three times before it started."""
    retry = Retry(max=retries) if retries else None
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a", retry=retry)
    assert 0 == yard.start("mail", worker_class=HorseDiesBeforeTheGate, max_jobs=3).wait()
    assert [] == jobs.started(marks)
    assert ([job.id] if retries else []) == waiting(redis)
    assert (JobStatus.QUEUED if retries else JobStatus.FAILED) == status_of(job)
    assert (0 if retries else 1) == len(Queue("mail", connection=redis).failed_job_registry)


def test_killed_while_it_fails_a_job(redis: Redis, yard: Yard, marks: str) -> None:
    """A worker that dies between the third crash of a job and its failure leaves it to RQ."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    redis.hset(job.key, CRASHES_FIELD, 2)
    yard.start("mail", worker_class=DiesBetweenCrashAndFailure, max_jobs=1).wait()
    started = StartedJobRegistry("mail", connection=redis)
    assert (JobStatus.STARTED, [job.id]) == (status_of(job), started.get_job_ids(cleanup=False))
    assert (0, 0) == (redis.zcard(KEYS.claims), redis.hlen(KEYS.starting))
    started.cleanup(timestamp=time.time() + 10_000)
    assert (JobStatus.FAILED, []) == (status_of(job), jobs.started(marks))


def test_an_import_that_kills(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that kills each process which imports its function fails at the third."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "kill")
    queue = Queue("mail", connection=redis)
    deadly = queue.enqueue("tests.rq.deadly.run", marks, "deadly")
    queue.enqueue(jobs.mark, marks, "next")
    assert 0 == yard.start("mail", burst=True).wait()
    assert ("kill\n" * 3, ["next"]) == (imports.read_text(), jobs.started(marks))
    assert JobStatus.FAILED == status_of(deadly)
    assert [deadly.id] == queue.failed_job_registry.get_job_ids()


@pytest.mark.usefixtures("short_lease")
def test_an_import_that_kills_workers(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that kills workers which do not fork fails at the third."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "kill")
    job = Queue("mail", connection=redis).enqueue("tests.rq.deadly.run", marks, "deadly")
    for number in range(3):
        wait_until(lambda: redis.zcard(KEYS.claims) == 0 or oldest_claim_ms(redis) > 100)
        assert -signal.SIGKILL == yard.start("mail", worker_class=SimpleWorker, burst=True).wait()
        assert (JobStatus.STARTED if number == 2 else JobStatus.QUEUED) == status_of(job)
    registry = StartedJobRegistry("mail", connection=redis)
    registry.cleanup(timestamp=time.time() + 1000)
    assert ("kill\n" * 3, JobStatus.FAILED) == (imports.read_text(), status_of(job))
    redis.delete(KEYS.starting)  # the third was killed before it could say that it runs


@FORKS_AND_NOT
def test_an_import_that_exits(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch, worker_class: type[BaseWorker]
) -> None:
    """A module that exits when it is imported fails the job, and the worker goes on."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "exit")
    queue = Queue("mail", connection=redis)
    job = queue.enqueue("tests.rq.deadly.run", marks, "deadly")
    queue.enqueue(jobs.mark, marks, "next")
    assert 0 == yard.start("mail", worker_class=worker_class, burst=True).wait()
    assert (["next"], JobStatus.FAILED) == (jobs.started(marks), status_of(job))


def test_an_import_that_hangs(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that hangs when it is imported is interrupted after the job's timeout."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "hang")
    job = Queue("mail", connection=redis).enqueue("tests.rq.deadly.run", marks, "deadly", job_timeout=1)
    assert 0 == yard.start("mail", worker_class=SimpleWorker, burst=True).wait()
    assert ([], JobStatus.FAILED) == (jobs.started(marks), status_of(job))


def test_stopped_before_the_start(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is stopped while its function is imported is stopped, and does not come back."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "hang")
    job = Queue("mail", connection=redis).enqueue("tests.rq.deadly.run", marks, "a")
    worker = yard.start("mail", burst=True)
    wait_until(lambda: imports.read_text() != "")
    (execution,) = job.get_executions()
    send_stop_execution_command(redis, job.id, execution.id)
    assert 0 == worker.wait()
    assert ([], [], JobStatus.STOPPED) == (jobs.started(marks), waiting(redis), status_of(job))


def test_killed_while_it_runs(redis: Redis, yard: Yard, marks: str, tmp_path: Path) -> None:
    """A job whose process died after its start fails, as with RQ."""
    hold = str(tmp_path / "go")
    job = Queue("mail", connection=redis).enqueue(jobs.hold, marks, "a", hold)
    worker = yard.start("mail", burst=True)
    wait_until(lambda: jobs.started(marks) == ["a"])
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    assert 0 == worker.wait()
    assert (["a"], [], JobStatus.FAILED) == (jobs.started(marks), waiting(redis), status_of(job))


class LosesItsScripts(Worker):
    """Asks the gate just after somebody has flushed the scripts."""

    def _ask_gate(self, *args: Any) -> Any:
        self.connection.script_flush()
        return super()._ask_gate(*args)


class SimplyLosesItsScripts(SimpleWorker):
    """The same in one process."""

    def _ask_gate(self, *args: Any) -> Any:
        self.connection.script_flush()
        return super()._ask_gate(*args)


@pytest.mark.parametrize("worker_class", [LosesItsScripts, SimplyLosesItsScripts])
def test_scripts_that_are_lost_before_the_gate(
    redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]
) -> None:
    """The gate is asked with its text when the server does not know it any more."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    assert 0 == yard.start("mail", worker_class=worker_class, burst=True).wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))


class MeetsAFullServer(SimpleWorker):
    """Asks the gate of a server that is full, until it has been refused once."""

    refusals: ClassVar[list[tuple[bool, int]]] = []

    def _ask_gate(self, job: Job, *args: Any) -> Any:
        bear = self._patience.bear

        def bear_once(error: RedisError, *, seconds: float) -> None:
            if isinstance(error, OutOfMemoryError):
                registry = StartedJobRegistry("mail", connection=self.connection)
                self.refusals.append((job.get_status() == JobStatus.STARTED, registry.count))
                self.connection.config_set("maxmemory", 0)
            bear(error, seconds=seconds)

        self._patience.bear = bear_once  # type: ignore[method-assign]
        self.connection.config_set("maxmemory", 1)
        return super()._ask_gate(job, *args)


def test_a_full_server_starts_no_job_without_rqs_record(
    redis: Redis, marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the gate does and RQ's record of it come together, or neither comes."""
    monkeypatch.setattr(MeetsAFullServer, "refusals", [])
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    try:
        run_burst(MeetsAFullServer(["mail"], connection=redis))
    finally:
        redis.config_set("maxmemory", 0)
    assert [(False, 0)] == MeetsAFullServer.refusals
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))
