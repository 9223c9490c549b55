"""The policy's defaults hold where a command does not say it, and only there."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Rate, Shedder
from shedder.errors import InvalidInput
from shedder.policy.model import Defaults, Policy

HOUR = timedelta(hours=1)


@pytest.fixture
def operator(redis):
    """An operator, after a policy with every default was applied."""
    shedder = Shedder(redis, by="oncall@ops")
    defaults = Defaults(Rate(7.0), pause_for=HOUR, limit_for=2 * HOUR, flag_for=3 * HOUR)
    shedder.policies.apply(Policy(defaults=defaults), reason="setup")
    return shedder


def test_a_drain_without_a_rate_has_that_of_the_policy(invoke, operator, mail):
    """What is typed wins over it; the API does the same."""
    invoke("divert", "mail", "-r", "why")
    assert "7/second" == invoke("drain", "mail", "-r", "why", "--json").json["rate"]
    assert "9/second" == invoke("drain", "mail", "--rate", "9/s", "-r", "why", "--json").json["rate"]
    assert Rate(7.0) == operator.drain("mail", reason="why").rate


def test_a_drain_without_any_rate_is_refused(invoke, redis, mail):
    """The sentence names the option and the policy."""
    done = invoke("drain", "mail", "-r", "why")
    assert 2 == done.code
    assert "drain_rate" in done.err
    with pytest.raises(InvalidInput, match="drain_rate in the policy"):
        Shedder(redis).drain("mail", reason="why")


def test_a_pause_ends_by_itself(invoke, operator, mail):
    """After the policy's time, after what is typed, or never when somebody says `ever`."""

    def lasting(*words):
        done = invoke("pause", "mail", *words, "-r", "why", "--json").json
        until, at = (done[name] and datetime.fromisoformat(done[name]) for name in ("until", "at"))
        return until and until - at

    assert HOUR == lasting()
    assert timedelta(minutes=10) == lasting("--for", "10m")
    assert lasting("--for", "ever") is None


def test_limits_and_flags_end_by_themselves(invoke, operator, mail):
    """Each after its own default."""
    invoke("limit", "set", "calls", "5/s", "--force", "-r", "why")
    invoke("flag", "degrade", "hints", "--force", "-r", "why")
    invoke("limit", "starts", "mail", "--rate", "5/s", "-r", "why")
    (limit,), (flag,) = operator.limit_states(), operator.flag_states()
    assert 2 * HOUR == limit.setting.until - limit.setting.since
    assert 3 * HOUR == flag.setting.until - flag.setting.since
    divert = operator.status("mail").lanes[0].diverts[0]
    assert 2 * HOUR == divert.until - divert.since


def test_a_damaged_policy_stops_no_pause(invoke, operator, redis, mail):
    """The command works without the defaults, and says so."""
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:policy", "1", "{")
    done = invoke("pause", "mail", "-r", "why")
    assert 0 == done.code
    assert "its defaults do not hold" in done.err
    assert operator.status("mail").lanes[0].pause.until is None
    assert any("shedder policy apply --force" in each for each in operator.status().warnings) is (False)
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:policy", "current", "{")
    assert any("shedder policy apply --force" in each for each in operator.status().warnings)
