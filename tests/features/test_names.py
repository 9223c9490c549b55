"""Queues whose names are alike, on one server: an order for the one never touches the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import rq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rq.job import Job

from shedder.errors import InvalidInput
from shedder.lanes import PRIORITIES, why_refused
from shedder.rq import Queue, SimpleWorker
from shedder.store.codec import text_of
from shedder.units import Rate
from tests.features.scene import Scene
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

SUFFIXES = (".low", ".normal", ".high", ".low.low", ".normal.low", ":intermediate", ":dropped", ":kept", ".", ":", " ",
            "*", "?", "{}", "-", ",b", "\n", "\u202e", "\u0301", "=1", ".LOW", ":front")  # fmt: skip
BASES = st.sampled_from(["mail", "orders", "a:b", "{a}", "-x", "*", ".low", "low", "a,b", "ü", "a=b", "x" * 500])
ALIKE = st.builds(
    lambda base, one, other: (base + one, base + other),
    BASES, st.sampled_from(("", *SUFFIXES)), st.sampled_from(SUFFIXES),
).filter(lambda pair: pair[0] != pair[1])  # fmt: skip

ORDERS: dict[str, Callable[[Scene, str], object]] = {
    "pause": lambda scene, name: scene.shedder.pause(name, reason="r"),
    "divert": lambda scene, name: scene.shedder.divert(name, reason="r"),
    "limit": lambda scene, name: scene.shedder.limit_starts(name, rate=Rate(1.0, 3600.0), reason="r"),
}


def is_lane_of(name: str, queue: str) -> bool:
    return name in {queue if each == "normal" else f"{queue}.{each}" for each in PRIORITIES}


def state_of(scene: Scene, name: str) -> object:
    """All that is kept of an RQ queue: its lists, its orders and what it may start."""
    keys, redis = scene.keys, scene.redis
    return (scene.waiting(name), scene.backlog(name), redis.hget(keys.pauses, name), redis.hget(keys.diverts, name))


def told(scene: Scene, order: str, name: str) -> set[str]:
    """The lanes that the receipt of an order names; none when it is refused."""
    try:
        receipt: Any = ORDERS[order](scene, name)
    except InvalidInput:
        return set()
    return {lane.lane for lane in receipt.lanes}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=ALIKE, order=st.sampled_from(sorted(ORDERS)))
def test_an_order_for_one_never_touches_the_other(redis: Redis, pair: tuple[str, str], order: str) -> None:
    """An order is refused and changes nothing, or is about what its receipt names: the queue and its lanes."""
    redis.flushall()
    scene, one = Scene(redis), pair[0]
    jobs = {name: scene.stock(name).enqueue("app.mail.send").id for name in pair}
    before = {name: state_of(scene, name) for name in pair}
    named = told(scene, order, one)
    assert bool(named) == (why_refused(one) == "")
    assert all(is_lane_of(name, one) for name in named)
    assert named & set(pair) == {name for name in pair if state_of(scene, name) != before[name]}
    held = {jobs[name] for name in named & set(pair)}
    assert order == "limit" or not named or not held & set(scene.run_all(one))
    shown = [lane.lane for lane in scene.shedder.status().lanes]
    assert len(shown) == len(set(shown))
    assert {name for name in pair if why_refused(name)} == set(scene.shedder.status().refused)
    assert scene.shedder.audit().is_clean


@given(name=BASES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_what_is_paused_under_its_name_starts_nothing(redis: Redis, name: str) -> None:
    """A queue of any name that is served holds its jobs while it is paused, and runs them after."""
    redis.flushall()
    scene = Scene(redis)
    scene.fill(name, "first", how="stock")
    scene.shedder.pause(name, reason="r")
    assert [] == scene.run_all(name)
    scene.shedder.resume(name, reason="r")
    assert ["first"] == scene.run_all(name)


def test_a_normal_lane_is_not_meant_where_rq_has_a_queue_of_that_name(scene: Scene) -> None:
    """`orders.normal` pauses the normal lane of orders, but not while an RQ queue is called so."""
    scene.fill("orders", "own")
    assert ["orders"] == [lane.lane for lane in scene.shedder.pause("orders.normal", reason="r").lanes]
    scene.shedder.resume("orders", reason="r")
    scene.fill("orders.normal", "other", how="stock")
    with pytest.raises(InvalidInput, match=r"rename it, or use the queue orders"):
        scene.shedder.pause("orders.normal", reason="r")
    assert None is scene.redis.hget(scene.keys.pauses, "orders")
    assert ("orders.normal",) == scene.shedder.status().refused
    assert ("orders",) == scene.shedder.queues()


@pytest.mark.parametrize("name", ["orders.normal", "mail.low.low", "mail:intermediate", "a\nb", ""])
def test_producer_and_worker_refuse_what_could_be_meant_for_another(redis: Redis, name: str) -> None:
    """Neither enqueues to nor serves such a queue, and both say what to do; nothing is written."""
    queue = Queue(name, connection=redis)
    for act in (
        lambda: queue.enqueue("app.mail.send"),
        lambda: queue.enqueue_job(Job.create("app.mail.send", connection=redis)),
        lambda: queue.enqueue_many([Queue.prepare_data("app.mail.send")]),
        lambda: SimpleWorker([name], connection=redis),
    ):
        with pytest.raises(InvalidInput, match="is refused"):
            act()  # type: ignore[no-untyped-call]
    assert 0 == redis.dbsize()


def test_what_rq_has_there_stays_in_the_reach_of_rq(redis: Redis) -> None:
    """Our classes list and read queues that are refused, and our worker pushes what waited there."""
    stock = rq.Queue("orders.normal", connection=redis)
    first = rq.Queue("mail", connection=redis).enqueue("time.sleep", 0)
    second = stock.enqueue("time.sleep", 0, depends_on=first)
    assert {"mail", "orders.normal"} == {queue.name for queue in Queue.all(redis)}
    rq.Worker([stock], connection=redis, name="theirs").register_birth()
    assert ["theirs"] == [worker.name for worker in SimpleWorker.all(redis)]
    assert run_burst(SimpleWorker(["mail"], connection=redis))
    assert [second.id] == Queue("orders.normal", connection=redis).job_ids
    assert [second.id] == [text_of(each) for each in redis.lrange("rq:queue:orders.normal", 0, -1)]
