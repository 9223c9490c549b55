"""A limit is exact, by whichever way and with whatever key and cost it is asked."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import LimitExceeded, Rate
from shedder.errors import InvalidInput
from shedder.settings.windows import StableItem, item_of
from tests.features.hits import admitted, set_and_seen


def test_a_limit_that_nobody_set_is_off(app):
    """Without a default and without a setting everything is let through, and nothing counted."""
    app.limits.declare("reports")
    assert 300 == admitted(app)
    assert {} == app.store.connection.hgetall(f"{RQ_KEY_PREFIX}:shedder:limit-hits")


@pytest.mark.parametrize(
    ("rate", "amount", "period"),
    [("100/minute", 100, 60), ("0.5/second", 1, 2), ("1.5/minute", 1, 40), ("3/day", 3, 86400)],
)
def test_rates_become_whole_hits_in_whole_seconds(rate, amount, period):
    """A rate below one a second is one in several seconds."""
    item = item_of(Rate.parse(rate))
    assert (amount, period) == (item.amount, item.get_expiry())


@pytest.mark.parametrize(
    ("amount", "processes", "share"), [(100, 4, (25, 60)), (100, 1, (100, 60)), (3, 4, (1, 80)), (1, 10, (1, 600))]
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


@pytest.mark.parametrize("bad", ["0/s", "many", "10/fortnight", "-1/s"])
def test_a_rate_that_cannot_be_read_fails_at_its_declaration(app, bad):
    """Not at the first hit, in the middle of the night."""
    with pytest.raises(InvalidInput):
        app.limits.declare("reports", default=bad)


def test_a_key_that_is_none_is_no_key(app, operator):
    """A header that was not sent counts like the empty one."""
    set_and_seen(app, operator, "2/minute")
    assert [True, True, False] == [app.limits.hit("reports", key) for key in (None, "", None)]
