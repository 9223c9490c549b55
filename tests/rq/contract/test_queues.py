"""What we take from the insides of RQ's queues is still as we took it.

A new release of RQ that fails here needs a look at the part of `shedder.rq` that the test names.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

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
from rq.exceptions import DuplicateJobError
from rq.rate_limit import RateLimitRegistry
from rq.worker import BaseWorker

from tests.rq.contract.sources import parameters, source

if TYPE_CHECKING:
    from redis import Redis


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
