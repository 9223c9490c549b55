"""Is a limit exact while operators change it, and does each do what it declares without Redis?"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import limits
import pytest
import redis as redis_package
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from rq.defaults import RQ_KEY_PREFIX

from shedder import LimitExceeded, Rate
from shedder.errors import CannotUndo, InvalidInput, NothingMatched
from shedder.limit_absence import Absence
from shedder.limit_windows import PATIENCE_SECONDS, StableItem, item_of
from tests.cluster import without_cluster
from tests.features.conftest import declared
from tests.roads import Road
from tests.waiting import wait_until

MINUTE = 60


def admitted(app, name="reports", *, tries=300, key="", want=None):
    """How many of `tries` hits are let through."""
    return sum(app.limits.hit(name, key) for _ in range(tries))


def set_and_seen(app, operator, rate, **options):
    """Set a limit, and return when `app` obeys it."""
    receipt = operator.set_limit("reports", Rate.parse(rate), reason="test", force=True, **options)
    name = f"reports {options['key']}" if options.get("key") else "reports"

    def is_seen():
        app.limits.hit("other")
        setting = app._watch.known.limits.get(name)
        return setting is not None and setting.body["rate"] == rate

    wait_until(is_seen, what=f"{rate} in force")
    return receipt


def test_a_limit_that_nobody_set_is_off(app):
    """Without a default and without a setting everything is let through, and nothing counted."""
    app.limits.declare("reports")
    assert 300 == admitted(app)
    assert {} == app.store.connection.hgetall(f"{RQ_KEY_PREFIX}:shedder:limit-hits")


def test_the_default_of_the_code_holds_until_an_operator_sets_another(app, operator):
    """An operator's setting beats the default until it is cleared, and both can be seen."""
    app.limits.declare("reports", default="5/minute", description="nightly PDFs")
    declared(app)
    assert 5 == admitted(app)
    set_and_seen(app, operator, "8/minute")
    assert 3 == admitted(app)
    (limit,) = operator.limit_states()
    assert (Rate(8, 60), Rate(5, 60)) == (limit.rate, limit.default)
    assert (8, 592) == (limit.hits, limit.refusals)
    cleared = operator.clear_limit("reports", reason="fine").limits[0]
    assert (Rate(5, 60), None) == (cleared.rate, cleared.setting)
    wait_until(lambda: not app._watch.known.limits)
    assert 0 == admitted(app)


def test_a_change_of_rate_gives_no_burst(app, operator):
    """100, then 50, then 200 a minute lets 200 through in that minute, not 350."""
    grants = []
    for rate in ("100/minute", "50/minute", "200/minute"):
        set_and_seen(app, operator, rate)
        grants.append(admitted(app))
    assert [100, 0, 100] == grants


def test_a_change_of_period_forgets_nothing_that_counts(app, operator):
    """Hits under a rate a minute still count after a rate a second was in force in between."""
    grants = []
    for rate in ("100/minute", "500/second", "200/minute"):
        set_and_seen(app, operator, rate)
        grants.append(admitted(app))
    assert (100, 300, 0) == tuple(grants)


@without_cluster
def test_the_raw_library_leaks_at_a_change(redis):
    """What we do differently: with `limits` alone each amount has its own counter."""
    storage = RedisStorage("redis://", connection_pool=redis.connection_pool)
    raw = MovingWindowRateLimiter(storage)
    grants = [
        sum(raw.hit(limits.parse(f"{amount}/minute"), "reports") for _ in range(300))
        for amount in (100, 50, 200)
    ]
    assert [100, 50, 200] == grants


@pytest.mark.parametrize(
    ("rate", "amount", "period"),
    [("100/minute", 100, 60), ("0.5/second", 1, 2), ("1.5/minute", 1, 40), ("3/day", 3, 86400)],
)
def test_rates_become_whole_hits_in_whole_seconds(rate, amount, period):
    """A rate below one a second is one in several seconds."""
    item = item_of(Rate.parse(rate))
    assert (amount, period) == (item.amount, item.get_expiry())


