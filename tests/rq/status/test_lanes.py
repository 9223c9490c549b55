"""The status tells which lanes there are, in which order, and what is in them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rq import Queue as StockQueue
from rq.defaults import RQ_KEY_PREFIX

from shedder.engine.names import rq_keys
from shedder.lanes import Lane, lane_of
from shedder.queues.claims import Claimed, claim_job
from shedder.queues.drain import order_drain
from shedder.selection import Selection
from shedder.status.status import read_status
from shedder.store.store import Store
from shedder.units import Rate
from tests.rq.given import CAUSE, KEYS, divert, enqueue, pause
from tests.rq.status.told import lane, serve, status

if TYPE_CHECKING:
    from redis import Redis


def drain(redis: Redis, name: str, rate: str) -> None:
    Store(redis, rq_keys()).run(order_drain(KEYS, [lane_of(name)], Rate.parse(rate), CAUSE, operation="d"))


def sample(redis: Redis, name: str, age_ms: int, counts: list[int]) -> None:
    now = int(time.time() * 1000)
    redis.rpush(KEYS.series(name), json.dumps([now - age_ms, *counts]))


def test_nothing_is_there(redis: Redis) -> None:
    """An empty server has no lanes, no warnings, and a clock."""
    began = datetime.now(UTC)
    found = status(redis)
    assert ((), (), None, False) == (found.lanes, found.warnings, found.memory_used, found.is_suspended)
    assert began - timedelta(milliseconds=1) <= found.at <= datetime.now(UTC)


def test_a_queue_is_shown_without_its_empty_lanes(redis: Redis) -> None:
    """Of a queue's lanes the normal one is always shown, the others when they have something."""
    enqueue(redis, "mail.low", 3)
    StockQueue("reports", connection=redis).enqueue("app.report")
    redis.lpop(f"{RQ_KEY_PREFIX}:queue:reports")
    shown = [(each.lane, each.queue, each.priority, each.waiting) for each in status(redis).lanes]
    expected = [("mail", "mail", "normal", 0), ("mail.low", "mail", "low", 3), ("reports", "reports", "normal", 0)]
    assert expected == shown


def test_lanes_that_are_asked_for_are_shown_empty_too(redis: Redis) -> None:
    """Who names a queue sees all its lanes, most important first, even unknown ones."""
    names = [each.lane for each in status(redis, "mail").lanes]
    assert ["mail.critical", "mail.high", "mail", "mail.low"] == names


def test_a_control_on_an_unknown_queue_is_shown(redis: Redis) -> None:
    """A queue that RQ has not seen yet can be paused, and that is not hidden."""
    pause(redis, "tomorrow.high")
    assert ["tomorrow.high", "tomorrow"] == [each.lane for each in status(redis).lanes]


def test_jobs_are_counted_where_they_are(redis: Redis) -> None:
    """Waiting, backlog, running and claimed add up, whatever list they stand in."""
    jobs = enqueue(redis, "mail", 9)
    assert isinstance(Store(redis, rq_keys()).run(claim_job(KEYS, ["mail"], worker="w")), Claimed)
    redis.zadd(f"{RQ_KEY_PREFIX}:wip:mail", {f"{jobs[0].id}:e": time.time() + 60, "other:e": time.time() + 60})
    redis.lmove(f"{RQ_KEY_PREFIX}:queue:mail", KEYS.kept("mail"))
    redis.lmove(f"{RQ_KEY_PREFIX}:queue:mail", KEYS.parked("mail"))
    found = lane(redis, "mail")
    assert (8, 0, 1, 1) == (found.waiting, found.backlog, found.running, found.claimed)
    divert(redis, "mail")  # which leaves to the claim what it cannot rename
    found = lane(redis, "mail")
    assert (6, 2, 1, 1) == (found.waiting, found.backlog, found.running, found.claimed)


def test_controls_are_shown(redis: Redis) -> None:
    """Pause, diverts and drain are told with who, why and how far."""
    enqueue(redis, "mail", 2)
    pause(redis, "mail")
    divert(redis, "mail", order="o1", selection=Selection.parse(functions="app.x"))
    divert(redis, "mail", order="o2")
    drain(redis, "mail", "200/second")
    redis.hset(KEYS.drain("o2", "mail"), mapping={"released": 5, "skipped:gone": 1})
    found = lane(redis, "mail")
    assert found.pause is not None
    assert ("oncall", "db at 99 %") == (found.pause.by, found.pause.why)
    some, whole = found.diverts
    assert ("function app.x", 0, True) == (some.selection.describe(), some.backlog, some.is_scanning)
    assert ("every job", 2, False) == (whole.selection.describe(), whole.backlog, whole.is_scanning)
    assert whole.drain is not None
    assert ("200/second", 5, {"gone": 1}) == (str(whole.drain.rate), whole.drain.released, whole.drain.skipped)


