"""Does the audit find every job, each planted fault, and nothing else, on a system at work?"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from queue import Empty
from queue import Queue as Queue_
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rq import Queue as StockQueue
from rq.defaults import RQ_KEY_PREFIX
from rq.rate_limit import RateLimit

from shedder.backlog import divert_lanes
from shedder.controls import park_lane, pause_lanes
from shedder.errors import RecordUnreadable
from shedder.lanes import lane_of
from shedder.records import AuditReport, Cause
from shedder.rq import Queue, SimpleWorker
from shedder.rq.audit import audit
from shedder.rq.claims import Claimed, claim_job, release_claim
from shedder.rq.layout import rq_keys
from shedder.selection import Selection
from shedder.store import Store
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis
    from rq.job import Job

    from shedder.embedded import EmbeddedServer

KEYS = rq_keys()
CAUSE = Cause(by="oncall", why="db at 99 %")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shedder.rq.audit.SECONDS_BETWEEN_LOOKS", 0.01)


def look(redis: Redis, window: int = 1000) -> AuditReport:
    return audit(Store(redis), KEYS, window=window)


def enqueue(redis: Redis, name: str = "mail", count: int = 1, **options: Any) -> list[Job]:
    return [Queue(name, connection=redis).enqueue("app.send", **options) for _ in range(count)]


def divert(redis: Redis, name: str, order: str = "o1") -> None:
    command = divert_lanes(KEYS, [lane_of(name)], Selection(), CAUSE, order=order)
    Store(redis).run(command)


def pause(redis: Redis, name: str) -> None:
    Store(redis).run(pause_lanes(KEYS, [lane_of(name)], CAUSE, operation="op " + name))


def claim(redis: Redis, name: str = "mail") -> Claimed:
    claimed = Store(redis).run(claim_job(KEYS, [name], worker="w"))
    assert isinstance(claimed, Claimed)
    return claimed


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
    Store(redis).run(park_lane(KEYS, "parked"))
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
        StockQueue("limited", connection=redis).enqueue(
            "app.send", rate_limit=RateLimit("tenant", concurrency=1)
        )
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
    assert (sum(expected.values()), ((), (), ())) == (
        report.jobs,
        (report.nowhere, report.twice, report.dangling),
    )


def test_the_audit_only_reads(redis: Redis) -> None:
    """No command of an audit changes anything, and none reads without a bound."""
    fill_all_places(redis)
    look(redis)
    redis.config_resetstat()
    look(redis)
    used = {name.removeprefix("cmdstat_") for name in redis.info("commandstats")}
    bounded = {"lrange", "zrange", "zscan", "sscan", "scan", "hmget", "hkeys", "hgetall"}
    constant = {"time", "smembers", "llen", "evalsha", "config|resetstat"}
    assert set() == used - bounded - constant


def test_a_lost_job_is_found(redis: Redis) -> None:
    """A job that is queued and stands in no list is nowhere."""
    lost, *_ = enqueue(redis, "mail", 3)
    redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail")
    report = look(redis)
    assert ((lost.id,), False) == (report.nowhere, report.is_clean)
    assert (3, {"lane": 2}) == (report.jobs, report.places)


@pytest.mark.parametrize("status", ["started", "scheduled", "deferred", "rate_limited"])
def test_a_job_that_is_missing_in_its_registry_is_nowhere(redis: Redis, status: str) -> None:
    """Whoever is not done with must stand where its status says."""
    (job,) = enqueue(redis)
    redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail")
    job.set_status(status)
    assert (job.id,) == look(redis).nowhere


def test_a_queued_job_that_stands_only_among_the_failed_ones_is_nowhere(redis: Redis) -> None:
    """What a registry says does not count when the status says otherwise."""
    (job,) = enqueue(redis)
    redis.zadd(f"{RQ_KEY_PREFIX}:failed:mail", {redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail"): 1})
    assert (job.id,) == look(redis).nowhere


def test_a_job_whose_worker_died_before_it_started_is_nowhere_in_the_end(redis: Redis) -> None:
    """A stock worker has it in hand for as long as its execution lives, and not longer."""
    (job,) = enqueue(redis)
    redis.delete(f"{RQ_KEY_PREFIX}:queue:mail")
    redis.zadd(f"{RQ_KEY_PREFIX}:wip:mail", {f"{job.id}:e": time.time() + 60})
    report = look(redis)
    assert (True, {"started": 1}) == (report.is_clean, report.places)
    redis.zadd(f"{RQ_KEY_PREFIX}:wip:mail", {f"{job.id}:e": time.time() - 1})
    assert (job.id,) == look(redis).nowhere


@pytest.mark.parametrize("status", ["finished", "failed", "stopped", "canceled", "created"])
def test_a_job_that_is_done_with_needs_no_place(redis: Redis, status: str) -> None:
    """RQ's registries forget jobs before their hashes expire, and that is no loss."""
    (job,) = enqueue(redis)
    redis.delete(f"{RQ_KEY_PREFIX}:queue:mail")
    job.set_status(status)
    place = {"stopped": "failed"}.get(status, status)
    report = look(redis)
    assert (True, 1) == (report.is_clean, report.jobs)
    assert ({place: 1} if status != "created" else {}) == report.places