@pytest.mark.parametrize(
    ("amount", "processes", "share"),
    [(100, 4, (25, 60)), (100, 1, (100, 60)), (3, 4, (1, 80)), (1, 10, (1, 600))],
)
def test_a_share_is_never_more_than_the_whole(amount, processes, share):
    """Without Redis each of several processes takes its part, less often when it is below one."""
    item = StableItem(amount, 60).shared_by(processes)
    assert share == (item.amount, item.get_expiry())


def test_cost_is_all_or_nothing(app, operator):
    """More than is left counts nothing, and leaves what is left to others."""
    set_and_seen(app, operator, "10/minute")
    grants = [app.limits.hit("reports", cost=cost) for cost in (6, 5, 4, 1)]
    assert [True, False, True, False] == grants
    with pytest.raises(InvalidInput, match="cost"):
        app.limits.hit("reports", cost=0)


def test_each_key_has_its_own_window_and_may_have_its_own_rate(app, operator):
    """A setting for one key beats the one for all, and counts by itself."""
    set_and_seen(app, operator, "5/minute")
    set_and_seen(app, operator, "2/minute", key="tenant=acme")
    grants = [admitted(app, key=key) for key in ("tenant=acme", "tenant=other", "")]
    assert [2, 5, 5] == grants


def test_shadow_refuses_nothing_and_counts_what_it_would(app, operator):
    """Before a limit is switched on, its effect can be seen."""
    set_and_seen(app, operator, "5/minute", shadow=True)
    assert 20 == admitted(app, tries=20)
    (limit,) = operator.limit_states()
    assert (5, 15, True) == (limit.hits, limit.refusals, limit.is_shadow)


def test_threads_and_clients_share_one_window(app, operator, redis, connect):
    """Many at once get no more than one after the other."""
    apps = [app, connect(redis)]
    for each in apps:
        set_and_seen(each, operator, "50/minute")
    with ThreadPoolExecutor(8) as pool:
        grants = list(pool.map(lambda number: apps[number % 2].limits.hit("reports"), range(200)))
    assert 50 == sum(grants)


def test_who_is_refused_learns_when_to_come_again(app, operator):
    """The error has the name, the key, and the seconds until one more is within the rate."""
    set_and_seen(app, operator, "2/minute")
    for _ in range(2):
        app.limits.require("reports", "acme")
    with pytest.raises(LimitExceeded) as caught:
        app.limits.require("reports", "acme")
    assert ("reports", "acme") == (caught.value.limit, caught.value.key)
    assert 60 == pytest.approx(caught.value.retry_after, abs=2)


def test_decorators_and_blocks_run_only_within_the_limit(app, operator):
    """The decorated function gets its key from the arguments; a refused block is not run."""
    set_and_seen(app, operator, "1/minute")
    ran = []

    @app.limits.limited("reports", key=lambda tenant: tenant)
    def report(tenant):
        return tenant

    assert "acme" == report("acme")
    with pytest.raises(LimitExceeded):
        report("acme")
    with app.limits.within("reports"):
        ran.append(1)
    with pytest.raises(LimitExceeded), app.limits.within("reports"):
        ran.append(2)
    assert [1] == ran


def test_coroutines_have_the_same(app, operator):
    """The async twins decide as the others do."""
    set_and_seen(app, operator, "1/minute")

    @app.limits.limited("reports", key=lambda tenant: tenant)
    async def report(tenant):
        return tenant

    async def run():
        grants = [await app.limits.ahit("reports", "a") for _ in range(2)]
        grants.append(await report("b"))
        for refused in (report("b"), app.limits.arequire("reports", "a")):
            with pytest.raises(LimitExceeded):
                await refused
        async with app.limits.awithin("reports", "c"):
            grants.append("c")
        return grants

    assert [True, False, "b", "c"] == asyncio.run(run())


def test_the_operator_can_ask_without_counting(app, operator):
    """What a hit would be told is told, and the hit is not counted."""
    set_and_seen(app, operator, "3/minute")
    admitted(app, tries=2)
    answers = [operator.test_limit("reports") for _ in range(2)]
    assert [(True, 2, 1)] * 2 == [(each.is_within, each.used, each.left) for each in answers]
    admitted(app, tries=1)
    refused = operator.test_limit("reports")
    assert (False, 0) == (refused.is_within, refused.left)
    assert 60 == pytest.approx(refused.retry_after, abs=2)


