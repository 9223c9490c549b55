"""A job that nobody can read, or that a control has met, in the hands of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from rq.job import JobStatus
from rq.registry import StartedJobRegistry

from shedder.rq import Queue
from tests import jobs
from tests.rq.claims.kinds import ALL_KINDS, FORKS_AND_NOT, status_of, waiting
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis
    from rq.worker import BaseWorker

    from shedder.api.shedder import Shedder


@pytest.mark.parametrize(
    ("field", "value"), [("status", "of another world"), ("timeout", "soon"), ("created_at", "yesterday")]
)
@FORKS_AND_NOT
def test_a_hash_that_cannot_be_read(
    redis: Redis, marks: str, field: str, value: str, worker_class: type[BaseWorker]
) -> None:
    """A job whose hash makes no sense is set aside among the failed, and the next one runs."""
    queue = Queue("mail", connection=redis)
    odd = queue.enqueue(jobs.mark, marks, "odd")
    queue.enqueue(jobs.mark, marks, "next")
    redis.hset(odd.key, field, value)
    run_burst(worker_class(["mail"], connection=redis))
    assert (["next"], []) == (jobs.started(marks), waiting(redis))
    assert [odd.id] == queue.failed_job_registry.get_job_ids()
    assert b"failed" == redis.hget(odd.key, "status")


@FORKS_AND_NOT
def test_data_that_cannot_be_read(redis: Redis, marks: str, worker_class: type[BaseWorker]) -> None:
    """A job whose data cannot be deserialized fails, as with RQ, and the next one runs."""
    queue = Queue("mail", connection=redis)
    odd = queue.enqueue(jobs.mark, marks, "odd")
    queue.enqueue(jobs.mark, marks, "next")
    redis.hset(odd.key, "data", b"no pickle")
    run_burst(worker_class(["mail"], connection=redis))
    assert (["next"], JobStatus.FAILED) == (jobs.started(marks), status_of(odd))
    assert [odd.id] == queue.failed_job_registry.get_job_ids()


@FORKS_AND_NOT
def test_a_function_that_does_not_exist(redis: Redis, marks: str, worker_class: type[BaseWorker]) -> None:
    """A job whose function cannot be imported fails, as with RQ, and the next one runs."""
    queue = Queue("mail", connection=redis)
    odd = queue.enqueue("no.such.function", marks)
    queue.enqueue(jobs.mark, marks, "next")
    run_burst(worker_class(["mail"], connection=redis))
    assert (["next"], JobStatus.FAILED) == (jobs.started(marks), status_of(odd))


@ALL_KINDS
def test_paused_between_claim_and_start(
    redis: Redis, operator: Shedder, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A job that was claimed before a pause and would start after it goes back to the front."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    worker: Any = worker_class(["mail"], connection=redis)
    worker.register_birth()
    found = worker.dequeue_job_and_maintain_ttl(None)
    operator.pause("mail", reason="a test")
    worker.execute_job(*found)
    assert ([], [job.id for job in many]) == (jobs.started(marks), waiting(redis))
    assert [] == StartedJobRegistry("mail", connection=redis).get_job_ids()


@ALL_KINDS
def test_diverted_between_claim_and_start(
    redis: Redis, operator: Shedder, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A job that was claimed before a divert and would start after it is first in the backlog."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    worker: Any = worker_class(["mail"], connection=redis)
    worker.register_birth()
    found = worker.dequeue_job_and_maintain_ttl(None)
    operator.divert("mail", reason="a test")
    worker.execute_job(*found)
    assert ([], []) == (jobs.started(marks), waiting(redis))
    operator.drain_at_once("mail", reason="a test")
    assert [job.id for job in many] == waiting(redis)
