"""Does what is done during an incident belong to it, with its role, its numbers and its effect?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shedder.incident import attribution, effects
from shedder.incident.effects import readings_of
from shedder.incident.readings import Reading, Yardstick
from shedder.policy import Policy, Rule
from shedder.rates import Rate
from shedder.rq import upkeep
from shedder.rq.upkeep import Upkeep
from shedder.selection import Selection
from tests.features.scene import Scene

if TYPE_CHECKING:
    from redis import Redis

    from shedder.records import Event


@pytest.fixture
def scene(redis: Redis) -> Scene:
    """Five jobs, and an incident in which oncall has operations."""
    scene = Scene(redis)
    scene.fill("mail", *"abcde")
    scene.shedder.incidents.open("late", severity=2, commander="ana@desk")
    scene.shedder.incidents.roles.take("operations", by="oncall@desk")
    return scene


def last(scene: Scene) -> Event:
    return scene.shedder.events()[-1]


def test_every_change_belongs_to_the_incident_and_to_a_role(scene: Scene) -> None:
    """Queues, flags and limits: each event names both; the limits of who has no role name none."""
    incident = scene.shedder.incidents.read().id
    shedder = scene.shedder
    shedder.pause("mail", reason="r")
    shedder.resume("mail", reason="r")
    shedder.divert("mail", reason="r")
    shedder.drain("mail", rate=Rate(1.0), reason="r")
    shedder.stop_drain("mail", reason="r")
    shedder.drain_at_once("mail", reason="r")
    shedder.limit_starts("mail", most=2, reason="r")
    shedder.lift_limit("mail", reason="r")
    shedder.degrade_flag("hints", reason="r", force=True)
    shedder.restore_flag("hints", reason="r")
    shedder.set_limit("reports", Rate(5.0), reason="r", force=True)
    shedder.clear_limit("reports", reason="r")
    shedder.undo(reason="r")
    done = [event for event in shedder.events()[2:] if event.verb != "drained"]
    assert {
        "pause", "resume", "divert", "drain", "drain stopped", "restore", "limit start",
        "flag degrade", "flag restore", "limit set", "limit clear",
    } == {event.verb for event in done}  # fmt: skip
    for event in done:
        assert (incident, "operations") == (event.incident, event.role), event.verb
        assert "readings" in event.details, event.verb
    shedder.pause("mail", reason="r", by="eve@desk")
    assert (incident, "") == (last(scene).incident, last(scene).role)


def test_outside_of_an_incident_an_event_says_nothing_of_one(scene: Scene) -> None:
    """After the end, events are as they were without any incident."""
    scene.shedder.incidents.resolve()
    scene.shedder.pause("mail", reason="r")
    assert ("", "", {}) == (last(scene).incident, last(scene).role, last(scene).details)


def test_of_two_incidents_it_belongs_to_the_one_in_which_one_has_a_role(scene: Scene) -> None:
    """Who has a role in none acts in the worst."""
    first = scene.shedder.incidents.read().id
    second = scene.shedder.incidents.open("worse", severity=1, also=True).incident.id
    scene.shedder.pause("mail", reason="r")
    assert first == last(scene).incident
    scene.shedder.pause("mail", reason="r", by="eve@desk")
    assert second == last(scene).incident


def test_a_damaged_record_stands_in_nobodys_way(scene: Scene, redis: Redis) -> None:
    """A queue can be paused whatever the record of the incident looks like."""
    redis.set(scene.keys.incident(scene.shedder.incidents.read().id), "{")
    scene.shedder.pause("mail", reason="r")
    assert ("pause", "") == (last(scene).verb, last(scene).incident)


def test_the_effect_is_measured_later_and_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the lanes were before stands in the event, what they are later in the record."""
    divert = scene.shedder.divert("mail", reason="r")
    before = readings_of(scene.shedder.event(divert.event))["mail"]
    assert (5, 0) == (before.waiting, before.backlog)
    assert before.oldest_seconds is not None
    incidents = scene.shedder.incidents
    assert () == incidents.measure_effects().effects
    monkeypatch.setattr(effects, "AFTER", timedelta(0))
    (effect,) = incidents.measure_effects().effects
    after = effect.after["mail"]
    assert (divert.event, "divert", 0, 5) == (
        effect.event, effect.verb, after.waiting, after.backlog,
    )  # fmt: skip
    assert 0 <= effect.after_seconds < 60
    assert (effect,) == incidents.measure_effects().effects
    assert ["effect"] == [e.verb for e in scene.shedder.events() if e.verb == "effect"]


