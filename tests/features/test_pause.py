"""Nothing of a paused queue starts, and everything does after it was resumed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shedder.errors import ConditionNotMet, InvalidInput
from tests.features.scene import Scene
from tests.waiting import wait_until

LANES = ("mail.critical", "mail.high", "mail", "mail.low")


def test_a_pause_holds_all_lanes_of_a_queue_and_no_other(scene: Scene) -> None:
    """No job of the queue can be claimed, one of another queue can."""
    scene.fill("mail", "a")
    scene.fill("mail.low", "b")
    scene.fill("reports", "c")
    scene.shedder.pause("mail", reason="database at 99 %")
    assert ["c"] == scene.run_all("mail", "reports")
    assert ["a"] == scene.waiting("mail")


def test_a_pause_of_one_lane_leaves_the_others(scene: Scene) -> None:
    """`mail.normal` is one lane, though its RQ queue is called `mail`."""
    scene.fill("mail", "a")
    scene.fill("mail.low", "b")
    receipt = scene.shedder.pause("mail.normal", reason="r")
    assert ["mail"] == [lane.lane for lane in receipt.lanes]
    assert ["b"] == scene.run_all("mail")


def test_the_receipt_says_what_was_done(scene: Scene) -> None:
    """Lanes, waiting jobs, the event and the time are those of this pause."""
    scene.fill("mail", "a", "b")
    receipt = scene.shedder.pause("mail", reason="why not")
    assert LANES == tuple(lane.lane for lane in receipt.lanes)
    assert [0, 0, 2, 0] == [lane.waiting for lane in receipt.lanes]
    assert [None] * 4 == [lane.replaced for lane in receipt.lanes]
    assert (None, (), ()) == (receipt.until, receipt.running, receipt.workers)
    event = scene.shedder.event(receipt.event)
    assert ("pause", "oncall@desk", "why not", LANES) == (
        event.verb, event.by, event.why, event.lanes,
    )  # fmt: skip
    assert {"paused": False, "waiting": 2} == event.before["mail"]
    assert {"paused": True, "waiting": 2} == event.after["mail"]
    assert event.at == receipt.at


def test_a_second_pause_replaces_the_first_and_tells_it(scene: Scene) -> None:
    """The second operator learns who paused before; the queue is paused since the first."""
    first = scene.shedder.pause("mail", reason="one", by="oncall@desk")
    second = scene.shedder.pause("mail", reason="two", by="bob@desk")
    replaced = second.lanes[0].replaced
    assert replaced is not None
    assert ("oncall@desk", "one", first.at) == (replaced.by, replaced.why, replaced.since)
    [lane] = scene.shedder.status("mail.normal").lanes
    assert lane.pause is not None
    assert ("bob@desk", "two", first.at) == (lane.pause.by, lane.pause.why, lane.pause.since)


def test_a_job_in_hand_when_the_pause_comes_goes_back_to_the_front(scene: Scene) -> None:
    """Who claimed before the pause and had not started is refused at the gate."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.shedder.pause("mail", reason="r")
    assert "paused" == scene.hands.start(token).verdict
    assert ["a", "b"] == scene.waiting("mail")
    assert "lost" == scene.hands.start(token).verdict


def test_a_job_that_runs_is_in_the_receipt_and_goes_on(scene: Scene) -> None:
    """A pause stops nothing that has started, and says what that is."""
    scene.fill("mail", "a")
    token = scene.take("mail")
    scene.hands.start(token)
    scene.hands.report(token)
    [running] = scene.shedder.pause("mail", reason="r").running
    assert ("a", "mail", "app.mail.send", True) == (
        running.job_id, running.lane, running.function, running.is_certain,
    )  # fmt: skip


def test_a_start_that_nobody_confirmed_is_told_as_uncertain(scene: Scene) -> None:
    """A process that was frozen right behind the gate is named, after a moment's patience."""
    scene.fill("mail", "a")
    scene.hands.start(scene.take("mail"))
    [running] = scene.shedder.pause("mail", reason="r").running
    assert not running.is_certain


