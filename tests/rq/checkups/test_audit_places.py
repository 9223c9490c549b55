"""The audit finds every job, whatever place it is in."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from rq import Queue as StockQueue
from rq.defaults import RQ_KEY_PREFIX
from rq.rate_limit import RateLimit

from shedder.engine.names import rq_keys
from shedder.health.audit import audit
from shedder.queues.pause import park_lane
from shedder.rq import Queue, SimpleWorker
from shedder.store.store import Store
from tests.rq.checkups.asked import look
from tests.rq.given import KEYS, claim, divert, enqueue, pause

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job

    from tests.conftest import ServerFactory


def set_started(redis: Redis, job: Job, seconds_left: float) -> None:
    redis.hset(job.key, "status", "started")
    redis.zadd(f"{RQ_KEY_PREFIX}:wip:{job.origin}", {f"{job.id}:e": time.time() + seconds_left})


def succeed() -> None:
    """What a job does."""


def fail() -> None:
    raise ValueError


def test_an_empty_server_is_clean(redis: Redis) -> None:
    """Where there are no jobs nothing is wrong."""
    report = look(redis)
    assert (0, {}, True) == (report.jobs, report.places, report.is_clean)


def fill_all_places(redis: Redis) -> dict[str, int]:
    """Put jobs into every kind of place; how many are in each."""
    for function in (succeed, succeed, fail):
        Queue("work", connection=redis).enqueue(function)
    SimpleWorker(["work"], connection=redis).work(burst=True)
    fill_places_of_rq(redis)
    enqueue(redis, "kept")
    redis.rename(f"{RQ_KEY_PREFIX}:queue:kept", KEYS.kept("kept"))
    enqueue(redis, "parked", 2)
    pause(redis, "parked")
    Store(redis, rq_keys()).run(park_lane(KEYS, "parked"))
    enqueue(redis, "diverted.high", 5)
    divert(redis, "diverted.high")
    claim(redis, "mail")
    set_started(redis, enqueue(redis, "run")[0], 60)
    set_started(redis, enqueue(redis, "run")[0], -60)
    redis.delete(f"{RQ_KEY_PREFIX}:queue:run")
    return {
        "lane": 10,
        "kept": 1,
        "parked": 2,
        "backlog": 5,
        "claim": 1,
        "started": 2,
        "finished": 2,
        "failed": 1,
        "deferred": 1,
        "scheduled": 1,
        "ready": 1,
        "canceled": 1,
        "rate limited": 2,
        "stock intermediate": 1,
    }


def fill_places_of_rq(redis: Redis) -> None:
    """Put jobs into the places that are there without shedder too."""
    queue = Queue("mail", connection=redis)
    first = enqueue(redis, "mail", 2)
    enqueue(redis, "mail.low", 3)
    enqueue(redis, "other", 4)
    queue.enqueue("app.send", depends_on=first[0])
    queue.enqueue_in(timedelta(hours=1), "app.send")
    for _ in range(3):
        StockQueue("limited", connection=redis).enqueue("app.send", rate_limit=RateLimit("tenant", concurrency=1))
    lost = StockQueue("gone", connection=redis).enqueue("app.send")
    redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail:intermediate", lost.id)
    redis.delete(f"{RQ_KEY_PREFIX}:queue:gone")
    enqueue(redis, "reports", 2)[0].cancel()
    Queue("ready", connection=redis).enqueue("app.send").set_status("ready_to_enqueue")
    redis.zadd(f"{RQ_KEY_PREFIX}:ready:ready", {redis.lpop(f"{RQ_KEY_PREFIX}:queue:ready"): 1})


@pytest.mark.parametrize("window", [1, 2, 1000])
def test_every_job_is_found_in_its_place(redis: Redis, window: int) -> None:
    """Each kind of place is counted, whatever the size of the steps."""
    expected = fill_all_places(redis)
    report = look(redis, window)
    assert expected == report.places
    assert (sum(expected.values()), ((), (), ())) == (report.jobs, (report.nowhere, report.twice, report.dangling))


def test_the_audit_only_reads(server_factory: ServerFactory) -> None:
    """No command of an audit changes anything, and none reads without a bound; nobody else asks this server."""
    redis = server_factory().client()
    fill_all_places(redis)
    look(redis)
    redis.config_resetstat()
    look(redis)
    used = {name.removeprefix("cmdstat_") for name in redis.info("commandstats")}
    bounded = {"lrange", "zrange", "zscan", "sscan", "scan", "hmget", "hkeys", "hgetall"}
    constant = {"time", "smembers", "llen", "evalsha", "config|resetstat"}
    assert set() == used - bounded - constant


def test_jobs_of_a_queue_that_rq_has_forgotten_are_found(redis: Redis) -> None:
    """The lane that a job names as its origin is looked at even when RQ does not list it."""
    enqueue(redis, "mail", 2)
    redis.delete(KEYS.engine.queues)
    report = look(redis)
    assert (True, {"lane": 2}) == (report.is_clean, report.places)


def test_a_divert_that_cannot_be_read_is_named(redis: Redis) -> None:
    """The audit is not clean, whatever else it finds, and calls no job lost that stands in the hidden backlog."""
    enqueue(redis)
    redis.hset(KEYS.diverts, "mail", "nonsense")
    report = look(redis)
    assert (False, 1) == (report.is_clean, len(report.unreadable))
    assert "the diverts of mail" in report.unreadable[0]
    assert not report.nowhere


def test_progress_is_told_up_to_the_end(redis: Redis) -> None:
    """Progress never goes back, never beyond its end, and reaches it."""
    enqueue(redis, "mail", 50)
    told: list[tuple[int, int]] = []
    audit(Store(redis, rq_keys()), window=7, on_progress=lambda *step: told.append(step))
    assert sorted(told) == told
    assert told[-1][0] == told[-1][1] > 50
