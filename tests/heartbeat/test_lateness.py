"""The numbers of an update are those of the queues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.incident.records import Role
from shedder.policy.model import Policy, Rule
from shedder.selection import Selection
from shedder.status.looks import find_borders
from shedder.units import Rate
from shedder.updates.sentences import compose
from shedder.updates.situation import STAKEHOLDERS, MeasuredWorkload, read_situation

if TYPE_CHECKING:
    from redis import Redis

    from shedder import Shedder
    from tests.features.scene import Scene

MINUTE = timedelta(minutes=1)
MAIL = Policy(rules=(Rule(queue="mail", label="receipt e-mails", tolerance=10 * MINUTE),))


def make_older(redis: Redis, scene: Scene, job: str, minutes: float) -> None:
    old = datetime.now(UTC) - minutes * MINUTE
    key = scene.keys.engine.jobs + job
    redis.hset(key, "enqueued_at", old.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def works(shed: Shedder, policy: Policy) -> dict[str, MeasuredWorkload]:
    return {work.noun: work for work in read_situation(shed, policy, None).works}


@given(ages=st.lists(st.integers(0, 50), max_size=60), cutoff=st.integers(1, 49))
def test_late_jobs_of_a_list_are_counted(server: Any, ages: list[int], cutoff: int) -> None:
    """Whatever is in a list, in order of time, exactly the late ones are counted."""
    from shedder.engine.names import rq_keys
    from shedder.store.store import Store

    keys, now = rq_keys(), datetime(2026, 11, 23, 12, tzinfo=UTC)
    with server.client() as client:
        client.flushall()
        for number, age in enumerate(sorted(ages, reverse=True)):
            at = now - age * MINUTE
            text = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            client.hset(keys.engine.jobs + str(number), "enqueued_at", text)
            client.rpush("list", number)
        found = Store(client, rq_keys()).run(find_borders(keys, ["list"], [cutoff * MINUTE], now, slack_ms=0))
    assert (len(ages), sum(age > cutoff for age in ages)) == (found.total, found.counts[cutoff * MINUTE])


def test_jobs_that_are_gone_do_not_confuse_the_count(redis: Redis, scene: Scene) -> None:
    """Ids whose job has expired stand among the others and are passed over."""
    scene.fill("mail", *(f"j{number}" for number in range(20)))
    for number in range(20):
        make_older(redis, scene, f"j{number}", 40 - 2 * number)
        if number % 3 == 1:
            redis.delete(scene.keys.engine.jobs + f"j{number}")
    command = find_borders(scene.keys, [scene.keys.engine.lists + "mail"], [21 * MINUTE], datetime.now(UTC), slack_ms=0)
    assert 10 == scene.shedder.store.run(command).counts[21 * MINUTE]


def test_a_work_has_the_numbers_of_its_lanes(redis: Redis, scene: Scene, shed: Shedder) -> None:
    """What waits, what is late, whose it is, how old the oldest is, all lanes together."""
    scene.fill("mail", "a", "b", "c", tenant="acme")
    scene.fill("mail", "d", tenant="blue")
    scene.fill("mail.high", "e", tenant="core")
    for job, minutes in (("a", 38), ("b", 20), ("c", 11), ("d", 9), ("e", 12)):
        make_older(redis, scene, job, minutes)
    work = works(shed, MAIL)["receipt e-mails"]
    assert (5, 4, 0, 2) == (work.waiting, work.late, work.held, work.tenants)
    assert (False, False) == (work.is_estimated, work.is_tenants_partial)
    assert work.oldest is not None
    assert abs(work.oldest - 38 * MINUTE) < MINUTE


def test_what_is_paused_or_put_aside_is_held(redis: Redis, scene: Scene, shed: Shedder) -> None:
    """A backlog that drains is not held, one that does not is, and so is a paused lane."""
    scene.fill("mail", "a", "b", function="app.mail.news")
    scene.fill("mail", "c")
    scene.fill("mail.low", "d")
    selection = Selection(functions=("*.news",))
    scene.shedder.divert("mail", selection=selection, reason="r")
    scene.shedder.pause("mail.low", reason="r")
    assert (4, 3) == (
        works(shed, MAIL)["receipt e-mails"].waiting, works(shed, MAIL)["receipt e-mails"].held
    )  # fmt: skip
    scene.shedder.drain("mail", rate=Rate(1.0), reason="r")
    assert 1 == works(shed, MAIL)["receipt e-mails"].held


def test_kinds_that_share_a_lane_are_told_by_their_jobs(redis: Redis, scene: Scene, shed: Shedder) -> None:
    """Rules by function count the jobs that they match; what matches none is not theirs."""
    scene.fill("mail", "a", "b", function="app.mail.receipt")
    scene.fill("mail", "c", function="app.mail.news", how="stock")
    scene.fill("mail", "d", function="app.mail.other")
    make_older(redis, scene, "a", 30)
    policy = Policy(
        rules=(
            Rule(selection=Selection(functions=("*.receipt",)), label="receipts",
                 tolerance=10 * MINUTE),
            Rule(selection=Selection(functions=("*.news",)), label="news", tolerance=60 * MINUTE),
        )
    )  # fmt: skip
    found = works(shed, policy)
    assert (2, 1) == (found["receipts"].waiting, found["receipts"].late)
    assert (1, 0) == (found["news"].waiting, found["news"].late)


def test_of_a_long_list_some_jobs_are_looked_at(redis: Redis, scene: Scene, shed: Shedder) -> None:
    """Where not all jobs are read the counts say that they are estimates, and are near."""
    for number in range(120):
        function = "app.mail.news" if number % 3 else "app.mail.receipt"
        scene.fill("mail", f"j{number}", function=function)
    policy = Policy(rules=(Rule(selection=Selection(functions=("*.news",)), label="news"),))
    with mock.patch("shedder.updates.situation.JOBS_LOOKED_AT", 30):
        work = works(shed, policy)["news"]
    assert (True, True) == (work.is_estimated, work.is_tenants_partial)
    assert 60 <= work.waiting <= 100


def test_since_when_comes_from_the_samples(redis: Redis, scene: Scene, shed: Shedder) -> None:
    """Late work is late since its lane was last within the tolerance."""
    scene.fill("mail", "a")
    make_older(redis, scene, "a", 30)
    redis.delete(scene.keys.sampled)
    from shedder.queues.samples import sample_lanes

    shed.store.run(sample_lanes(shed.keys, ["mail"]))
    since = works(shed, MAIL)["receipt e-mails"].since
    assert since is not None
    assert abs(datetime.now(UTC) - 20 * MINUTE - since) < MINUTE


def test_measures_are_told_with_the_role_of_who_took_them(scene: Scene, shed: Shedder) -> None:
    """What stands on a queue is told once for all its lanes, in the words of the policy."""
    from dataclasses import replace

    from shedder.incident.records import RoleHeld
    from tests.unit.postmortems import INCIDENT, at

    scene.fill("mail", "a")
    shed.pause("mail", reason="database at 99 %")
    held = RoleHeld(Role.OPERATIONS, "oncall@ops", at(0))
    incident = replace(INCIDENT, roles=(held,), resolved_at=None)
    situation = read_situation(shed, MAIL, incident)
    assert [("receipt e-mails are paused", "operations")] == [(each.what, each.role) for each in situation.measures]
    assert "In force: receipt e-mails are paused (operations, since" in compose(situation, audience=STAKEHOLDERS)


def test_notices_of_degraded_flags_are_told(shed: Shedder) -> None:
    """What customers notice is told in the policy's words, with the share it holds for."""
    shed.degrade_flag("search.hints", percent=50, reason="r", force=True)
    policy = Policy(notices={"search.hints": "Search suggests nothing."})
    situation = read_situation(shed, policy, None)
    assert ("Search suggests nothing (for 50 % of customers)",) == situation.notices


