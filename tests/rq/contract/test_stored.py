"""What do we take from RQ's insides, and is it still as we took it?

A new release of RQ that fails here needs a look at the part of `shedder.rq` that the test names.
"""

from __future__ import annotations

import inspect
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis.client
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
from rq import SimpleWorker as StockSimpleWorker
from rq import Worker as StockWorker
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError, NoSuchJobError, StopRequested
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
from rq.worker import BaseWorker, SpawnWorker, WorkerStatus

from shedder.rq import SimpleWorker
from shedder.rq.layout import rq_keys
from shedder.scripts import load_script
from tests import jobs
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

KEYS = rq_keys()


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(thing: Any) -> str:
    return inspect.getsource(thing)


# keys


def test_names_of_keys() -> None:
    """RQ's keys are called as our scripts and readers believe."""
    assert os.environ.get("RQ_KEY_PREFIX", "rq") == RQ_KEY_PREFIX == KEYS.engine.prefix
    assert f"{RQ_KEY_PREFIX}:queue:" == StockQueue.redis_queue_namespace_prefix == KEYS.engine.lists
    assert f"{RQ_KEY_PREFIX}:queues" == StockQueue.redis_queues_keys == KEYS.engine.queues
    assert f"{RQ_KEY_PREFIX}:job:" == Job.redis_job_namespace_prefix == KEYS.engine.jobs
    assert f"{RQ_KEY_PREFIX}:suspended" == rq.suspension.WORKERS_SUSPENDED == KEYS.engine.suspended
    assert f"{RQ_KEY_PREFIX}:worker:" == BaseWorker.redis_worker_namespace_prefix
    assert f"{RQ_KEY_PREFIX}:workers" == rq.worker_registration.REDIS_WORKER_KEYS
    assert f"{RQ_KEY_PREFIX}:workers:%s" == rq.worker_registration.WORKERS_BY_QUEUE_KEY
    assert (
        f"{RQ_KEY_PREFIX}:queue:mail:intermediate"
        == IntermediateQueue.get_intermediate_queue_key(f"{RQ_KEY_PREFIX}:queue:mail")
    )
    assert 31_536_000 == rq.defaults.DEFAULT_FAILURE_TTL


def test_names_of_registries(redis: Redis) -> None:
    """RQ's registries are called as our readers and scripts believe."""
    kinds = {
        StartedJobRegistry: "wip",
        FinishedJobRegistry: "finished",
        FailedJobRegistry: "failed",
        DeferredJobRegistry: "deferred",
        ReadyJobRegistry: "ready",
        ScheduledJobRegistry: "scheduled",
        CanceledJobRegistry: "canceled",
    }
    for kind, name in kinds.items():
        assert f"{RQ_KEY_PREFIX}:{name}:mail.low" == kind("mail.low", connection=redis).key
        assert f"{RQ_KEY_PREFIX}:{name}:mail" == kind.key_template.format("mail")
    assert f"{KEYS.engine.executions}one" == ExecutionRegistry("one", connection=redis).key


def test_names_of_rate_limits(redis: Redis) -> None:
    """RQ's rate limits keep their slots under the names that our scripts build."""
    registry = RateLimitRegistry("tenant", connection=redis)
    assert KEYS.engine.limit_keys == RateLimitRegistry.rl_keys_key
    assert f"{KEYS.engine.limits}tenant" == registry.config_key
    assert f"{KEYS.engine.limits}tenant:allowed" == registry.allowed_key
    assert f"{KEYS.engine.limits}tenant:rate_limited" == registry.rate_limited_key


def test_an_execution_is_a_job_and_an_id(redis: Redis) -> None:
    """RQ's registry of started jobs names an execution `<job>:<execution>`, as the gate does."""
    job = StockQueue("mail", connection=redis).enqueue(jobs.mark)
    with redis.pipeline() as pipeline:
        execution = Execution.create(job, 60, pipeline, worker_name="w1")
        pipeline.execute()
    assert f"{job.id}:{execution.id}" == execution.composite_key
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
    assert {"created_at", "data", "status", "origin", "description", "timeout", "meta"} <= set(
        fields
    )
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
    assert when == rq.utils.utcparse("2026-01-02T03:04:05.678901Z")


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


# queues


def test_methods_of_a_queue_that_we_override() -> None:
    """The methods of RQ's queue that ours overrides or calls have these parameters."""
    usual = ["self", "job", "pipeline", "at_front", "unique"]
    assert usual == parameters(StockQueue.enqueue_job)
    assert usual == parameters(StockQueue._enqueue_job)
    assert usual == parameters(StockQueue._enqueue_async_job)
    assert ["self", "job_id", "pipeline", "at_front"] == parameters(StockQueue.push_job_id)
    assert ["self", "job", "pipeline", "status"] == parameters(StockQueue._persist_job)
    assert ["self", "job"] == parameters(StockQueue._prepare_for_queue)