def test_a_pause_that_has_run_out_is_not_shown(redis: Redis) -> None:
    """A pause whose time is over does not hold, so it is not told as if it did."""
    pause(redis, "mail", expires_in=timedelta(hours=1))
    assert lane(redis, "mail").pause is not None
    stored = json.loads(redis.hget(KEYS.pauses, "mail") or "")
    redis.hset(KEYS.pauses, "mail", json.dumps({**stored, "until": time.time() * 1000 - 1}))
    assert lane(redis, "mail").pause is None


def test_the_oldest_jobs_are_told(redis: Redis) -> None:
    """The age of lane and backlog is that of their first jobs, in whichever list those stand."""
    first, second, third = enqueue(redis, "mail", 3)
    assert first.enqueued_at == lane(redis, "mail").oldest
    redis.lmove(f"{RQ_KEY_PREFIX}:queue:mail", KEYS.kept("mail"))
    assert first.enqueued_at == lane(redis, "mail").oldest
    redis.delete(KEYS.kept("mail"))
    divert(redis, "mail")
    enqueue(redis, "mail.low")
    assert (None, second.enqueued_at) == (lane(redis, "mail").oldest, lane(redis, "mail").oldest_in_backlog)
    redis.delete(second.key)
    assert lane(redis, "mail").oldest_in_backlog is None
    assert third.enqueued_at is not None


def test_rates_are_told_from_the_oldest_sample_of_a_minute(redis: Redis) -> None:
    """What is there or has started since must have arrived; what ended is counted."""
    enqueue(redis, "mail", 30)
    sample(redis, "mail", 90_000, [0, 0, 0, 0])
    redis.rpush(KEYS.series("mail"), "damaged", "[1]", '["a", 1, 1, 1, 1]')
    sample(redis, "mail", 20_000, [5, 0, 100, 90])
    sample(redis, "mail", 2_000, [30, 0, 155, 140])
    redis.hset(KEYS.meters, mapping={"mail:started": 155, "mail:ended": 140})
    found = lane(redis, "mail")
    assert found.arrivals == pytest.approx(4.0, rel=0.05)
    assert found.completions == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("age_ms", [100, 200_000])
def test_no_rate_is_told_from_a_sample_that_is_too_young_or_too_old(redis: Redis, age_ms: int) -> None:
    """Where nothing is known yet, nothing is told."""
    enqueue(redis, "mail", 3)
    sample(redis, "mail", age_ms, [0, 0, 0, 0])
    found = lane(redis, "mail")
    assert (None, None) == (found.arrivals, found.completions)


def test_no_rate_is_negative_and_none_is_told_of_stock_workers(redis: Redis) -> None:
    """Cancelled jobs are no arrivals; what stock workers do is counted by nobody."""
    enqueue(redis, "mail")
    sample(redis, "mail", 5_000, [50, 0, 0, 0])
    found = lane(redis, "mail")
    assert (0.0, 0.0) == (found.arrivals, found.completions)
    serve(redis, "mail", is_stock=True)
    found = lane(redis, "mail")
    assert (None, None) == (found.arrivals, found.completions)


def test_workers_are_counted_by_what_they_obey(redis: Redis) -> None:
    """Workers of ours and stock ones are told apart."""
    serve(redis, "mail", name="a")
    serve(redis, "mail", name="b")
    serve(redis, "mail", "mail.low", name="c", is_stock=True)
    enqueue(redis, "mail")
    counts = {each.lane: (each.workers, each.stock_workers) for each in status(redis).lanes}
    expected = {"mail.critical": (2, 0), "mail.high": (2, 0), "mail": (2, 1), "mail.low": (2, 1)}
    assert expected == counts


def test_queues_in_trouble_come_first_and_stay_together(redis: Redis) -> None:
    """Warnings, then controls, then age decide; within a queue priority does."""
    serve(redis, "young", "old", "held", "calm", name="ours")
    enqueue(redis, "calm")
    redis.delete(f"{RQ_KEY_PREFIX}:queue:calm")
    enqueue(redis, "old")
    enqueue(redis, "young")
    enqueue(redis, "young.critical")
    pause(redis, "held.low")
    enqueue(redis, "alone.low")
    shown = [each.lane for each in status(redis).lanes if "." not in each.lane or each.waiting]
    expected = ["alone", "alone.low", "held", "old", "young.critical", "young", "calm"]
    assert expected == shown


def test_a_lane_named_twice_is_told_once(redis: Redis) -> None:
    """The same lane under two targets is one lane."""
    assert 1 == len(read_status(Store(redis, rq_keys()), [Lane("mail"), Lane("mail")]).lanes)