def test_after_a_lower_rate_the_wait_is_until_one_more_is_within_it(app, operator):
    """10 hits at 10 a minute, then 2 a minute: nine must leave before the next one."""
    set_and_seen(app, operator, "10/minute")
    admitted(app, tries=10)
    set_and_seen(app, operator, "2/minute")
    assert (10, 0) == (operator.test_limit("reports").used, operator.test_limit("reports").left)


def test_undo_sets_the_rate_that_was(app, operator):
    """An undone change leaves the rate before it, and an undone first one leaves none."""
    first = set_and_seen(app, operator, "10/minute")
    second = set_and_seen(app, operator, "20/minute")
    with pytest.raises(CannotUndo):
        operator.undo(first.event, reason="too late")
    assert Rate(10, 60) == operator.undo(second.event, reason="wrong").limits[0].rate
    cleared = operator.clear_limit("reports", reason="over")
    assert Rate(10, 60) == operator.undo(cleared.event, reason="not over").limits[0].rate
    (limit,) = operator.status().limits
    assert "not over" == limit.setting.why


def test_a_setting_ends_by_the_servers_clock(app, operator):
    """A limit with an end is in force until then, and the default holds after it."""
    app.limits.declare("reports", default="100/minute")
    declared(app)
    set_and_seen(app, operator, "1/minute", expires_in=timedelta(milliseconds=400))
    assert 1 == admitted(app, tries=2)
    wait_until(lambda: app.limits.hit("reports"))
    assert () == operator.status().limits


def test_unknown_limits_are_refused(app, operator, redis):
    """A typing error changes nothing and names the nearest."""
    app.limits.declare("reports")
    declared(app)
    for attempt in (operator.clear_limit, lambda name, reason: operator.test_limit(name)):
        with pytest.raises(NothingMatched):
            attempt("report", reason="typo")
    with pytest.raises(NothingMatched) as caught:
        operator.set_limit("report", Rate(1), reason="typo")
    assert ("reports",) == caught.value.found
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:limits")


@pytest.mark.parametrize("bad", ["0/s", "many", "10/fortnight", "-1/s"])
def test_a_rate_that_cannot_be_read_fails_at_its_declaration(app, bad):
    """Not at the first hit, in the middle of the night."""
    with pytest.raises(InvalidInput):
        app.limits.declare("reports", default=bad)


def test_hits_are_counted_when_memory_is_full(server_factory, connect):
    """At maxmemory a limit still limits: an incident is when it is needed."""
    server = server_factory(config={"maxmemory": "1", "maxmemory-policy": "noeviction"})
    app, operator = connect(server.client()), connect(server.client())
    set_and_seen(app, operator, "5/minute")
    assert 5 == admitted(app, tries=20)


RULES = [("open", 20), ("closed", 0), ("local", 5)]


@pytest.mark.parametrize(("rule", "grants"), RULES)
def test_a_killed_server_leaves_each_limit_to_its_rule(
    server_factory, connect, caplog, rule, grants
):
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


def test_a_key_that_is_none_is_no_key(app, operator):
    """A header that was not sent counts like the empty one."""
    set_and_seen(app, operator, "2/minute")
    assert [True, True, False] == [app.limits.hit("reports", key) for key in (None, "", None)]


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


def test_a_change_whose_reply_is_lost_is_one_change(server_factory, connect):
    """The operator's client asks again after a cut: one event, and the rate is in force."""
    server = server_factory(port=0)
    with Road(server.port) as road:
        client = redis_package.Redis(port=road.port, socket_timeout=0.3)
        operator = connect(client)
        operator.store.connection.ping()
        road.is_swallowing = True
        back = threading.Timer(0.2, lambda: setattr(road, "is_swallowing", False))
        back.start()
        receipt = operator.set_limit("reports", Rate(1), reason="test", force=True)
        back.join()
        assert [receipt.event] == [event.id for event in operator.events()]
        client.close()