def test_who_calls_the_methods_of_a_queue() -> None:
    """RQ still goes through the methods that ours overrides."""
    assert "self.enqueue_job(" in source(StockQueue.enqueue_call)
    assert "self._enqueue_job(" in source(StockQueue.enqueue_job)
    assert "self._enqueue_async_job(" in source(StockQueue._enqueue_job)
    assert "self._enqueue_job(" in source(StockQueue.enqueue_many)
    text = source(StockQueue._enqueue_async_job)
    assert "self._prepare_for_queue(" in text
    assert "self._persist_job(" in text
    assert "self.push_job_id(" in text
    assert "self._persist_job(" in source(StockQueue.schedule_job)
    assert "save_unique_job(self.connection, self.key, job" in text
    assert issubclass(DuplicateJobError, Exception)


def test_a_queue_is_its_name(redis: Redis) -> None:
    """A copy of a queue under another name is that other queue."""
    queue = StockQueue("mail", connection=redis)
    assert ("mail", f"{RQ_KEY_PREFIX}:queue:mail") == (queue.name, queue._key)
    queue.name, queue._key = "mail.low", f"{RQ_KEY_PREFIX}:queue:mail.low"
    assert StockQueue("mail.low", connection=redis) == queue
    assert (f"{RQ_KEY_PREFIX}:queue:mail.low", f"{RQ_KEY_PREFIX}:failed:mail.low") == (
        queue.key,
        queue.failed_job_registry.key,
    )


def test_dequeue_any_is_the_only_way_out() -> None:
    """RQ takes ids from a queue's list in one place, which our workers never reach."""
    assert "dequeue_any(" in source(BaseWorker.dequeue_job_and_maintain_ttl)
    callers = [
        name
        for module in (rq.worker.base, rq.worker.worker_classes, rq.queue)
        for name, text in _functions_of(module)
        if "dequeue_any(" in text and name != "Queue.dequeue_any"
    ]
    assert ["BaseWorker.dequeue_job_and_maintain_ttl"] == callers
    assert "blpop(" in source(StockQueue.lpop)
    assert "blmove(" in source(StockQueue.lmove)
    blocking = [
        name
        for module in (rq.worker.base, rq.worker.worker_classes, rq.queue)
        for name, text in _functions_of(module)
        if any(word in text for word in (".blpop(", ".blmove(", ".brpop(", ".blmpop("))
    ]
    assert ["Queue.lpop", "Queue.lmove"] == blocking


# scripts that push by themselves


def test_the_script_of_rate_limits() -> None:
    """RQ's promotion pushes the id and writes the status as our own does."""
    text = rq.rate_limit.ACQUIRE_AND_ENQUEUE_SCRIPT
    for words in (
        "redis.call('ZCARD', KEYS[1]) < concurrency",
        "redis.call('ZPOPMIN', KEYS[2])",
        "redis.call('HMGET', job_key, 'origin', 'status', 'enqueue_at_front')",
        "if origin and status == 'rate_limited' then",
        "redis.call('ZADD', KEYS[1], timestamp, job_id)",
        "redis.call('LPUSH', queue_key_prefix .. origin, job_id)",
        "redis.call('RPUSH', queue_key_prefix .. origin, job_id)",
        "redis.call('HSET', job_key, 'status', 'queued', 'enqueued_at', enqueued_at)",
    ):
        assert words in text, words
    assert rq.rate_limit.RELEASE_AND_ENQUEUE_SCRIPT.startswith("redis.call('ZREM', KEYS[1]")


def test_who_holds_a_slot() -> None:
    """RQ's maintenance leaves a slot to jobs that are queued or started, as we count on."""
    text = source(RateLimitRegistry._release_stale_allowed_jobs)
    assert "(JobStatus.QUEUED, JobStatus.STARTED)" in text
    assert "(JobStatus.QUEUED, JobStatus.STARTED)" in source(rq.rate_limit.release_slot)


def test_the_script_of_unique_jobs() -> None:
    """RQ's unique enqueue refuses when the hash exists, saves it and pushes the id, as ours."""
    text = rq.scripts.UNIQUE_ENQUEUE_SCRIPT
    order = ['"EXISTS", KEYS[1]', '"HSET", KEYS[1]', '"EXPIRE", KEYS[1]', '"RPUSH", KEYS[2]']
    positions = [text.index(words) for words in order]
    assert sorted(positions) == positions


