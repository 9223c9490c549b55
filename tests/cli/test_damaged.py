"""Records in Redis that somebody has damaged stop no view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shedder import Policy, Rate, Rule, Selection, Shedder
from shedder.engine.names import rq_keys
from shedder.queues.outcomes import count_failed
from shedder.queues.samples import sample_lanes
from shedder.rq import Queue
from shedder.store.keys import kind_of
from tests.cli import jobs

if TYPE_CHECKING:
    from redis import Redis

    from tests.cli.conftest import Run

KEYS = rq_keys()
VIEWS = (
    "status", "status --by function", "check", "triage", "plan", "doctor", "audit", "flag list", "limit list",
    "incident list", "metrics --once",
    "events",
)  # fmt: skip
JUNK = ("[", "null", "7", '{"v": 99}', '[{"v": 1}]', b"\xff")
KINDS = {
    "policy": (KEYS.policy,),
    "flags": (KEYS.flags, KEYS.flag_declarations),
    "limits": (KEYS.limits, KEYS.limit_declarations),
    "incidents": (KEYS.incident("2026-01-01-1"),),
    "pauses": (KEYS.pauses,),
    "diverts": (KEYS.diverts,),
    "drains": (KEYS.drain("order", "mail"),),
    "samples": KEYS.samples("mail"),
    "series": (KEYS.series("mail"),),
    "outcomes": (KEYS.outcomes, KEYS.meters, KEYS.outcome_draft, *KEYS.outcome_samples),
    "failures": (KEYS.failures("mail"),),
    "mitigations": (KEYS.mitigations,),
}


@pytest.fixture
def incident(redis: Redis) -> str:
    """Something of each kind; the id of the incident."""
    shedder = Shedder(redis, by="ana@desk")
    Queue("mail", connection=redis).enqueue(jobs.send_receipt)
    shedder.policies.apply(Policy(rules=(Rule(selection=Selection(functions=("*",)), label="work"),)), reason="r")
    found = shedder.incidents.open("late", severity=2).incident.id
    shedder.pause("other", reason="r")
    shedder.divert("mail", reason="r")
    shedder.drain("mail", rate=Rate(1.0), reason="r")
    shedder.limit_starts("third", rate=Rate(1.0), reason="r")
    shedder.degrade_flag("hints", reason="r", force=True)
    shedder.set_limit("smtp", Rate(1.0), reason="r", force=True)
    count_failed(redis, KEYS, "mail", "work", at_ms=1, function="f", exception="ValueError")
    shedder.store.run(sample_lanes(KEYS, ["mail"], is_upkeep=False))
    return found


def damage(redis: Redis, key: str, junk: str | bytes) -> None:
    """Put `junk` in the place of all that a key holds."""
    kind = redis.type(key)
    if kind == b"hash" or (kind == b"none" and kind_of(key) == "hash"):
        redis.hset(key, mapping=dict.fromkeys([*redis.hkeys(key), "mail"], junk))
    elif kind == b"zset":
        redis.zadd(key, {junk: 2**40})
    elif kind == b"list":
        redis.rpush(key, junk)
        redis.lpush(key, junk)
    else:
        redis.set(key, junk)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_record_stops_no_view(invoke: Run, redis: Redis, incident: str, kind: str) -> None:
    """Each says what it knows without it, and none has an error that was not expected."""
    keys = (KEYS.incident(incident),) if kind == "incidents" else KINDS[kind]
    if kind == "drains":
        keys = tuple(each.decode() for each in redis.keys(KEYS.drain("*", "mail")))
    for junk in JUNK:
        for key in keys:
            damage(redis, key, junk)
        for view in VIEWS:
            done = invoke(*view.split())
            assert done.code in (0, 3), (junk, view, done)
            assert "unexpected" not in done.err


def test_what_is_left_out_is_named(invoke: Run, redis: Redis, incident: str) -> None:
    """The incident that cannot be read, beside those that can."""
    second = Shedder(redis, by="ana@desk").incidents.open("second", severity=3, also=True).incident.id
    redis.set(KEYS.incident(incident), "[")
    listed = invoke("incident", "list")
    assert second in listed.out
    assert f"an incident is left out: the record of the incident {incident} cannot be read" in listed.err
    assert "told without the incident" in invoke("triage").err


def test_a_divert_that_cannot_be_read_hides_no_job(invoke: Run, redis: Redis) -> None:
    """`audit` finds the jobs of its backlog, `status --by` goes on without them; both name it, and exit with 3."""
    shedder = Shedder(redis, by="ana@desk")
    for queue in ("mail", "reports"):
        Queue(queue, connection=redis).enqueue(jobs.send_receipt)
        shedder.divert(queue, reason="r")
    redis.hset(KEYS.diverts, "mail", "[")
    said = "the record of the diverts of mail cannot be read"
    found = {words: invoke(*words.split()) for words in ("audit", "status --by function")}
    assert {3} == {done.code for done in found.values()}
    assert all(said in done.out for done in found.values()), found
    report = shedder.audit()
    assert (2, (), False) == (report.places["backlog"], report.nowhere, report.is_clean)
    assert "In mail and reports no job waits, and 1 job is in a backlog." in found["status --by function"].out
    assert 3 == invoke("audit", "--json").code


def test_metrics_say_what_they_could_not_read(invoke: Run, redis: Redis) -> None:
    """Redis does answer where a key of ours is of another type, and need not be started."""
    redis.set(KEYS.meters, "by hand")
    done = invoke("metrics", "--once")
    assert (1, True) == (done.code, "shedder_up 0.0" in done.out)
    assert f"the record {KEYS.meters} cannot be read" in done.err.splitlines()[-1]