@pytest.mark.parametrize("queue", ["mail", "other"])
def test_queues_that_no_rule_names_are_told_by_their_name(scene: Scene, shed: Shedder, queue: str) -> None:
    """Nothing that waits is left out because nobody gave it a noun."""
    scene.fill(queue, "a")
    assert f"jobs of {queue}" in works(shed, Policy())


def test_a_divert_that_has_taken_nothing_is_not_told_as_put_aside(shed: Shedder, scene: Scene) -> None:
    """It says that none has come so far, until the first job is in the backlog."""
    scene.fill("mail", "a", "b")
    shed.divert("mail", selection=Selection(functions=("no.such.*",)), reason="why")
    (told,) = read_situation(shed, Policy(), None).measures
    assert "jobs of mail are to be put aside as they arrive, none so far" == told.what
    scene.fill("mail", "c", function="no.such.function")
    (told,) = read_situation(shed, Policy(), None).measures
    assert "jobs of mail are put aside" == told.what


def test_a_queue_that_nobody_knows_is_not_told(shed: Shedder, scene: Scene) -> None:
    """A pause of a name that no job ever had concerns nobody outside."""
    scene.fill("mail", "a")
    shed.pause("maill", reason="typing error")
    assert () == read_situation(shed, Policy(), None).measures
