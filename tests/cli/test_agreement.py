"""`status`, `check` and `doctor` say the same of the same thing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from shedder import Rate, Shedder
from shedder.engine.names import rq_keys
from shedder.policy.model import Policy
from shedder.rq import Queue, Worker

KEYS = rq_keys()
HOUR_MS = 3_600_000


@pytest.fixture
def operator(redis):
    return Shedder(redis, by="oncall@ops")


def told(invoke):
    """What `status` warns of, and what `check` says is wrong."""
    status = invoke("status", "--json").json
    warnings = [*status["warnings"], *(text for lane in status["lanes"] for text in lane["warnings"])]
    return " ".join(warnings), invoke("check").out


def make_old(redis, key, name, *, hours, part=None):
    stored = json.loads(redis.hget(key, name))
    first = stored[0] if isinstance(stored, list) else stored
    first["since"] -= hours * HOUR_MS
    if part in first:
        first[part]["since"] = first["since"] + 2 * hours * HOUR_MS
    redis.hset(key, name, json.dumps(stored))


@pytest.mark.parametrize("terms", [{"rate": Rate(1, 3600.0)}, {"most": 1}])
def test_jobs_under_a_limit_need_a_worker(invoke, operator, redis, mail, terms):
    """Jobs that wait under a limit on starts, and that no worker serves, are told by both."""
    operator.limit_starts("mail", reason="r", **terms)
    redis.delete(f"{KEYS.engine.lists}mail", f"{KEYS.engine.lists}mail.low")
    for said in (*told(invoke), invoke("doctor").out):
        assert "mail has 3 jobs and no worker" in said
        assert "an autoscaler that looks at it starts none" in said


def test_a_backlog_that_stays_needs_no_worker(invoke, operator, mail):
    """What is diverted waits for a drain; beside a limit only what waits under that is counted."""
    operator.divert("mail", reason="r")
    for said in told(invoke):
        assert "no worker" not in said


def test_a_forgotten_flag_is_told_by_both(invoke, operator, redis):
    """A flag that is degraded, and a limit in code that is set, for more than a day."""
    operator.degrade_flag("hints", reason="r", force=True)
    operator.set_limit("search", Rate(5), reason="r", force=True)
    make_old(redis, KEYS.flags, "hints", hours=25)
    make_old(redis, KEYS.limits, "search", hours=25)
    for said in told(invoke):
        assert "hints has been degraded for 1d 1h by oncall@ops" in said
        assert "search has been set for 1d 1h by oncall@ops" in said


def test_an_old_limit_on_starts_is_no_divert(invoke, operator, redis):
    """Both call it a limit."""
    redis.sadd(KEYS.engine.queues, f"{KEYS.engine.lists}mail")
    operator.limit_starts("mail", rate=Rate(1), reason="r")
    make_old(redis, KEYS.diverts, "mail", hours=25)
    for said in told(invoke):
        assert "mail has been limited for 1d 1h by oncall@ops" in said


def test_a_divert_that_drains_is_not_forgotten(invoke, operator, redis, mail):
    """Who has ordered the drain lately has thought of it."""
    Worker(["mail"], connection=redis).register_birth()
    operator.divert("mail", reason="r")
    make_old(redis, KEYS.diverts, "mail", hours=25)
    assert all("mail has been diverted" in said for said in told(invoke))
    operator.drain("mail", rate=Rate(1, 3600.0), reason="r")
    assert not any("mail has been diverted" in said for said in told(invoke))


@pytest.mark.parametrize("kind", ["pauses", "diverts"])
def test_a_record_that_cannot_be_read_is_told_by_all(invoke, operator, redis, mail, kind):
    """It stops its lane, so a monitor is told, in the sentence of status and doctor."""
    redis.hset(getattr(KEYS, kind), "mail", "garbage")
    for said in (*told(invoke), " ".join(invoke("doctor").out.split())):
        assert f"the record of the {kind.rstrip('s')}" in said
        assert "no job of mail starts until the newest shedder in use here has changed it" in said


def test_a_policy_that_cannot_be_read_is_told_by_both(invoke, operator, redis):
    """Nobody knows then what is late, so that all is well cannot be said."""
    operator.policies.apply(Policy(), reason="setup")
    redis.hset(KEYS.policy, "current", "garbage")
    for said in told(invoke):
        assert "the record of the policy" in said


def test_an_unreadable_pause_may_have_parked_its_jobs(invoke, operator, redis, mail):
    """Of jobs out of the reach of stock workers nobody says then that nothing is paused."""
    redis.rename(f"{KEYS.engine.lists}mail", KEYS.parked("mail"))
    redis.hset(KEYS.pauses, "mail", "garbage")
    assert "nothing is paused" not in told(invoke)[0]


def test_overdue_jobs_are_told_by_all(invoke, redis):
    """Nobody runs the scheduler: status, check, doctor and triage say so, and what to type."""
    Queue("mail", connection=redis).enqueue_at(datetime.now(UTC) - timedelta(minutes=5), "time.time")
    status, check = told(invoke)
    triage = invoke("triage")
    for said in (status, check, " ".join(invoke("doctor").out.split()), " ".join(triage.out.split())):
        assert "1 job of mail is overdue since " in said
        assert "no scheduler runs for it: start a worker with one, `shedder worker mail --with-scheduler`" in said
    steps = invoke("triage", "--json").json["steps"]
    assert ["worker", "mail", "--with-scheduler"] == steps[-1]["commands"][-1]["words"]
    assert (3, "CRITICAL") == (invoke("check").code, check.split()[1])


def test_a_full_server_is_told_by_all(invoke, redis):
    """Memory above 90 %, and a policy that throws jobs away, in one sentence each."""
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] * 1.03))
    redis.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        for said in (*told(invoke), invoke("doctor").out):
            assert "and a backlog frees none of it" in " ".join(said.split())
            assert "The server's maxmemory-policy is allkeys-lfu: when it is full" in said
    finally:
        redis.config_set("maxmemory", 0)
        redis.config_set("maxmemory-policy", "noeviction")


def test_without_a_memory_limit_nothing_is_thrown_away(invoke, redis):
    """A server without a limit evicts nothing: doctor warns, and no problem is told."""
    redis.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        levels = {each["check"]: each["level"] for each in invoke("doctor", "--json").json["findings"]}
        assert "warning" == levels["eviction"]
        assert not any("maxmemory-policy" in said for said in told(invoke))
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
