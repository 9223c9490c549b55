"""The provider works with the OpenFeature SDK itself."""

from __future__ import annotations

import logging
import queue

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from shedder.openfeature import ShedderProvider
from tests.waiting import PATIENCE_SECONDS, wait_until

DEGRADED = {"model": "small", "results": 10, "timeout": 0.5, "fields": ["id"], "wrong": "text"}


@pytest.fixture
def client():
    yield api.get_client("shedder")
    api.shutdown()
    api.clear_providers()


def attach(app):
    api.set_provider_and_wait(ShedderProvider(app.flags, degraded=DEGRADED), "shedder")


def test_a_boolean_is_true_while_the_feature_is_on(app, operator, client):
    """A degraded flag is false; one that nobody knows has the caller's default."""
    app.flags.declare("hints")
    attach(app)
    known = client.get_boolean_details("hints", False)
    assert (True, "on", Reason.STATIC) == (known.value, known.variant, known.reason)
    unknown = client.get_boolean_details("other", False)
    assert (False, Reason.DEFAULT) == (unknown.value, unknown.reason)
    operator.degrade_flag("hints", reason="test", force=True)
    wait_until(lambda: not client.get_boolean_value("hints", True))
    assert Reason.DISABLED == client.get_boolean_details("hints", True).reason


def test_the_other_types_have_a_value_for_the_bad_hour(app, operator, client):
    """Text, numbers and objects: the default while on, what was given while degraded."""
    attach(app)
    asks = {
        "model": (client.get_string_value, "large"),
        "results": (client.get_integer_value, 100),
        "timeout": (client.get_float_value, 5.0),
        "fields": (client.get_object_value, ["id", "name"]),
    }
    assert {name: each for name, (_, each) in asks.items()} == {
        name: ask(name, each) for name, (ask, each) in asks.items()
    }
    operator.degrade_flag(*asks, reason="test", force=True)
    wait_until(lambda: not app.flags.enabled("model"))
    assert {name: DEGRADED[name] for name in asks} == {name: ask(name, each) for name, (ask, each) in asks.items()}


def test_a_value_of_another_type_is_an_error_of_the_sdk(app, client):
    """The caller gets the default, and the details say why."""
    attach(app)
    details = client.get_integer_details("wrong", 7)
    assert (7, "TYPE_MISMATCH") == (details.value, details.error_code)


def test_the_targeting_key_decides_about_a_part(app, operator, client):
    """At 50 % one user always gets the same answer, and it is the one of the direct API."""
    attach(app)
    operator.degrade_flag("hints", percent=50, reason="test", force=True)
    wait_until(lambda: app.flags.percent("hints"))
    users = [f"user-{each}" for each in range(50)]
    told = [client.get_boolean_value("hints", True, EvaluationContext(user)) for user in users]
    assert [app.flags.enabled("hints", user) for user in users] == told
    assert {True, False} == set(told)
    assert Reason.SPLIT == client.get_boolean_details("hints", True, EvaluationContext("a")).reason


def test_changes_are_events(app, operator, client):
    """Who listens learns which flags were changed."""
    seen = queue.Queue()
    attach(app)
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, seen.put)
    operator.degrade_flag("hints", reason="test", force=True)
    assert ["hints"] == seen.get(timeout=PATIENCE_SECONDS).flags_changed


def test_a_redis_that_is_back_is_an_event_too(server_factory, connect, client):
    """After STALE comes READY, and the reason is again what it was."""
    server = server_factory()
    app, ready, stale = connect(server.client()), queue.Queue(), queue.Queue()
    app.flags.declare("hints")
    attach(app)
    client.add_handler(ProviderEvent.PROVIDER_STALE, stale.put)
    server.kill()
    stale.get(timeout=PATIENCE_SECONDS)
    assert Reason.STALE == client.get_boolean_details("hints", False).reason
    client.add_handler(ProviderEvent.PROVIDER_READY, ready.put)
    server.restart()
    ready.get(timeout=PATIENCE_SECONDS)
    assert ProviderStatus.READY == client.get_provider_status()
    assert Reason.STATIC == client.get_boolean_details("hints", False).reason


def test_without_redis_the_last_answer_is_stale_and_nothing_raises(server_factory, connect, client, caplog):
    """Redis is killed: same value, reason STALE, one event, no trace in the log."""
    server = server_factory()
    app, stale = connect(server.client()), queue.Queue()
    attach(app)
    client.add_handler(ProviderEvent.PROVIDER_STALE, stale.put)
    connect(server.client()).degrade_flag("hints", reason="test", force=True)
    wait_until(lambda: not client.get_boolean_value("hints", True))
    server.kill()
    stale.get(timeout=PATIENCE_SECONDS)
    details = client.get_boolean_details("hints", True)
    assert (False, Reason.STALE) == (details.value, details.reason)
    assert ProviderStatus.STALE == client.get_provider_status()
    assert [] == [each for each in caplog.records if each.levelno >= logging.ERROR]
