"""A limit is exact while operators change it, and they see how it is."""

from __future__ import annotations

import threading
from datetime import timedelta

import limits
import pytest
import redis as redis_package
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from rq.defaults import RQ_KEY_PREFIX

from shedder import Rate
from shedder.errors import CannotUndo, NothingMatched
from tests.cluster import without_cluster
from tests.features.conftest import declared
from tests.features.hits import admitted, set_and_seen
from tests.roads import Road
from tests.waiting import wait_until


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
        sum(raw.hit(limits.parse(f"{amount}/minute"), "reports") for _ in range(300)) for amount in (100, 50, 200)
    ]
    assert [100, 50, 200] == grants


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
    assert "test" == limit.setting.why


def test_a_setting_ends_by_the_servers_clock(app, operator):
    """A limit with an end is in force until then, and the default holds after it."""
    app.limits.declare("reports", default="100/minute")
    declared(app)

    def is_in_force() -> bool:
        set_and_seen(app, operator, "1/minute", expires_in=timedelta(milliseconds=400))
        return admitted(app, tries=2) < 2

    wait_until(is_in_force)
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