def test_wait_until_idle_returns_when_the_last_job_has_ended(scene: Scene) -> None:
    """What still runs at the timeout is returned; nothing when all has ended."""
    scene.fill("mail", "a")
    token = scene.take("mail")
    scene.hands.start(token)
    scene.hands.report(token)
    left = scene.shedder.wait_until_idle("mail", timeout=timedelta(milliseconds=1))
    assert ["a"] == [job.job_id for job in left]
    seen: list[int] = []

    def end(running: tuple[object, ...]) -> None:
        seen.append(len(running))
        if running:
            scene.hands.finish("a")

    assert () == scene.shedder.wait_until_idle("mail", on_change=end)
    assert [1, 0] == seen


def test_a_resumed_queue_goes_on_in_order(scene: Scene) -> None:
    """What waited and what arrived during the pause run in the order in which they came."""
    scene.fill("mail", "a", "b")
    scene.shedder.pause("mail", reason="r")
    scene.fill("mail", "c")
    receipt = scene.shedder.resume("mail", reason="over")
    assert [0, 0, 3, 0] == [lane.waiting for lane in receipt.lanes]
    ended = receipt.lanes[2].ended
    assert ended is not None
    assert "r" == ended.why
    assert ["a", "b", "c"] == scene.run_all("mail")
    assert ["pause", "resume"] == scene.verbs()


def test_resuming_what_is_not_paused_changes_nothing(scene: Scene) -> None:
    """There is no event, and the receipt says that nothing ended."""
    receipt = scene.shedder.resume("mail", reason="r")
    assert ("", [None] * 4) == (receipt.event, [lane.ended for lane in receipt.lanes])
    assert [] == scene.verbs()


def test_a_pause_ends_by_the_servers_clock(scene: Scene) -> None:
    """When its time is over the next claim takes a job, and the journal has the end."""
    scene.fill("mail", "a")
    receipt = scene.shedder.pause("mail", reason="r", expires_in=timedelta(milliseconds=40))
    assert receipt.at + timedelta(milliseconds=40) == receipt.until
    wait_until(lambda: scene.run_one("mail") == "a", what="the end of the pause")
    event = scene.shedder.events()[-1]
    assert receipt.until is not None
    assert event.at >= receipt.until
    assert ["pause"] + ["pause expired"] * 3 == scene.verbs()[:4]


@pytest.mark.parametrize("what", ["pause", "resume"])
def test_a_pause_that_is_over_has_ended_before_the_next_change(scene: Scene, what: str) -> None:
    """The journal tells its end though no claim came by; nobody is told that it was replaced."""
    scene.shedder.pause("mail.low", reason="r", expires_in=timedelta(milliseconds=1))
    scene.let_pass(2)
    receipt = getattr(scene.shedder, what)("mail.low", reason="s")
    assert [None] == [getattr(lane, {"pause": "replaced", "resume": "ended"}[what])
                      for lane in receipt.lanes]  # fmt: skip
    assert ["pause", "pause expired", "pause"][: 3 if what == "pause" else 2] == scene.verbs()


def test_a_damaged_record_holds_its_lane_until_it_is_resumed(scene: Scene) -> None:
    """Nothing starts against an order that cannot be read, and resume takes it away."""
    scene.fill("mail", "a")
    scene.redis.hset(scene.keys.pauses, "mail", "{not JSON")
    assert [] == scene.run_all("mail")
    receipt = scene.shedder.resume("mail.normal", reason="it was damaged")
    assert receipt.lanes[0].ended is not None
    assert ["a"] == scene.run_all("mail")


def test_who_names_nothing_is_told_so(scene: Scene) -> None:
    """A pause of no queue, or of what is no name, is refused."""
    with pytest.raises(ConditionNotMet):
        scene.shedder.pause(reason="r")
    with pytest.raises(InvalidInput):
        scene.shedder.pause("", reason="r")
    assert [] == scene.verbs()
