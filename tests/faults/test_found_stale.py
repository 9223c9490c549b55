"""What the matrix and the model found about old work, each as small as it can be told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rq.rate_limit import RateLimit
from rq.utils import utcformat

from shedder import Shedder
from shedder.engine.names import rq_keys
from shedder.events import Cause
from shedder.policy.applied import policy_command
from shedder.policy.model import Policy
from shedder.queues.stale import replay, set_aside_all
from shedder.rq import Queue
from shedder.store.store import Store
from shedder.units import Rate
from tests import jobs

if TYPE_CHECKING:
    from redis import Redis

KEYS = rq_keys()
MAIL = KEYS.lane("mail")[0]
CAUSE = Cause("oncall@ops", "x")
DAY = Policy(stale_after=timedelta(days=1))
MOST_SWEPT = 500


def old(redis: Redis, *ids: str) -> None:
    then = utcformat(datetime.now(UTC) - timedelta(days=2))
    for job in ids:
        redis.hset(KEYS.engine.jobs + job, "enqueued_at", then)


def diverted(redis: Redis, *ids: str, rate: Rate | None = None) -> str:
    """A policy that calls jobs stale after a day, and a backlog with these jobs; its order."""
    operator = Shedder(redis)
    operator.policies.apply(DAY, reason="x")
    for job in ids:
        Queue("mail", connection=redis).enqueue(jobs.mark, "nowhere", job, job_id=job)
    order = operator.divert("mail.normal", reason="x").lanes[0].order
    if rate is not None:
        operator.drain("mail.normal", rate=rate, reason="x")
    return order


def test_a_step_of_a_replay_sweeps_a_bounded_number_of_jobs(redis: Redis) -> None:
    """What stock producers pushed meanwhile goes in first, but not all of it in one step."""
    names = [f"a{number}" for number in range(20)]
    order = diverted(redis, *names)
    old(redis, *names)
    assert 20 == set_aside_all(Store(redis, rq_keys()), "mail", order)
    redis.rpush(MAIL, *(f"stock{number}" for number in range(2000)))
    done = Store(redis, rq_keys()).run(replay(KEYS, "mail", CAUSE, operation="o", step=0))
    assert (0 < done.replayed, 20) == (True, done.replayed + done.left)
    assert 2000 - MOST_SWEPT <= redis.llen(MAIL)
    receipt = Shedder(redis).replay_stale("mail", reason="x")
    assert (done.left, 0) == (receipt.replayed, receipt.lanes[0].left)


def test_a_job_that_is_set_aside_gives_its_slot_back(redis: Redis) -> None:
    """A limit of RQ's own is not held by a job that nobody will run until it is replayed."""
    order = diverted(redis, "first", rate=Rate(1, 86400.0))
    limit = RateLimit(key="shop", concurrency=1)
    for job in ("holds", "waits"):
        Queue("mail", connection=redis).enqueue(jobs.mark, "nowhere", job, job_id=job, rate_limit=limit)
    assert [b"holds"] == redis.zrange(f"{KEYS.engine.limits}shop:allowed", 0, -1)
    rest = KEYS.backlog(order, "mail")[1]
    while redis.lmove(MAIL, rest, "LEFT", "RIGHT"):  # as a claim does
        pass
    old(redis, "first", "holds")
    assert 2 == set_aside_all(Store(redis, rq_keys()), "mail", order)
    assert [b"waits"] == redis.zrange(f"{KEYS.engine.limits}shop:allowed", 0, -1)
    assert [b"waits"] == redis.lrange(MAIL, 0, -1)


def test_a_young_job_in_front_keeps_old_ones_from_overtaking(redis: Redis) -> None:
    """What stands behind it is set aside when it is in front, so that the order is kept."""
    order = diverted(redis, "young", "old1")
    front, rest, _ = KEYS.backlog(order, "mail")
    redis.rename(rest if redis.exists(rest) else front, front + "x")
    redis.rename(front + "x", front)
    Queue("mail", connection=redis).enqueue(jobs.mark, "nowhere", "old2", job_id="old2")
    old(redis, "old1", "old2")
    assert [b"old2"] == redis.lrange(rest, 0, -1)
    assert 0 == set_aside_all(Store(redis, rq_keys()), "mail", order)
    old(redis, "young")
    set_aside_all(Store(redis, rq_keys()), "mail", order)
    assert [b"young", b"old1", b"old2"] == redis.lrange(KEYS.stale("mail"), 0, -1)


def test_a_policy_that_was_in_force_already_is_not_applied_later(redis: Redis) -> None:
    """A client that repeats it after somebody has applied another one is told what it was told."""
    store, operator = Store(redis, rq_keys()), Shedder(redis)
    operator.policies.apply(DAY, reason="x")
    again = policy_command(KEYS, DAY, "{}", CAUSE, operation="o", based_on=None)
    first = store.run(again)
    assert "same" == first[0]
    operator.policies.apply(Policy(), reason="x")
    assert first == store.run(again)
    assert Policy() == operator.policies.applied().policy
