"""Each limit does what it declares while Redis is away, slow, or full."""

from __future__ import annotations

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import redis as redis_package

from shedder.errors import InvalidInput
from shedder.settings.windows import PATIENCE_SECONDS, Absence
from tests.features.hits import admitted, set_and_seen
from tests.roads import Road
from tests.waiting import wait_until


def test_hits_are_counted_when_memory_is_full(server_factory, connect):
    """At maxmemory a limit still limits: an incident is when it is needed."""
    server = server_factory(config={"maxmemory": "1", "maxmemory-policy": "noeviction"})
    app, operator = connect(server.client()), connect(server.client())
    set_and_seen(app, operator, "5/minute")
    assert 5 == admitted(app, tries=20)


RULES = [("open", 20), ("closed", 0), ("local", 5)]


@pytest.mark.parametrize(("rule", "grants"), RULES)
def test_a_killed_server_leaves_each_limit_to_its_rule(server_factory, connect, caplog, rule, grants):
    """In the middle of hits Redis dies: each limit says what it declared, and the log one line."""
    server = server_factory(port=0)
    app = connect(server.client())
    app.limits.declare("reports", default="5/minute", without_redis=rule)
    assert 5 == admitted(app, tries=10)
    server.kill()
    with caplog.at_level(logging.WARNING, "shedder.limits"):
        assert grants == admitted(app, tries=20)
    assert 1 == len([each for each in caplog.records if each.name == "shedder.limits"])


@pytest.mark.parametrize(("rule", "grants"), RULES)
def test_a_frozen_server_is_asked_by_one_hit(server_factory, connect, rule, grants):
    """A server that does not answer is given up by the first hit, and the others do not wait."""
    server = server_factory(port=0)
    app = connect(server.client(), in_haste=True)
    app.limits.declare("reports", default="5/minute", without_redis=rule)
    app.limits.hit("wake")
    asks = counted_asks(app)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert grants == admitted(app, tries=20)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert 1 == len(asks)


def counted_asks(app):
    """A list that grows by one with each hit that asks Redis; no time passes for the outage."""
    asks, ask = [], app.limits._shared.hit
    app.limits._absence = Absence(lambda: 1.0)
    app.limits._shared.hit = lambda *words: (asks.append(words), ask(*words))[1]
    return asks