def test_an_effect_is_told_in_the_words_of_the_policy_in_force(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in each lane and how long that may wait, as it was when the effect was measured."""
    monkeypatch.setattr(effects, "AFTER", timedelta(0))
    incidents, policies = scene.shedder.incidents, scene.shedder.policies
    scene.shedder.pause("mail", reason="without a policy")
    assert [{}] == [each.yardsticks for each in incidents.measure_effects().effects]
    minute = timedelta(minutes=1)
    receipts = Rule(queue="mail", noun="receipts", tolerance=10 * minute)
    policies.apply(Policy(rules=(receipts,)), reason="r")
    scene.shedder.divert("mail", reason="r")
    assert Yardstick("receipts", 600.0) == incidents.measure_effects().effects[1].yardsticks["mail"]
    news = Selection.parse(functions=["*.news"])
    both = Policy(rules=(Rule(selection=news, noun="news", tolerance=5 * minute), receipts))
    policies.apply(both, reason="r")
    scene.shedder.drain("mail", rate=Rate(1), reason="r")
    told = [each.yardsticks.get("mail") for each in incidents.measure_effects().effects[1:]]
    assert [Yardstick("receipts", 600.0), None] == told, "a lane that two kinds share has none"
    scene.redis.hset(scene.keys.policy, "1", "{")
    scene.redis.hset(scene.keys.policy, "2", "{")
    scene.shedder.drain("mail", rate=Rate(2), reason="a policy that cannot be read")
    assert {} == incidents.measure_effects().effects[-1].yardsticks


def test_effects_leave_room_for_what_people_write(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is done on however many lanes, the record does not grow full of effects."""
    incidents = scene.shedder.incidents
    for number in range(3):
        scene.shedder.pause("mail", reason=f"{number}")
    monkeypatch.setattr(effects, "AFTER", timedelta(0))
    monkeypatch.setattr(effects, "EFFECTS_ROOM", 700)
    assert 2 == len(incidents.measure_effects().effects)
    written = len(scene.shedder.events())
    assert 2 == len(incidents.measure_effects().effects)
    assert written == len(scene.shedder.events())
    incidents.note("there is room for this")


def test_a_worker_measures_when_nobody_looks(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upkeep that a worker does anyway measures what is due."""
    scene.shedder.pause("mail", reason="r")
    monkeypatch.setattr(effects, "AFTER", timedelta(0))
    monkeypatch.setattr(upkeep, "MEASURE_SECONDS", 0.0)
    assert Upkeep(scene.shedder.store, scene.keys, ["mail"]).do()
    assert ["pause"] == [each.verb for each in scene.shedder.incidents.read().effects]


def test_a_lane_that_is_gone_is_empty(scene: Scene) -> None:
    """An effect tells of every lane that the event had."""
    scene.shedder.pause("mail", reason="r")
    event = last(scene)
    effect = effects.effect_of(event, {}, event.at)
    assert {"mail": Reading(0)} == effect.after


def test_others_who_changed_a_queue_lately_are_known(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server's clock; not oneself, not what was undone, not other lanes, not long ago."""
    shedder = scene.shedder
    first = shedder.pause("mail.low", reason="r", by="eve@desk")
    shedder.pause("reports", reason="r", by="eve@desk")
    shedder.degrade_flag("hints", reason="r", by="eve@desk", force=True)
    told = [event.id for event in shedder.changes_by_others("mail")]
    assert [first.event] == told
    assert () == shedder.changes_by_others("mail.high")
    assert () == shedder.changes_by_others("mail", by="eve@desk")
    assert ["flag degrade"] == [e.verb for e in shedder.changes_by_others(names=("hints",))]
    shedder.undo(first.event, reason="r", by="eve@desk")
    assert "resume" in [event.verb for event in shedder.changes_by_others("mail")]
    assert first.event not in [event.id for event in shedder.changes_by_others("mail")]
    monkeypatch.setattr(attribution, "TOES", timedelta(0))
    assert () == shedder.changes_by_others("mail")


def test_a_change_without_a_way_back_is_a_change_by_others(scene: Scene) -> None:
    """Who stopped a drain a minute ago is at work on it, though no `undo` takes that back."""
    shedder = scene.shedder
    shedder.divert("mail", reason="r", by="bob@desk")
    shedder.drain("mail", rate=Rate(0.001), reason="r", by="bob@desk")
    stop = shedder.stop_drain("mail", reason="r", by="eve@desk")
    assert [stop.event] == [each.id for each in shedder.changes_by_others("mail", by="bob@desk")]


def test_the_timeline_has_what_was_done_before_it_was_opened(redis: Redis) -> None:
    """What happened since the trouble began belongs to it, if no other incident claims it."""
    scene = Scene(redis)
    pause = scene.shedder.pause("mail", reason="r")
    began = {"began": scene.shedder.event(pause.event).at}
    scene.shedder.incidents.open("late", severity=2, times=began)
    scene.shedder.incidents.note("found")
    scene.shedder.incidents.open("other", severity=3, also=True)
    first = scene.shedder.incidents.list()[-1].id
    verbs = [event.verb for event in scene.shedder.incidents.timeline(first)]
    assert ["pause", "incident open", "note"] == verbs
    scene.shedder.incidents.resolve(incident=first)
    scene.shedder.resume("mail", reason="r")
    assert [*verbs, "incident resolve"] == [
        event.verb for event in scene.shedder.incidents.timeline(first)
    ]
