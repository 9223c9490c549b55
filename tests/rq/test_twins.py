"""A job whose id is in the hands of two workers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rq.executions import Execution

from shedder.engine.names import rq_keys
from shedder.queues.claims import Claimed, HeldClaim, claim_job, start_job
from shedder.rq import Queue
from shedder.store.store import Store
from tests import jobs

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job

KEYS = rq_keys()


def prepared(store: Store, job: Job, worker: str) -> tuple[HeldClaim, str]:
    """A claim by `worker`, and the execution that RQ notes before the gate."""
    claimed = store.run(claim_job(KEYS, ["mail"], worker=worker))
    assert isinstance(claimed, Claimed)
    with store.connection.pipeline() as pipeline:
        execution = Execution.create(job, 90, pipeline, worker_name=worker)
        pipeline.execute()
    return HeldClaim(claimed.token, claimed.job_id, claimed.lane), execution.id


def pass_gate(store: Store, job: Job, held: HeldClaim, execution: str) -> tuple[str, str]:
    command = start_job(
        KEYS,
        held,
        timestamp="2026-01-01T00:00:00.000000Z",
        function="tests.jobs.mark",
        meta={},
        registry=job.started_job_registry.key,
        execution=execution,
    )
    gate = store.run(command)
    return gate.verdict, gate.detail


def test_two_workers_that_both_prepared_a_job(redis: Redis) -> None:
    """Of two workers that hold one job and have both noted an execution, one starts it."""
    store = Store(redis, rq_keys())
    queue = Queue("mail", connection=redis)
    job = queue.enqueue(jobs.mark, "nowhere", "a", job_id="a")
    queue.push_job_id("a")
    first, second = [prepared(store, job, worker) for worker in ("one", "two")]
    assert ("started", "") == pass_gate(store, job, *first)
    assert ("dropped", "twin") == pass_gate(store, job, *second)


def test_a_job_whose_worker_died_after_the_start(redis: Redis) -> None:
    """A job marked as started that nobody runs starts again when its id comes back."""
    store = Store(redis, rq_keys())
    queue = Queue("mail", connection=redis)
    job = queue.enqueue(jobs.mark, "nowhere", "a", job_id="a")
    assert ("started", "") == pass_gate(store, job, *prepared(store, job, "one"))
    redis.delete(f"{KEYS.engine.executions}a")
    queue.push_job_id("a")
    assert ("started", "") == pass_gate(store, job, *prepared(store, job, "two"))