def test_a_server_that_comes_back_decides_again(server_factory, connect, caplog):
    """After an outage the shared window goes on where it was, and the log says so once."""
    server = server_factory(port=0)
    app = connect(server.client(), in_haste=True)
    app.limits.declare("reports", default="5/minute")
    wait_until(lambda: not app.limits.hit("reports"), what="all five used")
    with caplog.at_level(logging.WARNING, "shedder.limits"):
        os.kill(server.pid, signal.SIGSTOP)
        assert app.limits.hit("reports")
        os.kill(server.pid, signal.SIGCONT)
        wait_until(lambda: not app.limits.hit("reports"))
    said = ["without" in each.message for each in caplog.records if each.name == "shedder.limits"]
    assert [True, False] * (len(said) // 2) == said != []


@pytest.fixture
def road(server_factory):
    with Road(server_factory(port=0).port) as made:
        yield made


@pytest.fixture
def far(road, connect):
    """An application at the end of the road."""
    with closing(redis_package.Redis(port=road.port)) as client:
        yield connect(client, in_haste=True)


def test_a_slow_road_is_decided_as_declared(far, road):
    """Replies that come too late are as good as none: the rule holds, and one hit waits."""
    far.limits.declare("reports", default="1000/minute", without_redis="closed")
    far.limits.hit("reports")
    asks = counted_asks(far)
    road.delay_seconds = 0.4
    assert 0 == admitted(far, tries=10)
    assert 1 == len(asks)


def test_replies_of_a_handshake_share_one_bound(far, road):
    """Each of them would come in time, but all together do not: that is not waited for."""
    far.limits.declare("reports", default="1000/minute", without_redis="closed")
    road.delay_seconds = 0.6 * PATIENCE_SECONDS
    assert not far.limits.hit("reports")


def test_more_threads_than_redis_py_has_connections_by_itself(app, operator):
    """A hundred that ask at once are no outage."""
    set_and_seen(app, operator, "1000/minute")
    pool = app.limits._shared._client.connection_pool
    busy = [pool.get_connection() for _ in range(120)]
    app.limits._absence.note_away = pytest.fail
    try:
        assert app.limits.hit("reports")
    finally:
        for connection in busy:
            pool.release(connection)


@pytest.mark.parametrize("way", ["cut", "half close"])
def test_a_road_that_is_cut_in_the_middle_of_hits_raises_nothing(far, road, way):
    """Hits of several threads go on while connections break; never more than rate and rule."""
    far.limits.declare("reports", default="50/minute", without_redis="closed")
    far.limits.hit("reports")
    with ThreadPoolExecutor(4) as pool:
        hits = [pool.submit(far.limits.hit, "reports") for _ in range(100)]
        road.is_swallowing = way == "half close"
        road.cut() if way == "cut" else None
        granted = sum(each.result() for each in hits)
    assert granted < 50
    road.is_swallowing = False
    road.cut()
    window = far.keys.limit_window("reports")
    wait_until(
        lambda: admitted(far, tries=60) < 60 and far.store.connection.llen(window) == 50,
        what="all 50 hits let through, and no more",
    )
    assert 0 == admitted(far, tries=60)


def test_a_window_of_another_type_is_no_outage(app, operator, caplog):
    """What the server refuses for one limit leaves the others counted by it."""
    app.limits.declare("reports", default="1/hour", without_redis="open")
    app.limits.declare("exports", default="1/hour", without_redis="open")
    assert app.limits.hit("reports")
    (window,) = operator.store.connection.scan_iter("*:limit-window:*")
    operator.store.connection.delete(window)
    operator.store.connection.set(window, "by hand")
    with caplog.at_level(logging.WARNING, "shedder.limits"):
        assert 20 == admitted(app, tries=20)
        assert (True, False) == (app.limits.hit("exports"), app.limits.hit("exports"))
        operator.store.connection.delete(window)
        assert (True, False) == (app.limits.hit("reports"), app.limits.hit("reports"))
    said = ["the limit reports cannot be counted", "the limit reports is counted again"]
    assert said == [each.getMessage().partition(":")[0] for each in caplog.records]


@pytest.mark.parametrize("cost", [0.5, 2.5, float("nan"), "2", None, 0, -1, 10_001, True])
def test_a_cost_that_cannot_be_counted_opens_no_limit(app, cost):
    """It is refused before the server is asked, and what follows is counted."""
    app.limits.declare("reports", default="1/hour", without_redis="open")
    with pytest.raises(InvalidInput, match="whole number"):
        app.limits.hit("reports", cost=cost)
    assert (True, False) == (app.limits.hit("reports"), app.limits.hit("reports"))


@pytest.mark.parametrize(
    ("key", "accepted"),
    [("x" * 10_000_000, "at most 10,000 characters"), (5, "text"), (b"acme", "text"), ("acme\ud800", "text")],
    ids=["ten megabytes", "number", "bytes", "half a character"],
)
def test_a_key_that_cannot_be_counted_opens_no_limit(app, key, accepted):
    """It is no name of somebody, and no outage."""
    app.limits.declare("reports", default="1/hour", without_redis="open")
    with pytest.raises(InvalidInput, match=accepted):
        app.limits.hit("reports", key=key)
    assert (True, False) == (app.limits.hit("reports"), app.limits.hit("reports"))


def test_what_the_client_refuses_to_send_is_no_outage(app, monkeypatch):
    """Of the hit that it was only this limit is open, and the next one is counted."""
    app.limits.declare("reports", default="1/hour", without_redis="open")
    app.limits.declare("exports", default="1/hour", without_redis="closed")
    with monkeypatch.context() as patch:
        patch.setattr("shedder.settings.windows._FORGOTTEN_PER_HIT", None)
        assert (True, False) == (app.limits.hit("reports"), app.limits.hit("exports"))
    assert (True, False) == (app.limits.hit("reports"), app.limits.hit("reports"))
    assert app.limits.hit("exports")