# workers


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("perform_job", ["self", "job", "queue", "execution"]),
        ("execute_job", ["self", "job", "queue"]),
        ("prepare_job_execution", ["self", "job", "remove_from_intermediate_queue"]),
        ("handle_execution_ended", ["self", "job", "queue", "heartbeat_ttl"]),
        (
            "handle_job_failure",
            ["self", "job", "queue", "started_job_registry", "exc_string", "execution"],
        ),
        ("increment_failed_job_count", ["self", "pipeline"]),
        ("increment_successful_job_count", ["self", "pipeline"]),
        ("dequeue_job_and_maintain_ttl", ["self", "timeout", "max_idle_time"]),
        ("check_for_suspension", ["self", "burst"]),
        ("_set_connection", ["self", "connection"]),
        ("set_state", ["self", "state", "pipeline"]),
        ("heartbeat", ["self", "timeout", "pipeline"]),
        ("serialize", ["self"]),
        ("request_stop", ["self", "signum", "frame"]),
        ("_shutdown", ["self"]),
        ("bootstrap", ["self", "logging_level", "date_format", "log_format"]),
        ("teardown", ["self"]),
        ("cleanup_execution", ["self", "job", "pipeline", "execution"]),
        ("reorder_queues", ["self", "reference_queue"]),
        ("get_heartbeat_ttl", ["self", "job", "working_time"]),
        ("get_redis_server_version", ["self"]),
        ("run_maintenance_tasks", ["self"]),
        ("procline", ["self", "message"]),
        ("get_state", ["self"]),
    ],
)
def test_methods_of_a_worker(name: str, wanted: list[str]) -> None:
    """The methods of RQ's worker that ours overrides or calls have these parameters."""
    assert wanted == parameters(getattr(BaseWorker, name))


def test_methods_of_kinds_of_workers() -> None:
    """RQ's kinds of workers have the methods that ours overrides."""
    assert ["self", "job", "queue"] == parameters(SpawnWorker.fork_work_horse)
    assert ["self", "job", "queue"] == parameters(StockWorker.execute_job)
    assert ["self", "job", "queue"] == parameters(StockSimpleWorker.execute_job)


def test_attributes_of_a_worker(redis: Redis) -> None:
    """A worker has the attributes that we read and set."""
    worker = StockSimpleWorker(["mail"], connection=redis)
    for name in (
        "_ordered_queues",
        "_state",
        "_stop_requested",
        "_stopped_job_id",
        "_shutdown_requested_date",
        "connection",
        "death_penalty_class",
        "executions",
        "is_horse",
        "job_class",
        "log",
        "log_job_description",
        "name",
        "queue_class",
        "queues",
        "serializer",
        "should_run_maintenance_tasks",
    ):
        assert hasattr(worker, name), name
    assert {"started", "suspended", "busy", "idle"} == {state.value for state in WorkerStatus}


def test_who_calls_the_methods_of_a_worker() -> None:
    """RQ still calls the methods that ours overrides, where we count on it."""
    work = source(BaseWorker.work)
    for call in (
        "self.bootstrap(",
        "self.check_for_suspension(burst)",
        "if self._stop_requested:",
        "self.dequeue_job_and_maintain_ttl(timeout, max_idle_time)",
        "self.execute_job(job, queue)",
        "except StopRequested:",
        "self.teardown()",
    ):
        assert call in work, call
    assert "connection = self._set_connection(connection)" in source(BaseWorker.__init__)
    assert "self._shutdown()" in source(BaseWorker.request_stop)
    assert "raise StopRequested()" in source(BaseWorker._shutdown)
    assert "self.get_state() == WorkerStatus.BUSY" in source(BaseWorker._shutdown)
    assert "self.set_state(WorkerStatus.STARTED)" in source(BaseWorker.bootstrap)
    assert "mapping=self.serialize()" in source(BaseWorker.register_birth)
    assert "self.perform_job(job, queue, self.execution)" in source(BaseWorker.main_work_horse)
    assert "self.perform_job(job, queue, execution)" in source(StockSimpleWorker.execute_job)
    assert issubclass(StopRequested, Exception)


