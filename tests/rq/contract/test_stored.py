"""What RQ stores of jobs, and under which keys, is still as we took it.

A new release of RQ that fails here needs a look at the part of `shedder.rq` that the test names.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import rq.cli.helpers
import rq.defaults
import rq.executions
import rq.queue
import rq.rate_limit
import rq.scripts
import rq.suspension
import rq.timeouts
import rq.utils
import rq.worker
import rq.worker_registration
from rq import Queue as StockQueue
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import NoSuchJobError
from rq.executions import Execution, ExecutionRegistry
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.rate_limit import RateLimit, RateLimitRegistry
from rq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ReadyJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.results import Result
from rq.worker import BaseWorker

from shedder.engine.jobs import JobState, job_of, time_of
from shedder.engine.names import (
    CANCELED,
    DEFERRED,
    FAILED,
    FINISHED,
    READY,
    RESULTS,
    SCHEDULED,
    STARTED,
    WORKER,
    WORKERS,
    intermediate_key,
    rate_limited_key,
    registry_key,
    rq_keys,
    workers_key,
)
from shedder.store.store import load_script
from tests import jobs
from tests.rq.contract.sources import parameters, source

if TYPE_CHECKING:
    from redis import Redis

KEYS = rq_keys()


# keys


def test_names_of_keys() -> None:
    """RQ's keys are called as our scripts and readers believe."""
    assert os.environ.get("RQ_KEY_PREFIX", "rq") == RQ_KEY_PREFIX == KEYS.engine.prefix
    assert f"{RQ_KEY_PREFIX}:queue:" == StockQueue.redis_queue_namespace_prefix == KEYS.engine.lists
    assert f"{RQ_KEY_PREFIX}:queues" == StockQueue.redis_queues_keys == KEYS.engine.queues
    assert f"{RQ_KEY_PREFIX}:job:" == Job.redis_job_namespace_prefix == KEYS.engine.jobs
    assert f"{RQ_KEY_PREFIX}:suspended" == rq.suspension.WORKERS_SUSPENDED == KEYS.engine.suspended
    assert f"{RQ_KEY_PREFIX}:worker:" == BaseWorker.redis_worker_namespace_prefix == WORKER
    assert (
        f"{RQ_KEY_PREFIX}:workers"
        == rq.worker_registration.REDIS_WORKER_KEYS
        == BaseWorker.redis_workers_keys
        == WORKERS
    )
    assert f"{RQ_KEY_PREFIX}:workers:%s" == rq.worker_registration.WORKERS_BY_QUEUE_KEY
    assert f"{RQ_KEY_PREFIX}:workers:mail" == workers_key("mail")
    assert (
        f"{RQ_KEY_PREFIX}:queue:mail:intermediate"
        == IntermediateQueue.get_intermediate_queue_key(f"{RQ_KEY_PREFIX}:queue:mail")
        == intermediate_key("mail")
    )
    assert f"{RQ_KEY_PREFIX}:results:a" == Result.get_key("a") == f"{RESULTS}a"
    assert 31_536_000 == rq.defaults.DEFAULT_FAILURE_TTL


def test_names_of_registries(redis: Redis) -> None:
    """RQ's registries are called as our readers and scripts believe."""
    kinds = {
        StartedJobRegistry: ("wip", STARTED),
        FinishedJobRegistry: ("finished", FINISHED),
        FailedJobRegistry: ("failed", FAILED),
        DeferredJobRegistry: ("deferred", DEFERRED),
        ReadyJobRegistry: ("ready", READY),
        ScheduledJobRegistry: ("scheduled", SCHEDULED),
        CanceledJobRegistry: ("canceled", CANCELED),
    }
    for kind, (name, ours) in kinds.items():
        key = kind("mail.low", connection=redis).key
        assert f"{RQ_KEY_PREFIX}:{name}:mail.low" == key == registry_key(ours, "mail.low")
        assert f"{RQ_KEY_PREFIX}:{name}:mail" == kind.key_template.format("mail")
    assert f"{KEYS.engine.executions}one" == ExecutionRegistry("one", connection=redis).key


def test_names_of_rate_limits(redis: Redis) -> None:
    """RQ's rate limits keep their slots under the names that our scripts build."""
    registry = RateLimitRegistry("tenant", connection=redis)
    assert KEYS.engine.limit_keys == RateLimitRegistry.rl_keys_key
    assert f"{KEYS.engine.limits}tenant" == registry.config_key
    assert f"{KEYS.engine.limits}tenant:allowed" == registry.allowed_key
    assert f"{KEYS.engine.limits}tenant:rate_limited" == registry.rate_limited_key
    assert registry.rate_limited_key == rate_limited_key("tenant")


