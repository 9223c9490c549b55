"""What the matrix found of policy, flags, limits and counts that somebody changed by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shedder import Shedder
from shedder.engine.names import rq_keys
from shedder.errors import RecordUnreadable
from shedder.policy.applied import forget_policy
from shedder.policy.model import Policy
from shedder.rq import Queue
from shedder.units import Rate
from tests import jobs
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

KEYS = rq_keys()
DAMAGED = ("", "x", "[]", "[" * 5000)
RATE = Rate.parse("5/minute")


@pytest.fixture
def operator(redis: Redis) -> Iterator[Shedder]:
    with_settings = Shedder(redis, by="tester")
    yield with_settings
    with_settings.close()


@pytest.mark.parametrize("field", ["number", "1"])
@pytest.mark.parametrize("text", ["x", "[" * 5000])
def test_a_damaged_policy_stops_no_producer(redis: Redis, operator: Shedder, field: str, text: str) -> None:
    """Who asks for it gets a sentence, jobs go in, and another policy can be applied."""
    operator.policies.apply(Policy(stale_after=timedelta(days=1)), reason="x")
    redis.hset(KEYS.policy, field, text)
    forget_policy(redis)
    with pytest.raises(RecordUnreadable):
        operator.policies.applied()
    Queue("mail", connection=redis).enqueue(jobs.mark, "nowhere", "a", job_id="a")
    assert [b"a"] == redis.lrange(KEYS.lane("mail")[0], 0, -1)
    operator.policies.apply(Policy(stale_after=timedelta(days=2)), reason="x")
    assert timedelta(days=2) == operator.policies.applied().policy.stale_after


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_settings_are_told_and_replaced(redis: Redis, operator: Shedder, text: str) -> None:
    """One that cannot be read does not hide the others, and can be set anew."""
    operator.set_limit("reports", RATE, reason="x", force=True)
    for key in (KEYS.limits, KEYS.flags, KEYS.limit_declarations, KEYS.flag_declarations):
        redis.hset(key, "damaged", text)
    redis.hset(KEYS.limit_hits, "reports hits", text)
    assert "reports" in [limit.name for limit in operator.limit_states()]
    operator.set_limit("damaged", RATE, reason="x", force=True)
    assert {"damaged": RATE, "reports": RATE} == {limit.name: limit.rate for limit in operator.limit_states()}


def test_a_damaged_version_of_settings_still_tells_of_a_change(redis: Redis, operator: Shedder) -> None:
    """Whoever follows hears of it, and the change has its event."""
    operator.flags.declare("avatars")
    assert operator.flags.enabled("avatars")
    redis.set(KEYS.settings_version, "x")
    receipt = operator.degrade_flag("avatars", reason="x", force=True)
    assert [receipt.event] == [event.id for event in operator.events(limit=1)]
    wait_until(lambda: not operator.flags.enabled("avatars"), what="the flag")


def test_a_change_of_settings_that_fails_changes_nothing(redis: Redis, operator: Shedder) -> None:
    """Without a journal there is no change."""
    redis.set(KEYS.events, "x")
    with pytest.raises(RecordUnreadable, match=f"{KEYS.events} cannot be read: it is of type"):
        operator.set_limit("reports", RATE, reason="x", force=True)
    assert not redis.exists(KEYS.limits)


@pytest.mark.parametrize("text", ["x", ""])
def test_damaged_hits_are_long_over(redis: Redis, operator: Shedder, text: str) -> None:
    """A window or a count that is no number lets a hit through, and counts it."""
    operator.limits.declare("reports", default=RATE)
    redis.rpush(KEYS.limit_window("reports"), *[text] * 10)
    redis.hset(KEYS.limit_hits, "reports hits", text)
    assert operator.limits.hit("reports")
    operator.set_limit("reports", RATE, reason="x", force=True)
    assert 1 == operator.test_limit("reports").used
    assert b"1" == redis.hget(KEYS.limit_hits, "reports hits")
