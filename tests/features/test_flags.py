"""Operators' flags reach the application, and stay true when Redis is away."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Shedder
from shedder.errors import CannotUndo, ConditionNotMet, InvalidInput, NothingMatched
from shedder.events import Cause
from shedder.settings.flags import degrade_flags
from tests.features.conftest import declared
from tests.waiting import is_quick, wait_until


def test_a_degraded_feature_is_off_and_a_restored_one_on(app, operator):
    """What an operator sets reaches the application at once."""
    app.flags.declare("search.hints", description="no suggestions", owner="search")
    declared(app)
    receipt = operator.degrade_flag("search.hints", reason="database at 99 %")
    wait_until(lambda: not app.flags.enabled("search.hints"))
    assert "no suggestions" == receipt.flags[0].description
    operator.restore_flag("search.hints", reason="fine")
    wait_until(lambda: app.flags.enabled("search.hints"))


def test_an_unknown_flag_is_refused_with_the_nearest(app, operator, redis):
    """A typing error changes nothing and names what was meant; force sets it all the same."""
    app.flags.declare("search.hints")
    declared(app)
    with pytest.raises(NothingMatched) as caught:
        operator.degrade_flag("search.hint", reason="typo")
    assert ("search.hints",) == caught.value.found
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:flags", f"{RQ_KEY_PREFIX}:shedder:events")
    operator.degrade_flag("search.hint", reason="deployed in a minute", force=True)
    assert not operator.flag_states()[0].is_declared


def test_a_group_goes_as_one(app, operator):
    """One command degrades everything that was declared non-critical, in one event."""
    for name in ("hints", "faces"):
        app.flags.declare(name, group="non-critical")
    app.flags.declare("checkout", group="critical")
    declared(app)
    operator.degrade_flag(group="non-critical", reason="stop the bleeding")
    wait_until(lambda: not app.flags.enabled("hints"))
    assert (False, True) == (app.flags.enabled("faces"), app.flags.enabled("checkout"))
    assert ["flag degrade"] == [event.verb for event in operator.events()]
    operator.restore_flag(group="non-critical", reason="over")
    with pytest.raises(NothingMatched, match="critical"):
        operator.degrade_flag(group="uncritical", reason="typo")


def test_a_group_that_is_too_large_is_refused_as_a_whole(operator, redis):
    """Nobody is left to believe that all of it is degraded when a part is."""
    said = dict.fromkeys([f"f-{each}" for each in range(501)], '{"v": 1, "group": "spare"}')
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:flag-declarations", mapping=said)
    with pytest.raises(ConditionNotMet, match="501"):
        operator.degrade_flag(group="spare", reason="all")
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:flags")


@pytest.mark.parametrize("percent", [0, -1, 100.1, float("nan"), float("inf")])
def test_a_percentage_must_be_one(operator, redis, percent):
    """Percentages outside of what makes sense are refused, and nothing is changed."""
    with pytest.raises(InvalidInput, match="percent"):
        operator.degrade_flag("hints", percent=percent, reason="typo", force=True)
    assert [] == redis.keys("*")


def test_who_comes_later_is_told_what_was_replaced(redis, operator):
    """Nobody's setting is overwritten in silence."""
    other = Shedder(redis, by="second@ops")
    operator.degrade_flag("hints", percent=20, reason="first", force=True)
    (replaced,) = other.degrade_flag("hints", percent=40, reason="second", force=True).replaced
    assert ("oncall@ops", "first", {"percent": 20}) == (replaced.by, replaced.why, replaced.body)


def test_undo_sets_what_stood_before(operator):
    """The undo of a change restores the percentage before it, the undo of the first ends it."""
    first = operator.degrade_flag("hints", percent=20, reason="first", force=True)
    second = operator.degrade_flag("hints", percent=40, reason="second", force=True)
    with pytest.raises(CannotUndo, match="changed"):
        operator.undo(first.event, reason="too late")
    assert 20 == operator.undo(second.event, reason="too much").flags[0].percent
    event = operator.events()[-1]
    assert (second.event, "flag degrade") == (event.undoes, event.verb)
    restored = operator.restore_flag("hints", reason="over")
    assert 20 == operator.undo(restored.event, reason="not over").flags[0].percent