def test_an_execution_is_a_job_and_an_id(redis: Redis) -> None:
    """RQ's registry of started jobs names an execution `<job>:<execution>`, as the gate does."""
    job = StockQueue("mail", connection=redis).enqueue(jobs.mark)
    with redis.pipeline() as pipeline:
        execution = Execution.create(job, 60, pipeline, worker_name="w1")
        pipeline.execute()
    assert f"{job.id}:{execution.id}" == execution.composite_key
    assert job.id == job_of(execution.composite_key)
    assert [execution.composite_key.encode()] == redis.zrange(job.started_job_registry.key, 0, -1)
    assert [execution.id.encode()] == redis.zrange(f"{RQ_KEY_PREFIX}:executions:{job.id}", 0, -1)


# jobs


def test_statuses_are_a_closed_set() -> None:
    """Our scripts know every status: those in which a job may wait, and all others."""
    assert {
        "created",
        "queued",
        "finished",
        "failed",
        "started",
        "deferred",
        "scheduled",
        "stopped",
        "canceled",
        "ready_to_enqueue",
        "rate_limited",
    } == {status.value for status in JobStatus}
    assert {status.name: status.value for status in JobStatus} == {state.name: state.value for state in JobState}
    text = load_script("claim_job").text
    waiting = {JobStatus.CREATED, JobStatus.QUEUED, JobStatus.STARTED}
    for status in set(JobStatus) - waiting:
        assert f"{status.value} = true" in text, status


def test_fields_of_a_hash(redis: Redis) -> None:
    """A job's hash has the fields that our scripts read, and these are empty in a new one."""
    job = StockQueue("mail", connection=redis).create_job(jobs.mark, meta={"tenant": "acme"})
    fields = job.to_dict()
    assert {name for name, value in fields.items() if value == ""} == {
        "success_callback_name",
        "failure_callback_name",
        "stopped_callback_name",
        "started_at",
        "ended_at",
        "last_heartbeat",
        "worker_name",
        "group_id",
    }
    assert {"created_at", "data", "status", "origin", "description", "timeout", "meta"} <= set(fields)
    assert not [name for name, value in fields.items() if value is None]


def test_a_missing_field_is_an_empty_one(redis: Redis) -> None:
    """RQ reads a job whose empty fields were left out as one that has them."""
    job = StockQueue("mail", connection=redis).enqueue(jobs.mark, "path", key="a", ttl=50)
    whole = Job.fetch(job.id, redis).to_dict()
    empty = [name for name, value in redis.hgetall(job.key).items() if value == b""]
    assert empty
    redis.hdel(job.key, *empty)
    assert whole == Job.fetch(job.id, redis).to_dict()


def test_fields_of_a_rate_limited_job(redis: Redis) -> None:
    """A rate limited job's hash says its key, its concurrency, and whether it goes to the front."""
    queue = StockQueue("mail", connection=redis)
    limit = RateLimit("tenant", concurrency=2)
    job = queue.enqueue(jobs.mark, rate_limit=limit, at_front=True)
    found = redis.hmget(job.key, "rate_limit_key", "rate_limit_concurrency", "enqueue_at_front")
    assert [b"tenant", b"2", b"1"] == found
    assert [job.id.encode()] == redis.zrange(f"{RQ_KEY_PREFIX}:rl:tenant:allowed", 0, -1)


def test_how_a_time_is_written() -> None:
    """RQ writes times as our scripts read and write them."""
    when = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert "2026-01-02T03:04:05.678901Z" == rq.utils.utcformat(when)
    for text in ("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05Z"):
        assert rq.utils.utcparse(text) == time_of(text) == time_of(text.encode())
    assert when == time_of("2026-01-02T03:04:05.678901Z")
    assert [None] * 4 == [time_of(text) for text in (None, "", "soon", b"\xff")]


def test_what_a_start_writes(redis: Redis) -> None:
    """RQ marks a job as started with the fields that the gate writes, and no others."""
    job = StockQueue("mail", connection=redis).create_job(jobs.mark)
    job.save()
    before = redis.hgetall(job.key)
    with redis.pipeline() as pipeline:
        job.prepare_for_execution("w1", pipeline=pipeline)
        pipeline.execute()
    changed = {name for name, value in redis.hgetall(job.key).items() if before.get(name) != value}
    assert {b"status", b"started_at", b"last_heartbeat", b"worker_name"} == changed
    assert "pipeline.persist(job.key)" in source(BaseWorker.prepare_job_execution)


def test_attributes_of_a_job(redis: Redis) -> None:
    """A job has the attributes that we read and set."""
    job = StockQueue("mail", connection=redis).create_job(jobs.mark)
    for name in ("_id", "_status", "_dependency_ids", "has_rate_limit", "enqueued_at", "ttl"):
        assert hasattr(job, name), name
    assert ["raw_data"] == parameters(job.restore)
    assert ["refresh"] == parameters(job.get_status)
    assert ["ttl", "pipeline", "remove_from_queue"] == parameters(job.cleanup)
    with pytest.raises(NoSuchJobError):
        job.restore({})
