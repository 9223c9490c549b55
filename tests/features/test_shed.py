"""A shed by policy: all its rules are one divert on each lane, and one undo ends it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.policy.model import Policy, Rule
from shedder.selection import FUNCTIONS_FOR_ALL, Selection
from shedder.units import Rate
from tests.features.scene import Scene

if TYPE_CHECKING:
    from redis import Redis

HUNDRED = tuple(Rule(selection=Selection(functions=(f"app.f{number}",)), shed=number + 1) for number in range(100))
ACME = Rule(queue="mail", selection=Selection(meta=(("tenant", "acme"),)), shed=1)
REPORTS = Rule(queue="reports", selection=Selection(functions=("app.reports.*",)), shed=2)


@pytest.fixture
def scene(redis: Redis) -> Scene:
    return Scene(redis)


def apply(scene: Scene, *rules: Rule) -> None:
    scene.shedder.policies.apply(Policy(rules=rules), reason="r")


def records(scene: Scene, lane: str = "mail") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(scene.redis.hget(scene.keys.diverts, lane) or b"[]")
    return found


def test_a_hundred_rules_are_one_divert(scene: Scene) -> None:
    """What waits, what arrives and what stock producers push goes to one backlog, and nothing else."""
    apply(scene, *HUNDRED)
    scene.fill("mail", "shed", function="app.f7")
    scene.fill("mail", "stays", function="app.f700")
    (step,) = scene.shedder.policies.shed(reason="r")
    scene.fill("mail", "arrives", function="app.f99")
    scene.fill("mail", "stock", function="app.f0", how="stock")
    scene.fill("mail", "also", function="app.g", how="stock")
    assert ["stays", "also"] == scene.run_all("mail")
    assert (["shed", "arrives", "stock"], 1) == (scene.backlog("mail"), len(records(scene)))
    assert (tuple(range(1, 101)), ("mail",)) == (step.rules, step.queues)
    assert step.receipt is not None
    assert 1 == step.receipt.moved


@pytest.mark.parametrize("with_id", [True, False])
def test_one_undo_ends_a_shed_of_several_queues(scene: Scene, *, with_id: bool) -> None:
    """Whatever rules are for which queue, and with the event of any part."""
    apply(scene, ACME, REPORTS, Rule(selection=Selection(functions=("app.logs.*",)), shed=3))
    scene.fill("mail", "a", tenant="acme")
    scene.fill("reports", "b", function="app.reports.daily")
    scene.fill("logs", "c", function="app.logs.rotate")
    steps = scene.shedder.policies.shed(reason="r", by="oncall@desk")
    assert [("mail",), ("reports",), ("logs",)] == [step.queues for step in steps]
    assert [(1, 3), (2, 3), (3,)] == [step.rules for step in steps]
    assert (["a"], ["b"]) == (scene.backlog("mail"), scene.backlog("reports"))
    first = steps[0].receipt
    assert first is not None
    scene.shedder.undo(first.event if with_id else None, reason="r", by="oncall@desk")
    assert not scene.redis.exists(scene.keys.diverts)
    assert ["a", "b", "c"] == scene.run_all("mail", "reports", "logs")


def test_three_hundred_diverts_of_one_shed_are_undone_by_one_undo(scene: Scene, redis: Redis) -> None:
    """A rule for each of many queues is a divert on each, and still one change."""
    queues = [f"tenant-{number}" for number in range(75)]
    redis.sadd(scene.keys.engine.queues, *(scene.keys.engine.lists + queue for queue in queues))
    apply(scene, *(Rule(queue=queue, selection=Selection(functions=("app.*",)), shed=1) for queue in queues))
    assert 75 == len(scene.shedder.policies.shed(reason="r", by="oncall@desk"))
    assert 300 == redis.hlen(scene.keys.diverts)
    scene.shedder.undo(reason="r", by="oncall@desk")
    assert 0 == redis.hlen(scene.keys.diverts)


def test_what_the_meta_decides_is_shed_with_the_rest(scene: Scene) -> None:
    """The claim leaves it open, and the worker that reads the job decides."""
    apply(scene, *HUNDRED, ACME)
    scene.redis.sadd(scene.keys.engine.queues, scene.keys.engine.lists + "mail")
    scene.shedder.policies.shed(reason="r")
    scene.fill("mail", "hers", tenant="acme", how="stock")
    scene.fill("mail", "others", tenant="globex", how="stock")
    scene.fill("mail", "shed", function="app.f1", how="stock")
    assert ["others"] == scene.run_all("mail")
    assert ["hers", "shed"] == sorted(scene.backlog("mail"))


def test_a_shed_is_drained_like_any_divert(scene: Scene) -> None:
    """In the order of arrival, whichever rule took the jobs."""
    apply(scene, *HUNDRED)
    scene.fill("mail", "a", function="app.f9")
    scene.fill("mail", "b", function="app.f1")
    scene.shedder.policies.shed(reason="r")
    assert [] == scene.run_all("mail")
    scene.shedder.drain("mail", rate=Rate(1e9), reason="r")
    assert (["a", "b"], []) == (scene.run_all("mail"), records(scene))


@pytest.mark.parametrize(("rules", "version"), [(FUNCTIONS_FOR_ALL, 1), (FUNCTIONS_FOR_ALL + 1, 2)])
def test_workers_of_before_read_a_small_shed_and_hold_the_lane_of_a_large_one(
    scene: Scene, rules: int, version: int
) -> None:
    """A record of a version that they do not know keeps them from starting what was shed."""
    apply(scene, *HUNDRED[:rules])
    scene.fill("mail", "a", function="app.f0")
    scene.shedder.policies.shed(reason="r")
    (record,) = records(scene)
    assert version == record["v"]
    assert (version == 1) == ("functions" in record["select"])


CRITERIA = st.builds(
    Selection,
    st.lists(st.sampled_from(["app.a", "app.b", "app.*", "*", "app.[ab]", "a*b"]), max_size=2, unique=True).map(tuple),
    st.sampled_from([(), (("tenant", "acme"),)]),
    st.none() | st.just(timedelta(hours=1)),
)


@given(st.lists(CRITERIA, min_size=1, max_size=25))
def test_one_of_several_takes_what_any_of_them_takes(several: list[Selection]) -> None:
    """And it is the same when it comes out of its record."""
    one = Selection.one_of(several)
    again = Selection.from_record(json.loads(json.dumps(one.to_record())))
    assert one.to_record() == again.to_record()
    for function in ("app.a", "app.c", "ab", None):
        for meta in ({}, {"tenant": "acme"}):
            for age in (timedelta(), timedelta(hours=2)):
                expected = any(each.matches(function=function, meta=meta, age=age) for each in several)
                assert expected == one.matches(function=function, meta=meta, age=age)
                assert expected == again.matches(function=function, meta=meta, age=age)


def test_more_rules_than_a_divert_takes_are_several(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of what may be shed is shed, and one undo still ends it."""
    for module in ("selection", "queues.shed"):
        monkeypatch.setattr(f"shedder.{module}.MAX_ALTERNATIVES", 40)
    apply(scene, *HUNDRED)
    scene.fill("mail", "a", function="app.f0")
    scene.fill("mail", "b", function="app.f99")
    steps = scene.shedder.policies.shed(reason="r")
    assert ([40, 40, 20], []) == ([len(step.rules) for step in steps], scene.run_all("mail"))
    scene.shedder.undo(reason="r", by="oncall@desk")
    assert ["a", "b"] == scene.run_all("mail")
