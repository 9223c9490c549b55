"""The hands of producers and workers: what they do with Redis, without a process for each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest import mock
from uuid import uuid4

import rq
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.utils import utcformat

from shedder.engine.jobs import function_of, texts_of
from shedder.engine.names import rq_keys
from shedder.queues.claims import (
    Claimed,
    Gate,
    HeldClaim,
    NothingClaimed,
    check_diverts,
    claim_from,
    claim_job,
    release_claim,
    start_job,
)
from shedder.rq import Queue
from shedder.store.store import Command, Store

if TYPE_CHECKING:
    from redis import Redis

    from shedder.store.keys import Keys

WORKER = "tester"
EXECUTION_TTL = 600
LONG_AGO = timedelta(hours=2)


class Hands:
    """Producers and workers of one Redis."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._store = Store(redis, rq_keys())
        self._claimed: dict[bytes, Claimed] = {}
        self._executions: dict[str, list[Execution]] = {}

    # producers

    def enqueue(self, how: str, lane: str, job: str, function: str, tenant: str, *, at_front: bool) -> None:
        """Enqueue a job: `ours`, `stock`, or as one of `many` on a pipeline of ours."""
        meta = {"tenant": tenant} if tenant else None
        if how == "many":
            queue = Queue(lane, connection=self._redis)
            data = Queue.prepare_data(function, job_id=job, meta=meta, at_front=at_front)
            queue.enqueue_many([data])
            return
        kind = Queue if how == "ours" else rq.Queue
        kind(lane, connection=self._redis).enqueue(
            function, job_id=job, meta=meta, at_front=at_front, description="app.other.thing()"
        )

    def push(self, lane: str, job: str, *, at_front: bool) -> None:
        """Push the id of a saved job, through a queue of ours."""
        Queue(lane, connection=self._redis).push_job_id(job, at_front=at_front)

    def age(self, job: str) -> None:
        """Let a job have been enqueued long ago."""
        since = utcformat(datetime.now(UTC) - LONG_AGO)
        self._redis.hset(Job.key_for(job), "enqueued_at", since)

    def cancel(self, job: str) -> None:
        self._job(job).cancel()

    def delete(self, job: str) -> None:
        self._job(job).delete()

    def expire(self, job: str) -> None:
        """Its ttl is over: the hash goes, the id stays where it is."""
        self._redis.delete(Job.key_for(job))

    # workers

    def claim(self, lanes: tuple[str, ...], *, at_a_time: int) -> Claimed | NothingClaimed:
        """Claim until there is an answer, with so many jobs and lanes with orders looked at in one call."""

        def ask(first: int) -> Claimed | NothingClaimed:
            return self._store.run(claim_job(self._keys, lanes, worker=WORKER, first=first))

        with mock.patch.multiple("shedder.queues.claims", JOBS_PER_CLAIM=at_a_time, ORDERS_PER_CLAIM=at_a_time):
            while True:
                answer = claim_from(ask)
                if isinstance(answer, Claimed):
                    self._claimed[answer.token] = answer
                if isinstance(answer, Claimed) or not answer.is_again:
                    return answer

    def check(self, token: bytes) -> Gate:
        """Ask about diverts, as a worker does whose claim was not decided."""
        job, held = self._held(token)
        command = check_diverts(self._keys, held, function=function_of(job), meta=texts_of(job))
        return self._store.run(command)

    def start(self, token: bytes) -> Gate:
        """Ask the gate as the process does that is about to run the job."""
        job, held = self._held(token)
        with self._redis.pipeline() as pipeline:
            execution = Execution.create(job, EXECUTION_TTL, pipeline, worker_name=WORKER)
            pipeline.execute()
        gate = self._store.run(self._start_command(job, held, execution.id))
        if gate.verdict == "started":
            self._executions.setdefault(job.id, []).append(execution)
        else:
            self._forget(job, [execution])
        return gate

    def start_again(self, token: bytes) -> Gate:
        """Ask once more, as a client does that lost the first reply."""
        return self._store.run(self._start_command(*self._held(token)))

    def release(self, token: bytes) -> bool:
        """Give a claimed job back; False when it was not ours any more."""
        return self._store.run(release_claim(self._keys, token))

    def job_of(self, token: bytes) -> str:
        """The job of a claim."""
        return self._claimed[token].job_id

    def report(self, token: bytes) -> None:
        """Say that the function runs."""
        self._redis.hdel(self._keys.starting, token)

    def finish(self, job: str) -> None:
        """Do what RQ does when a function has returned."""
        done = self._job(job)
        done.set_status(JobStatus.FINISHED)
        self._forget(done, self._executions.pop(job, []))

    def clean_up(self, job: str) -> None:
        """Do what RQ does with a job whose worker died, before it is enqueued again."""
        dead = self._job(job)
        self._forget(dead, self._executions.pop(job, []))
        dead.set_status(JobStatus.QUEUED)

    def _start_command(self, job: Job, held: HeldClaim, execution: str = "") -> Command[Gate]:
        return start_job(
            self._keys,
            held,
            timestamp=utcformat(datetime.now(UTC)),
            function=function_of(job),
            meta=texts_of(job),
            registry=job.started_job_registry.key,
            execution=execution,
        )

    def _held(self, token: bytes) -> tuple[Job, HeldClaim]:
        claimed = self._claimed[token]
        job = Job(claimed.job_id, connection=self._redis)
        job.restore(dict(claimed.fields))
        return job, HeldClaim(token, claimed.job_id, claimed.lane)

    def _job(self, job: str) -> Job:
        return Job.fetch(job, connection=self._redis)

    def _forget(self, job: Job, executions: list[Execution]) -> None:
        with self._redis.pipeline() as pipeline:
            for execution in executions:
                execution.delete(job, pipeline)
            pipeline.execute()


def new_id() -> str:
    """The id of an operation."""
    return uuid4().hex