def test_a_doubled_job_is_found_within_a_list(redis: Redis) -> None:
    """An id that stands twice in a lane is named with the lane."""
    jobs = enqueue(redis, "mail", 5)
    redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail", jobs[1].id)
    for window in (1, 2, 3, 1000):
        report = look(redis, window)
        assert ((jobs[1].id, ("lane mail", "lane mail")),) == report.twice
        assert (5, {"lane": 5}, False) == (report.jobs, report.places, report.is_clean)


def test_a_doubled_job_is_found_across_places(redis: Redis) -> None:
    """An id in a backlog and in a lane, or in hand and in a list, is named with both."""
    (held,) = enqueue(redis)
    claim(redis)
    redis.rpush(KEYS.parked("mail"), held.id)
    (job,) = enqueue(redis, "diverted")
    divert(redis, "diverted")
    redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", job.id)
    assert {
        held.id: ("claim mail", "parked mail"),
        job.id: ("backlog diverted", "lane mail.low"),
    } == dict(look(redis).twice)


def test_a_job_that_is_claimed_twice_is_found(redis: Redis) -> None:
    """Two workers with one job in hand are told, once for each."""
    (job,) = enqueue(redis)
    redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail", job.id)
    claim(redis)
    claim(redis)
    for window in (1, 1000):
        assert ((job.id, ("claim mail", "claim mail")),) == look(redis, window).twice


def test_a_dangling_id_is_found(redis: Redis) -> None:
    """An id whose job has expired is told, and is no fault: the claim skips it."""
    gone, left, *_ = enqueue(redis, "mail", 3)
    divert(redis, "mail")
    redis.delete(gone.key)
    redis.delete(left.key)
    report = look(redis)
    assert tuple(sorted([gone.id, left.id])) == report.dangling
    assert (1, {"backlog": 1}, True) == (report.jobs, report.places, report.is_clean)


def test_jobs_of_a_queue_that_rq_has_forgotten_are_found(redis: Redis) -> None:
    """The lane that a job names as its origin is looked at even when RQ does not list it."""
    enqueue(redis, "mail", 2)
    redis.delete(KEYS.engine.queues)
    report = look(redis)
    assert (True, {"lane": 2}) == (report.is_clean, report.places)


def test_a_divert_that_cannot_be_read_ends_the_audit(redis: Redis) -> None:
    """Who does not know all backlogs must not call a job lost."""
    enqueue(redis)
    redis.hset(KEYS.diverts, "mail", "nonsense")
    with pytest.raises(RecordUnreadable, match="of the diverts of mail"):
        look(redis)


def test_progress_is_told_up_to_the_end(redis: Redis) -> None:
    """Progress never goes back, never beyond its end, and reaches it."""
    enqueue(redis, "mail", 50)
    told: list[tuple[int, int]] = []
    audit(Store(redis), KEYS, window=7, on_progress=lambda *step: told.append(step))
    assert sorted(told) == told
    assert told[-1][0] == told[-1][1] > 50