def test_a_replayed_call_is_no_second_change(operator, monkeypatch):
    """A reply that was lost and asked for again gives the first result and one event."""
    monkeypatch.setattr("shedder.settings.setting.new_id", lambda: "same")
    cause = Cause("oncall@ops", "test")
    one, two = (degrade_flags(operator.store, ["hints"], cause, is_forced=True) for _ in range(2))
    assert one == two
    assert 1 == len(operator.events())


def test_time_runs_out_by_the_servers_clock(app, operator):
    """A degradation with an end ends by itself, in the application and in what status says."""
    app.flags.declare("hints")
    declared(app)

    def is_degraded() -> bool:
        if not operator.status().flags:
            operator.degrade_flag("hints", expires_in=timedelta(milliseconds=300), reason="short")
        return not app.flags.enabled("hints")

    wait_until(is_degraded)
    wait_until(lambda: app.flags.enabled("hints"))
    assert () == operator.status().flags
    assert not operator.restore_flag("hints", reason="over already").event


def test_flags_can_be_set_when_memory_is_full(server_factory, connect):
    """At maxmemory with noeviction a feature can be degraded, declared and restored."""
    server = server_factory(config={"maxmemory": "1", "maxmemory-policy": "noeviction"})
    app, operator = connect(server.client()), connect(server.client())
    app.flags.declare("hints")
    declared(app)
    operator.degrade_flag("hints", reason="full")
    wait_until(lambda: not app.flags.enabled("hints"))
    assert operator.undo(reason="fine").event


def test_status_says_what_is_degraded_and_by_whom(app, operator):
    """Degraded features stand in the status; others do not."""
    for name in ("hints", "faces"):
        app.flags.declare(name)
    declared(app)
    operator.degrade_flag("hints", reason="database at 99 %")
    (flag,) = operator.status().flags
    assert ("hints", "oncall@ops", "database at 99 %") == (flag.name, flag.setting.by, flag.setting.why)


def test_a_dead_server_leaves_the_last_known_value(server_factory, connect, caplog):
    """Redis is killed: what was degraded stays so, is marked stale, and is logged once."""
    server = server_factory()
    app = connect(server.client())
    app.flags.enabled("hints")
    connect(server.client()).degrade_flag("hints", reason="test", force=True)
    wait_until(lambda: not app.flags.enabled("hints"))
    with caplog.at_level(logging.WARNING, "shedder.settings"):
        server.kill()
        wait_until(lambda: caplog.records)
        wait_until(lambda: app.flags.age_seconds() > 2)
        assert not app.flags.enabled("hints")
    assert 1 == len(caplog.records)


def test_a_process_that_starts_without_redis_has_the_defaults(server_factory, connect):
    """The first question waits a moment, no longer, and gets what the code says."""
    server = server_factory()
    client = server.client()
    server.kill()

    def start() -> None:
        app = connect(client)
        app.flags.declare("beta", default=False)
        assert (True, False) == (app.flags.enabled("hints"), app.flags.enabled("beta"))
        assert float("inf") == app.flags.age_seconds()

    assert is_quick(start, seconds=1.0)


def test_a_damaged_record_hides_no_other(app, operator, redis):
    """A record that cannot be read is shown as such, and other flags still work."""
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:flags", "bad", "{")
    operator.degrade_flag("hints", reason="test", force=True)
    wait_until(lambda: not app.flags.enabled("hints"))
    assert app.flags.enabled("bad")
    shown = {flag.name: flag for flag in operator.flag_states()}
    assert "cannot be read" in shown["bad"].setting.why
