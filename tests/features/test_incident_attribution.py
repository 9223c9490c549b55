"""What is done during an incident belongs to it, with its role and its effect."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder.events import EVENTS_LATELY, Cause, event_head
from shedder.incident.records import Effect, Reading, Yardstick
from shedder.policy.model import Policy, Rule
from shedder.queues.maintenance import Upkeep
from shedder.store.codec import ms_from_time, server_time
from shedder.units import Rate
from tests.features.scene import Scene
from tests.waiting import wait_until

if TYPE_CHECKING:
    from redis import Redis

    from shedder.events import Event


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
        assert "readings" not in event.details, event.verb
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


def test_an_effect_is_told_from_samples_and_written_nowhere(redis: Redis) -> None:
    """In the words of the policy in force; one that cannot be read takes only the words away."""
    scene = Scene(redis)
    divert = long_ago(scene, "divert", ["mail"])
    take_samples(scene, "mail", {-2: (50, 0), 60: (0, 70), 298: (3, 90)}, around=divert)
    receipts = Rule(queue="mail", label="receipts", tolerance=timedelta(minutes=10))
    scene.shedder.policies.apply(Policy(rules=(receipts,)), reason="r")
    incidents = scene.shedder.incidents
    incidents.open("late", severity=2, times={"began": divert.at - timedelta(minutes=1)})
    written = scene.shedder.events()
    (effect,) = incidents.measure_effects().effects
    before, after = effect.before["mail"], effect.after["mail"]
    assert (divert.id, "divert", 300.0) == (effect.event, effect.verb, effect.after_seconds)
    assert ((50, 0), (3, 90)) == (
        (before.waiting, before.backlog), (after.waiting, after.backlog),
    )  # fmt: skip
    assert {"mail": Yardstick("receipts", 600.0)} == effect.yardsticks
    assert written == scene.shedder.events()
    assert () == incidents.read().effects
    scene.redis.hset(scene.keys.policy, "1", "{")
    assert [{}] == [each.yardsticks for each in incidents.measure_effects().effects]


def test_an_effect_of_a_flag_is_told_by_all_lanes(redis: Redis) -> None:
    """RQ knows which queues there are."""
    scene = Scene(redis)
    scene.fill("mail.low", "a")
    degrade = long_ago(scene, "flag degrade", [])
    take_samples(scene, "mail.low", {-2: (50, 0), 298: (3, 0)}, around=degrade)
    began = {"began": degrade.at - timedelta(minutes=1)}
    scene.shedder.incidents.open("late", severity=2, times=began)
    (effect,) = scene.shedder.incidents.measure_effects().effects
    assert ["mail.low"] == list(effect.after)


def test_samples_that_workers_take_tell_an_effect(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upkeep that a worker does anyway is all it takes."""
    monkeypatch.setattr("shedder.queues.samples.INTERVAL_SECONDS", 0.001)
    upkeeps = Upkeep(scene.shedder.store, ["mail"])

    def samples() -> int:
        upkeeps.do()
        return int(scene.redis.llen(scene.keys.samples("mail")[0]))

    wait_until(lambda: samples() > 1, what="samples before the change")
    divert = scene.shedder.divert("mail", reason="r")
    taken = samples()
    wait_until(lambda: samples() > taken + 1, what="samples after the change")
    scene.shedder.incidents.resolve()
    (effect,) = scene.shedder.incidents.measure_effects().effects
    before, after = effect.before["mail"], effect.after["mail"]
    assert (divert.event, 5, 0, 0, 5) == (
        effect.event, before.waiting, before.backlog, after.waiting, after.backlog,
    )  # fmt: skip


def test_what_an_older_shedder_wrote_is_read(redis: Redis) -> None:
    """Readings in events, events of measurements, and effects in the record, which stay."""
    scene = Scene(redis)
    readings = {"mail": {"waiting": 5, "backlog": 0}}
    pause = long_ago(scene, "pause", ["mail"], readings=readings)
    incidents = scene.shedder.incidents
    began = {"began": pause.at - timedelta(minutes=1)}
    incidents.open("late", severity=2, times=began)
    effect = Effect(pause.id, "pause", 301.0, {"mail": Reading(5)}, {"mail": Reading(1)})
    incidents.change(lambda it, _: replace(it, effects=(effect,)), verb="effect", reason="measured")
    assert (effect,) == incidents.measure_effects().effects
    verbs = [event.verb for event in incidents.timeline()]
    assert ["pause", "incident open", "effect"] == verbs
    assert readings == scene.shedder.event(pause.id).details["readings"]


def long_ago(scene: Scene, verb: str, lanes: list[str], **details: Any) -> Event:
    """An event of ten minutes ago; to be written before all others."""
    milliseconds = ms_from_time(server_time(scene.shedder.store) - timedelta(minutes=10))
    head = event_head(verb, Cause("oncall@desk", "r"), lanes, **details)
    entry = {"head": head, "before": "{}", "after": "{}"}
    scene.redis.xadd(scene.keys.events, entry, id=f"{milliseconds}-0")
    return scene.shedder.event(f"{milliseconds}-0")


def take_samples(scene: Scene, lane: str, depths: dict[int, tuple[int, int]], *, around: Event) -> None:
    """Samples of a lane, by seconds after an event: jobs that wait, and that are put aside."""
    for seconds, (waiting, backlog) in depths.items():
        at = int((around.at + timedelta(seconds=seconds)).timestamp())
        sample = struct.pack(">8I", at, waiting, backlog, 0, 9, 9, 0, 0)
        scene.redis.rpush(scene.keys.samples(lane)[1], sample)


def test_others_who_changed_a_queue_lately_are_known(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr("shedder.incident.timeline.RECENT", timedelta(0))
    assert () == shedder.changes_by_others("mail")


def test_a_change_without_a_way_back_is_a_change_by_others(scene: Scene) -> None:
    """Who stopped a drain a minute ago is at work on it, though no `undo` takes that back."""
    shedder = scene.shedder
    shedder.divert("mail", reason="r", by="bob@desk")
    shedder.drain("mail", rate=Rate(0.001), reason="r", by="bob@desk")
    stop = shedder.stop_drain("mail", reason="r", by="eve@desk")
    assert [stop.event] == [each.id for each in shedder.changes_by_others("mail", by="bob@desk")]


def test_others_are_known_however_many_events_there_were(scene: Scene) -> None:
    """Those of the last two minutes, though only the last few are read at first."""
    first = scene.shedder.pause("mail", reason="r", by="eve@desk")
    for number in range(EVENTS_LATELY):
        scene.shedder.pause("reports", reason=f"{number}", by="eve@desk")
    assert [first.event] == [event.id for event in scene.shedder.changes_by_others("mail")]


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
    assert [*verbs, "incident resolve"] == [event.verb for event in scene.shedder.incidents.timeline(first)]
