"""Can every change be taken back, and is it said plainly when it cannot?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from shedder.errors import CannotUndo, EventNotFound
from shedder.rates import Rate
from shedder.records import DrainReceipt, PauseReceipt, RestoreReceipt, ResumeReceipt
from shedder.selection import Selection
from tests.features.scene import Scene

FAST = Rate(1e9)
SLOW = Rate(1, 86400.0)
MAIL = Selection.parse(functions=["app.mail.*"])


def test_a_pause_is_undone_by_a_resume(scene: Scene) -> None:
    """The lanes of that pause go on, and the journal links the two events."""
    scene.fill("mail", "a")
    paused = scene.shedder.pause("mail", reason="r")
    undone = scene.shedder.undo(paused.event, reason="the wrong queue", by="bob@desk")
    assert isinstance(undone, ResumeReceipt)
    assert ["a"] == scene.run_all("mail")
    event = scene.shedder.event(undone.event)
    assert (paused.event, "bob@desk", "the wrong queue") == (event.undoes, event.by, event.why)


def test_undoing_a_pause_does_not_end_the_pause_of_somebody_else(scene: Scene) -> None:
    """Who paused later has reasons of his own, and the first operator is told whom to ask."""
    scene.fill("mail", "a")
    first = scene.shedder.pause("mail", reason="one", by="ana@desk")
    second = scene.shedder.pause("mail.normal", reason="two", by="bob@desk")
    with pytest.raises(CannotUndo, match=f"bob@desk .* shedder undo {second.event}"):
        scene.shedder.undo(first.event, reason="it was me")
    assert [] == scene.run_all("mail")
    scene.shedder.undo(second.event, reason="both agree")
    assert ["a"] == scene.run_all("mail")


def test_a_resume_is_undone_by_a_pause(scene: Scene) -> None:
    """Only of the lanes that were paused, and until when they were."""
    scene.fill("mail", "a")
    scene.fill("mail.low", "b")
    paused = scene.shedder.pause("mail.low", reason="r", expires_in=timedelta(hours=1))
    resumed = scene.shedder.resume("mail", reason="too early")
    undone = scene.shedder.undo(resumed.event, reason="r")
    assert isinstance(undone, PauseReceipt)
    assert ["mail.low"] == [lane.lane for lane in undone.lanes]
    assert undone.until is not None
    assert paused.until is not None
    assert abs(undone.until - paused.until) < timedelta(seconds=2)
    assert ["a"] == scene.run_all("mail")


def test_a_resume_cannot_be_undone_when_its_pause_would_be_over(scene: Scene) -> None:
    """There is nothing to go back to."""
    scene.shedder.pause("mail", reason="r", expires_in=timedelta(milliseconds=50))
    resumed = scene.shedder.resume("mail", reason="r")
    scene.let_pass(60)
    with pytest.raises(CannotUndo, match="would have ended by now"):
        scene.shedder.undo(resumed.event, reason="r")


@pytest.mark.parametrize("selection", [Selection(), MAIL])
def test_a_divert_is_undone_by_putting_its_jobs_back(scene: Scene, selection: Selection) -> None:
    """They stand where they stood, what arrived meanwhile included."""
    scene.fill("mail", "a", "b")
    scene.fill("mail", "r", function="app.report.build")
    diverted = scene.shedder.divert("mail.normal", selection=selection, reason="r")
    scene.fill("mail", "c")
    undone = scene.shedder.undo(diverted.event, reason="r")
    assert isinstance(undone, RestoreReceipt)
    assert ["a", "b", "r", "c"] == scene.listed("mail")
    assert [diverted.event] == [scene.shedder.event(event).undoes for event in undone.events]
    assert {} == scene.redis.hgetall(scene.keys.diverts)


def test_undoing_one_divert_leaves_the_other(scene: Scene) -> None:
    """Each event names its own order."""
    scene.fill("mail", "a")
    scene.fill("mail", "b", function="app.report.build")
    first = scene.shedder.divert("mail.normal", selection=MAIL, reason="r")
    second = scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.undo(second.event, reason="r")
    assert (["a"], ["b"]) == (scene.backlog("mail"), scene.listed("mail"))
    scene.shedder.undo(first.event, reason="r")
    assert ["a", "b"] == scene.listed("mail")


def test_a_drain_is_undone_by_the_rate_before(scene: Scene) -> None:
    """A change of rate goes back to the old rate, a first drain to none."""
    scene.fill("mail", "a", "b", "c")
    scene.shedder.divert("mail.normal", reason="r")
    first = scene.shedder.drain("mail.normal", rate=SLOW, reason="r")
    second = scene.shedder.drain("mail.normal", rate=FAST, reason="too fast")
    assert "a" == scene.run_one("mail")
    undone = scene.shedder.undo(second.event, reason="r")
    assert isinstance(undone, DrainReceipt)
    assert undone.rate is not None
    assert SLOW.per_second == pytest.approx(undone.rate.per_second)
    scene.run_all("mail")  # the token that the fast one had left
    undone = scene.shedder.undo(first.event, reason="r")
    assert isinstance(undone, DrainReceipt)
    assert undone.rate is None
    assert [] == scene.run_all("mail")


def test_undoing_a_drain_gives_each_lane_its_own_rate_back(scene: Scene) -> None:
    """What did not drain before does not drain after it."""
    scene.fill("mail", "a")
    scene.fill("mail.low", "b", "c")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail.low", rate=Rate(3.0), reason="r")
    drain = scene.shedder.drain("mail", rate=FAST, reason="all of it")
    undone = scene.shedder.undo(drain.event, reason="r")
    assert isinstance(undone, DrainReceipt)
    assert Rate(3.0) == undone.rate
    diverts = {lane.lane: lane.diverts for lane in scene.shedder.status("mail").lanes}
    [normal], [low] = diverts["mail"], diverts["mail.low"]
    assert normal.drain is None
    assert low.drain is not None
    assert Rate(3.0) == low.drain.rate


def test_without_an_id_the_last_change_is_undone_and_then_the_one_before(scene: Scene) -> None:
    """What was undone, and what undid it, are not candidates again."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.pause("mail", reason="r")
    assert isinstance(scene.shedder.undo(reason="r"), ResumeReceipt)
    assert isinstance(scene.shedder.undo(reason="r"), RestoreReceipt)
    with pytest.raises(CannotUndo, match="nothing to undo"):
        scene.shedder.undo(reason="r")
    assert ["a"] == scene.run_all("mail")


