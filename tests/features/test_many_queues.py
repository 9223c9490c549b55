"""Orders for many queues: in bounded steps, with all that is promised of an order in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.gauges import sent_by_us, watched
from shedder import PauseReceipt, Shedder
from shedder.errors import CannotUndo, RecordUnreadable
from shedder.queues.maintenance import Upkeep
from shedder.units import Rate
from tests.features.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from shedder.embedded import EmbeddedServer

QUEUES = tuple(f"tenant-{number}" for number in range(5))
LANES_PER_STEP = 3
STEPS = 7


@pytest.fixture
def scene(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Twenty lanes, of which a step takes three."""
    for constant in ("LANES_PER_STEP", "ORDERED_PER_STEP"):
        monkeypatch.setattr(f"shedder.queues.controls.{constant}", LANES_PER_STEP)
    scene = Scene(redis)
    for queue in QUEUES:
        scene.fill(queue, f"{queue}-a", f"{queue}-b")
    return scene


def order(scene: Scene, verb: str) -> str:
    """Give an order for all queues; its event."""
    if verb == "pause":
        return scene.shedder.pause(*QUEUES, reason="r").event
    if verb == "divert":
        return scene.shedder.divert(*QUEUES, reason="r").event
    return scene.shedder.limit_starts(*QUEUES, rate=Rate(0.001), reason="r").event


def claimable(scene: Scene) -> int:
    return len(scene.run_all(*QUEUES))


@pytest.mark.parametrize("verb", ["pause", "divert", "limit start"])
def test_all_lanes_are_held_when_it_returns(scene: Scene, verb: str) -> None:
    """However many steps it took, no job of any of the lanes starts after it."""
    event = scene.shedder.event(order(scene, verb))
    assert 0 == claimable(scene)
    mine = [each for each in scene.shedder.events(limit=100) if each.verb == verb]
    assert (STEPS, {event.operation}) == (len(mine), {each.operation for each in mine})
    lanes = [lane for each in mine for lane in each.lanes]
    assert (20, 20, LANES_PER_STEP) == (len(lanes), len(set(lanes)), max(len(each.lanes) for each in mine))


@pytest.mark.parametrize("verb", ["pause", "divert", "limit start"])
@pytest.mark.parametrize("which", [None, 0, 3])
def test_one_undo_takes_all_of_it_back(scene: Scene, verb: str, which: int | None) -> None:
    """By the event of the receipt, by that of any step, and without an id."""
    event = order(scene, verb)
    events = [each.id for each in scene.shedder.events(limit=100) if each.verb == verb]
    if which is None:
        scene.shedder.undo(reason="r", by="oncall@desk")
    else:
        scene.shedder.undo(events[which], reason="r")
    assert 10 == claimable(scene)
    assert not set(events) & {each.id for each in scene.shedder.changes_to_undo()}
    assert event in events


def test_its_receipt_has_all_lanes(scene: Scene) -> None:
    """In the order of the targets, as that of a single step."""
    names = [lane.name for lane in scene.lanes(*QUEUES)]
    paused = scene.shedder.pause(*QUEUES, reason="r")
    resumed = scene.shedder.resume(*QUEUES, reason="r")
    diverted = scene.shedder.divert(*QUEUES, reason="r")
    draining = scene.shedder.drain(*QUEUES, rate=Rate(1.0), reason="r")
    for receipt in (paused, resumed, diverted, draining):
        assert names == [lane.lane for lane in receipt.lanes]
        assert receipt.event == scene.shedder.event(receipt.event).id
    assert (10, 1) == (diverted.moved, len({lane.order for lane in diverted.lanes}))


def test_an_undo_of_pauses_and_resumes_puts_back_what_was(scene: Scene) -> None:
    """Lanes that were paused before are paused again, and the others run."""
    scene.shedder.pause("tenant-1", reason="earlier")
    event = scene.shedder.pause(*QUEUES, reason="r").event
    receipt = scene.shedder.undo(event, reason="r")
    assert isinstance(receipt, PauseReceipt)
    assert {lane.name for lane in scene.lanes("tenant-1")} == {lane.lane for lane in receipt.lanes}
    assert 16 == len(receipt.resumed)
    assert 8 == claimable(scene)


def test_what_somebody_changed_since_is_left_and_said(scene: Scene) -> None:
    """The rest is taken back, and the refusal names whose change stands in the way."""
    event = scene.shedder.pause(*QUEUES, reason="r").event
    scene.shedder.pause("tenant-4", reason="mine", by="ana@desk")
    with pytest.raises(CannotUndo, match=r"of its 7 parts were taken back, and of another ana@desk has paused"):
        scene.shedder.undo(event, reason="r")
    assert 8 == claimable(scene)


