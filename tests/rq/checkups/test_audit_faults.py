"""The audit tells what is lost, doubled or gone, and nothing else."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rq.defaults import RQ_KEY_PREFIX

from tests.rq.checkups.asked import look
from tests.rq.given import KEYS, claim, divert, enqueue

if TYPE_CHECKING:
    from redis import Redis


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
    assert {held.id: ("claim mail", "parked mail"), job.id: ("backlog diverted", "lane mail.low")} == dict(
        look(redis).twice
    )


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


PLANS = st.lists(
    st.tuples(
        st.sampled_from(["list", "kept", "parked", "backlog"]), st.sampled_from(["once", "twice", "gone", "lost"])
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
            redis.hset(f"{RQ_KEY_PREFIX}:job:j{number}", mapping={"status": "queued", "origin": "mail"})
        if fate != "lost":
            redis.rpush(lists[place], f"j{number}")
        if fate == "twice":
            redis.rpush(lists[chance.choice(sorted(lists))], f"j{number}")
    report = look(redis, window)
    assert sorted(expected["lost"]) == list(report.nowhere)
    assert sorted(expected["gone"]) == list(report.dangling)
    assert sorted(expected["twice"]) == [job for job, _ in report.twice]