def test_an_event_that_is_not_there_is_refused(scene: Scene) -> None:
    """An id that the journal does not have, and what is no id at all."""
    for identifier in ("1-1", "yesterday"):
        with pytest.raises(EventNotFound):
            scene.shedder.undo(identifier, reason="r")


def test_what_has_no_way_back_is_refused(scene: Scene) -> None:
    """Jobs that have run do not come back."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    scene.run_all("mail")
    drained = scene.shedder.events()[-1]
    assert "drained" == drained.verb
    with pytest.raises(CannotUndo, match="no way back from 'drained'"):
        scene.shedder.undo(drained.id, reason="r")


def test_what_has_ended_cannot_be_undone(scene: Scene) -> None:
    """A pause that was resumed, a divert and a drain whose backlog is empty."""
    paused = scene.shedder.pause("mail", reason="r")
    scene.shedder.resume("mail", reason="r")
    scene.fill("mail", "a")
    diverted = scene.shedder.divert("mail", reason="r")
    drain = scene.shedder.drain("mail", rate=FAST, reason="r")
    scene.run_all("mail")
    before = scene.verbs()
    for event in (paused.event, diverted.event, drain.event):
        with pytest.raises(CannotUndo):
            scene.shedder.undo(event, reason="r")
    assert before == scene.verbs()