def test_a_damaged_record_is_met_before_the_first_step(scene: Scene) -> None:
    """An order for several lanes is carried out whole or not at all, whatever its steps."""
    scene.redis.hset(scene.keys.diverts, "tenant-4", "damaged")
    for give in (lambda: scene.shedder.divert(*QUEUES, reason="r"), lambda: order(scene, "limit start")):
        with pytest.raises(RecordUnreadable):
            give()
    assert 1 == scene.redis.hlen(scene.keys.diverts)


@pytest.mark.parametrize(("give", "steps"), [
    (lambda it: it.pause(*it.queues(), reason="r"), 17),
    (lambda it: it.resume(*it.queues(), reason="r"), 17),
    (lambda it: it.divert(*it.queues(), reason="r"), 42),
    (lambda it: it.limit_starts(*it.queues(), rate=Rate(1.0), reason="r"), 42),
], ids=["pause", "resume", "divert", "limit start"])  # fmt: skip
def test_no_step_takes_more_lanes_than_its_caller_lets_it(
    redis: Redis, server: EmbeddedServer, give: Callable[[Shedder], object], steps: int
) -> None:
    """A thousand lanes are as many scripts as there are portions, a sample and a list of claims apart."""
    shedder = Shedder(redis, by="oncall@desk")
    lists = shedder.keys.engine.lists
    redis.sadd(shedder.keys.engine.queues, *(f"{lists}tenant-{number}" for number in range(250)))
    give(shedder)
    with server.client() as looker, watched(looker, server.pid) as served:
        give(shedder)
    assert steps <= served.calls["evalsha"] <= steps + 3


def test_a_worker_of_many_lanes_samples_a_portion_of_them(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first upkeep on, before it knows all lanes of the installation."""
    for module in ("maintenance", "samples"):
        monkeypatch.setattr(f"shedder.queues.{module}.LANES_PER_SAMPLE", 4)
    assert Upkeep(scene.shedder.store, [lane.name for lane in scene.lanes(*QUEUES)]).do()
    series = [lane.name for lane in scene.lanes(*QUEUES) if scene.redis.exists(scene.keys.series(lane.name))]
    assert ["tenant-0"] == series


@pytest.mark.parametrize("ended", ["tenant-1", "tenant-4", "tenant-0 tenant-1 tenant-2"])
@pytest.mark.parametrize("verb", ["pause", "divert", "limit start"])
def test_what_has_ended_since_is_passed_over(scene: Scene, verb: str, ended: str) -> None:
    """An undo says nothing of the parts of an operation, or lanes in them, on which nothing stands any more."""
    event = order(scene, verb)
    shed = scene.shedder
    end = {"pause": shed.resume, "divert": shed.drain_at_once, "limit start": shed.lift_limit}
    end[verb](*ended.split(), reason="r")
    scene.shedder.undo(event, reason="r")
    assert 10 == claimable(scene)
    assert not scene.redis.hlen(scene.keys.pauses) + scene.redis.hlen(scene.keys.diverts)


def test_of_a_drain_the_parts_that_ended_by_themselves_are_diverted_again(scene: Scene) -> None:
    """The backlogs that it has emptied, and the one at which it still is."""
    scene.shedder.divert(*QUEUES, reason="r")
    event = scene.shedder.drain(*QUEUES, rate=Rate(1000.0), reason="r").event
    assert 8 == len(scene.run_all(*QUEUES[:4]))
    scene.shedder.undo(event, reason="r")
    assert 0 == claimable(scene)
    assert 20 == scene.redis.hlen(scene.keys.diverts)


@pytest.mark.parametrize("end", ["undo", "lift"])
def test_the_end_of_a_limit_on_many_lanes_takes_a_round_trip_for_several_of_them(redis: Redis, end: str) -> None:
    """Not two for each, where no job waits under it."""
    shedder = Shedder(redis, by="oncall@desk")
    lists = shedder.keys.engine.lists
    redis.sadd(shedder.keys.engine.queues, *(f"{lists}tenant-{number}" for number in range(50)))
    event = shedder.limit_starts(*shedder.queues(), rate=Rate(1.0), reason="r").event
    with sent_by_us() as sent:
        if end == "undo":
            shedder.undo(event, reason="r")
        else:
            shedder.lift_limit(*shedder.queues(), reason="r")
    assert sent.round_trips <= 200 / 3  # an undo goes by the event of each portion
    assert not redis.exists(shedder.keys.diverts)