def test_the_course_of_a_job() -> None:
    """RQ prepares, performs and finishes a job through the methods that ours overrides."""
    text = source(BaseWorker.perform_job)
    order = ["self.prepare_job_execution(", "job.perform()", "self._finalize_success("]
    assert sorted(text.index(call) for call in order) == [text.index(call) for call in order]
    assert "self._finalize_failure(" in text
    for finish in (BaseWorker._finalize_success, BaseWorker._finalize_failure):
        assert "self.handle_execution_ended(" in source(finish)
    assert "self.handle_job_failure(" in source(BaseWorker._finalize_failure)
    assert "self.increment_failed_job_count(" in source(BaseWorker.handle_job_failure)
    assert "self.increment_failed_job_count(" in source(BaseWorker.handle_job_retry)
    assert "self.increment_successful_job_count(" in source(BaseWorker.handle_job_success)


def test_the_course_of_a_child_that_dies() -> None:
    """RQ's worker fails the job of a child that died, in the one method that ours overrides."""
    text = source(StockWorker.monitor_work_horse)
    assert "if ret_val == os.EX_OK:" in text
    assert "job_status not in [JobStatus.FINISHED, JobStatus.FAILED]" in text
    assert "self.handle_job_failure(job, queue=queue, exc_string=exc_string" in text
    assert "self.handle_job_failure(" in source(StockWorker._handle_stopped_job)
    assert "execution = self.prepare_execution(job)" in source(StockWorker.execute_job)


def test_what_is_set_before_a_job_runs() -> None:
    """RQ makes a worker busy in the transaction that registers the execution, before the gate."""
    text = source(rq.executions.prepare_execution)
    assert "Execution.create(" in text
    assert "worker.set_state(WorkerStatus.BUSY, pipeline=pipeline)" in text
    assert ["timeout", "exception", "kwargs"] == parameters(rq.timeouts.BaseDeathPenalty)


def test_what_rq_takes_for_abandoned() -> None:
    """RQ fails or repeats a started job when any of its executions has expired."""
    text = source(StartedJobRegistry.cleanup)
    assert "job.get_status(refresh=False) != JobStatus.STARTED" in text
    assert "pipeline.zremrangebyscore(self.key, 0, score)" in text


def test_the_overridden_methods_run(redis: Redis, marks: str) -> None:
    """A worker of ours that runs a job goes through every method that we override."""
    StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    StockQueue("mail", connection=redis).enqueue(jobs.fail, marks, "b")
    called = set()
    names = [
        "_set_connection",
        "bootstrap",
        "check_for_suspension",
        "dequeue_job_and_maintain_ttl",
        "execute_job",
        "handle_execution_ended",
        "handle_job_failure",
        "heartbeat",
        "increment_failed_job_count",
        "increment_successful_job_count",
        "perform_job",
        "prepare_job_execution",
        "serialize",
        "set_state",
        "teardown",
    ]

    def recorded(name: str) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return getattr(super(Recording, self), name)(*args, **kwargs)

        return method

    body = {name: recorded(name) for name in names}
    Recording: Any = type("Recording", (SimpleWorker,), body)  # noqa: N806
    run_burst(Recording(["mail"], connection=redis))
    assert set(names) == called


# the rest


def test_what_the_command_line_reads() -> None:
    """RQ's command line has the helpers that ours uses to find Redis."""
    assert ["module"] == parameters(rq.cli.helpers.read_config_file)
    assert "settings" in parameters(rq.cli.helpers.get_redis_from_config)


def test_loggers() -> None:
    """RQ's worker logs under the name that the command line expects."""
    assert rq.worker.base.logger is logging.getLogger("rq.worker")


def test_what_a_patient_client_overrides() -> None:
    """redis-py's client and pipeline send everything through the methods that ours overrides."""
    pipeline = redis.client.Pipeline
    assert ["self", "args", "options"] == parameters(redis.client.Redis.execute_command)
    assert ["self", "transaction", "shard_hint"] == parameters(redis.client.Redis.pipeline)
    assert ["self", "raise_on_error"] == parameters(pipeline.execute)
    assert ["self", "args", "options"] == parameters(pipeline.immediate_execute_command)
    assert "self.immediate_execute_command(" in source(pipeline.execute_command)
    assert "self.scripts = set()" in source(pipeline.reset)
    assert "self.command_stack = []" in source(pipeline.reset)


def _functions_of(module: Any) -> list[tuple[str, str]]:
    """The functions that a module defines, those of its classes too, with their source."""
    owners = {"": module, **{f"{name}.": each for name, each in _classes_of(module)}}
    return [
        (f"{prefix}{name}", source(function))
        for prefix, owner in owners.items()
        for name, member in vars(owner).items()
        if inspect.isfunction(function := getattr(member, "__func__", member))
        and function.__code__.co_filename == module.__file__
    ]


def _classes_of(module: Any) -> list[tuple[str, type]]:
    found = inspect.getmembers(module, inspect.isclass)
    return [(name, each) for name, each in found if each.__module__ == module.__name__]