PLANS = st.lists(
    st.tuples(
        st.sampled_from(["list", "kept", "parked", "backlog"]),
        st.sampled_from(["once", "twice", "gone", "lost"]),
    ),
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(PLANS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_any_mixture_of_faults_is_told_exactly(
    redis: Redis, plan: list[tuple[str, str]], window: int, chance: random.Random
) -> None:
    """Whatever is lost, doubled or gone, and wherever: that is told, and only that."""
    redis.flushall()
    divert(redis, "mail")
    lists = dict(zip(("list", "kept", "parked"), KEYS.lane("mail")[:3], strict=True))
    lists["backlog"] = KEYS.backlog("o1", "mail")[1]
    expected: dict[str, set[str]] = {"once": set(), "twice": set(), "gone": set(), "lost": set()}
    for number, (place, fate) in enumerate(plan):
        expected[fate].add(f"j{number}")
        if fate != "gone":
            redis.hset(
                f"{RQ_KEY_PREFIX}:job:j{number}", mapping={"status": "queued", "origin": "mail"}
            )
        if fate != "lost":
            redis.rpush(lists[place], f"j{number}")
        if fate == "twice":
            redis.rpush(lists[chance.choice(sorted(lists))], f"j{number}")
    report = look(redis, window)
    assert sorted(expected["lost"]) == list(report.nowhere)
    assert sorted(expected["gone"]) == list(report.dangling)
    assert sorted(expected["twice"]) == [job for job, _ in report.twice]


@contextmanager
def at_work(server: EmbeddedServer, *actions: Callable[[Redis], None]) -> Iterator[Counter[str]]:
    """Does each of the actions again and again, from threads with clients of their own."""
    ended = threading.Event()
    done: Counter[str] = Counter()

    def repeat(action: Callable[[Redis], None]) -> None:
        with server.client() as client:
            while not ended.is_set():
                action(client)
                done[action.__name__] += 1

    threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def produce(client: Redis) -> None:
    if client.llen(f"{RQ_KEY_PREFIX}:queue:mail") < 1000:
        Queue("mail", connection=client).enqueue_many(
            [Queue.prepare_data("app.send") for _ in range(5)]
        )


def put_in_front(client: Redis) -> None:
    if client.llen(f"{RQ_KEY_PREFIX}:queue:mail") < 1000:
        Queue("mail", connection=client).enqueue("app.send", at_front=True)


def work(client: Redis) -> None:
    """Claim a job; give it back, start it, or finish and delete it."""
    claimed = Store(client).run(claim_job(KEYS, ["mail"], worker="w"))
    if not isinstance(claimed, Claimed):
        return
    fate = random.random()
    key = f"{RQ_KEY_PREFIX}:job:{claimed.job_id}"
    if fate < 0.3:
        Store(client).run(release_claim(KEYS, claimed.token))
    elif fate < 0.6:
        with client.pipeline() as pipeline:
            pipeline.zrem(KEYS.claims, claimed.token)
            pipeline.delete(key)
            pipeline.execute()
    else:
        with client.pipeline() as pipeline:
            pipeline.zrem(KEYS.claims, claimed.token)
            pipeline.hset(key, "status", "started")
            pipeline.zadd(f"{RQ_KEY_PREFIX}:wip:mail", {f"{claimed.job_id}:e": time.time() + 60})
            pipeline.execute()


orders: Queue_[str] = Queue_()
"""Ids of diverts to come: as many as there may be during one audit."""


def divert_and_restore(client: Redis) -> None:
    """Move the lane to its backlog and back, as whole lists."""
    try:
        order = orders.get(timeout=0.02)
    except Empty:
        return
    divert(client, "mail.high", order)
    time.sleep(random.random() / 20)
    with client.pipeline() as pipeline:
        pipeline.hdel(KEYS.diverts, "mail.high")
        pipeline.rename(KEYS.backlog(order, "mail.high")[1], f"{RQ_KEY_PREFIX}:queue:mail.high")
        pipeline.execute()


@pytest.mark.slow
def test_a_system_at_work_gives_no_false_alarm(redis: Redis, server: EmbeddedServer) -> None:
    """While jobs come, go, turn back and move between lists, only real faults are told."""
    enqueue(redis, "mail.high", 300)
    planted = enqueue(redis, "mail.low", 3)
    redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail.low")
    redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", planted[1].id)
    redis.delete(planted[2].key)
    with at_work(server, produce, put_in_front, work, divert_and_restore) as done:
        for window in (10, 50, 1000):
            before = done.total()
            wait_until(orders.empty, what="the diverts of the last audit")
            for _ in range(2):
                orders.put(uuid4().hex)
            report = look(redis, window)
            assert done.total() > before
            assert (planted[0].id,) == report.nowhere
            assert ((planted[1].id, ("lane mail.low", "lane mail.low")),) == report.twice
            assert (planted[2].id,) == report.dangling
