"""Every change can be taken back, or the refusal says plainly why not."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from shedder import Shedder
from shedder.errors import CannotUndo, EventNotFound, NothingToUndo, RecordUnreadable
from shedder.incident.records import ReviewPart
from shedder.policy.model import Policy
from shedder.queues.drain import DrainReceipt, end_drained
from shedder.queues.pause import PauseReceipt, ResumeReceipt
from shedder.queues.restore import RestoreReceipt
from shedder.selection import Selection
from shedder.units import Rate
from tests.features.scene import Scene
from tests.waiting import wait_until

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
    assert [] == scene.run_all("mail")
    scene.shedder.undo(first.event, reason="over")
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
    assert abs(undone.until - paused.until) <= timedelta(milliseconds=1)
    assert ["a"] == scene.run_all("mail")


def test_a_resume_cannot_be_undone_when_its_pause_would_be_over(scene: Scene) -> None:
    """There is nothing to go back to."""

    def is_resumed() -> bool:
        nonlocal resumed
        scene.shedder.pause("mail", reason="r", expires_in=timedelta(milliseconds=50))
        resumed = scene.shedder.resume("mail", reason="r")
        return bool(resumed.event)

    resumed = scene.shedder.resume("mail", reason="r")
    wait_until(is_resumed, what="a resume before the end of the pause")
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


def halted_drain(scene: Scene) -> DrainReceipt:
    """A drain of `mail` that has halted by itself."""
    scene.fill("mail", "a", "b")
    scene.shedder.divert("mail.normal", reason="r")
    receipt = scene.shedder.drain("mail.normal", rate=Rate(50.0), reason="r")
    for _ in range(20):
        scene.shedder.store.run(end_drained(scene.keys, "mail", receipt.lanes[0].order, "f"))
    return receipt


def test_undoing_a_drain_that_halted_says_that_it_has_halted(scene: Scene) -> None:
    """There is nothing to stop any more, and nobody else has changed it."""
    receipt = halted_drain(scene)
    with pytest.raises(CannotUndo) as refused:
        scene.shedder.undo(receipt.event, reason="r")
    said = str(refused.value)
    assert "this drain of mail has halted by itself" in said
    assert "20 of its last 20 jobs failed; nothing drains, and what is left is in the backlog" in said


def test_undoing_a_halt_says_how_to_go_on(scene: Scene) -> None:
    """A halt has no way back; the command that drains again does."""
    halted_drain(scene)
    [halt] = [event for event in scene.shedder.events() if event.verb == "drain halted"]
    with pytest.raises(CannotUndo, match="when its jobs succeed, drain again; try shedder drain mail") as refused:
        scene.shedder.undo(halt.id, reason="r")
    assert refused.value.try_instead == "shedder drain mail.normal --rate 50/second"


def test_a_drain_after_a_halt_is_undone_as_any_other(scene: Scene) -> None:
    """An earlier halt of the same divert does not stand in its way."""
    halted_drain(scene)
    receipt = scene.shedder.drain("mail.normal", rate=Rate(20.0), reason="r")
    undone = scene.shedder.undo(receipt.event, reason="r")
    assert isinstance(undone, DrainReceipt)
    assert undone.rate is None


def test_without_an_id_the_last_change_is_undone_and_then_the_one_before(scene: Scene) -> None:
    """What was undone, and what undid it, are not candidates again."""
    scene.fill("mail", "a")
    diverted = scene.shedder.divert("mail", reason="r")
    scene.shedder.pause("mail", reason="r")
    assert isinstance(scene.shedder.undo(reason="r"), ResumeReceipt)
    assert diverted.event == scene.shedder.event_to_undo().id
    assert isinstance(scene.shedder.undo(reason="r"), RestoreReceipt)
    with pytest.raises(CannotUndo, match="nothing to undo"):
        scene.shedder.undo(reason="r")
    assert ["a"] == scene.run_all("mail")


def test_without_an_id_undo_goes_on_past_a_change_of_which_nothing_stands(scene: Scene) -> None:
    """A pause that somebody resumed, one that expired, a flag that somebody restored, a divert that is drained."""
    kept = scene.shedder.pause("mail.low", reason="kept", by="ana@desk")
    scene.shedder.pause("mail.normal", reason="r", by="ana@desk")
    scene.shedder.resume("mail.normal", reason="r", by="bob@desk")
    scene.shedder.degrade_flag("hints", reason="r", by="ana@desk", force=True)
    scene.shedder.restore_flag("hints", reason="r", by="bob@desk")
    scene.shedder.divert("mail.high", reason="r", by="ana@desk")
    scene.shedder.drain_at_once("mail.high", reason="r", by="bob@desk")
    scene.shedder.pause("mail.critical", reason="r", by="ana@desk", expires_in=timedelta(milliseconds=1))
    scene.let_pass(2)
    undone = scene.shedder.undo(reason="r", by="ana@desk")
    assert isinstance(undone, ResumeReceipt)
    assert kept.event == scene.shedder.event(undone.event).undoes
    with pytest.raises(NothingToUndo, match=r"no change of yours stands any more"):
        scene.shedder.undo(reason="r", by="ana@desk")


def test_without_an_id_undo_stops_at_a_change_that_somebody_built_upon(scene: Scene) -> None:
    """What is before it is not undone behind their back; the refusal names it."""
    first = scene.shedder.pause("mail.low", reason="first", by="ana@desk")
    scene.shedder.limit_starts("mail.normal", most=1, reason="r", by="ana@desk")
    scene.shedder.limit_starts("mail.normal", most=9, reason="r", by="bob@desk")
    with pytest.raises(CannotUndo, match=f"bob@desk has changed.*the one before it is 'pause': first; .*{first.event}"):
        scene.shedder.undo(reason="r", by="ana@desk")


def test_without_an_id_undo_goes_on_past_an_incident_that_is_closed(scene: Scene) -> None:
    """Nothing of its record can change any more."""
    paused = scene.shedder.pause("mail.low", reason="kept", by="ana@desk")
    opened = scene.shedder.incidents.open("late", severity=3, by="ana@desk").incident
    scene.shedder.incidents.resolve(by="ana@desk")
    scene.shedder.incidents.review(dict.fromkeys(ReviewPart, "As it should be."), by="ana@desk")
    scene.shedder.incidents.close(incident=opened.id, by="ana@desk")
    undone = scene.shedder.undo(reason="r", by="ana@desk")
    assert isinstance(undone, ResumeReceipt)
    assert paused.event == scene.shedder.event(undone.event).undoes


def test_what_an_undo_took_back_and_was_brought_back_is_a_change_again(scene: Scene) -> None:
    """An undo that was undone itself has undone nothing."""
    paused = scene.shedder.pause("mail", reason="r")
    undone = scene.shedder.undo(reason="r")
    assert isinstance(undone, ResumeReceipt)
    scene.shedder.undo(undone.event, reason="it was right")
    assert paused.event == scene.shedder.event_to_undo().id
    assert isinstance(scene.shedder.undo(reason="r"), ResumeReceipt)


def test_two_policies_are_undone_one_after_the_other(scene: Scene) -> None:
    """What the first undo brought back is known as what it was, under its new number."""
    for hours in (1, 2):
        scene.shedder.policies.apply(Policy(stale_after=timedelta(hours=hours)), reason="r")
    scene.shedder.undo(reason="r")
    assert timedelta(hours=1) == scene.shedder.policies.applied().policy.stale_after
    scene.shedder.undo(reason="r")
    assert Policy() == scene.shedder.policies.applied().policy


@pytest.mark.parametrize("kind", ["flag", "limit"])
def test_undoing_a_setting_over_one_that_would_be_over_clears_it(scene: Scene, kind: str) -> None:
    """What stood before would have ended by now, so that nothing stands, and the event says so."""
    if kind == "flag":
        scene.shedder.degrade_flag("x", percent=50, reason="r", expires_in=timedelta(milliseconds=60), force=True)
        event = scene.shedder.degrade_flag("x", percent=100, reason="r", force=True).event
    else:
        scene.shedder.set_limit("x", SLOW, reason="r", expires_in=timedelta(milliseconds=60), force=True)
        event = scene.shedder.set_limit("x", FAST, reason="r", force=True).event
    scene.let_pass(61)
    scene.shedder.undo(event, reason="r")
    assert {} == {**scene.redis.hgetall(scene.keys.flags), **scene.redis.hgetall(scene.keys.limits)}
    assert {"flag": "flag restore", "limit": "limit clear"}[kind] == scene.verbs()[-1]


def test_an_event_that_is_not_there_is_refused(scene: Scene) -> None:
    """An id that the journal does not have, what is no id at all, and an empty one, as of an unset variable."""
    scene.shedder.pause("mail", reason="r")
    for identifier in ("1-1", "yesterday", "", " "):
        with pytest.raises(EventNotFound):
            scene.shedder.undo(identifier, reason="r")
    assert ["pause"] == scene.verbs()


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
    """A pause that was resumed, and a divert whose backlog is empty."""
    paused = scene.shedder.pause("mail", reason="r")
    scene.shedder.resume("mail", reason="r")
    scene.fill("mail", "a")
    diverted = scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=FAST, reason="r")
    scene.run_all("mail")
    before = scene.verbs()
    for event in (paused.event, diverted.event):
        with pytest.raises(CannotUndo):
            scene.shedder.undo(event, reason="r")
    assert before == scene.verbs()


def test_undoing_a_second_pause_puts_the_first_one_back(scene: Scene) -> None:
    """Its author, its reason and its end, and it can be undone as if nobody had paused since."""
    scene.fill("mail", "a")
    first = scene.shedder.pause("mail", reason="one", by="ana@desk", expires_in=timedelta(hours=4))
    second = scene.shedder.pause("mail", reason="two", by="bob@desk")
    undone = scene.shedder.undo(second.event, reason="not mine", by="bob@desk")
    assert isinstance(undone, PauseReceipt)
    assert first.until == undone.until
    assert ("pause", second.event) == _told(scene, undone.event)
    assert {("ana@desk", "one", first.until)} == _pauses(scene)
    assert [] == scene.run_all("mail")
    assert isinstance(scene.shedder.undo(first.event, reason="over"), ResumeReceipt)
    assert ["a"] == scene.run_all("mail")


def test_undoing_a_pause_of_more_lanes_ends_it_where_nothing_was_paused(scene: Scene) -> None:
    """One receipt and two events tell which lanes are paused again and which are not."""
    scene.shedder.pause("mail.low", reason="one", by="ana@desk")
    wider = scene.shedder.pause("mail", reason="two", by="bob@desk")
    undone = scene.shedder.undo(wider.event, reason="too much")
    assert isinstance(undone, PauseReceipt)
    assert ["mail.low"] == [lane.lane for lane in undone.lanes]
    assert {"mail", "mail.high", "mail.critical"} == {lane.lane for lane in undone.resumed}
    told = [(event.verb, set(event.lanes)) for event in scene.shedder.events()[-2:]]
    assert ("pause", {"mail.low"}) in told
    assert ("resume", {"mail", "mail.high", "mail.critical"}) in told
    assert {("ana@desk", "one", None)} == _pauses(scene)


def test_a_later_pause_is_kept_however_much_has_happened_since(scene: Scene) -> None:
    """An old pause cannot be undone over a newer one, whatever lies between in the journal."""
    first = scene.shedder.pause("mail.normal", reason="one", by="ana@desk")
    for number in range(201):
        scene.shedder.limit_starts("mail.normal", rate=Rate(number + 1), reason="r")
    second = scene.shedder.pause("mail.normal", reason="two", by="bob@desk")
    with pytest.raises(CannotUndo, match=f"bob@desk .* shedder undo {second.event}"):
        scene.shedder.undo(first.event, reason="it was me")
    assert {("bob@desk", "two", None)} == _pauses(scene)


def test_the_last_change_is_found_however_much_has_happened_since(scene: Scene) -> None:
    """What cannot be taken back does not hide what can."""
    scene.shedder.pause("mail.normal", reason="one")
    for _ in range(201):
        scene.redis.xadd(scene.keys.events, {"head": "{}", "before": "{}", "after": "{}"})
    assert isinstance(scene.shedder.undo(reason="r"), ResumeReceipt)


def test_undoing_a_resume_gives_each_lane_its_own_pause_back(scene: Scene) -> None:
    """Neither the longest of their ends nor who undid it."""
    short = scene.shedder.pause("mail.low", reason="one", by="ana@desk", expires_in=timedelta(minutes=30))
    long = scene.shedder.pause("mail.normal", reason="two", by="bob@desk", expires_in=timedelta(hours=8))
    resumed = scene.shedder.resume("mail", reason="too early", by="eve@desk")
    undone = scene.shedder.undo(resumed.event, reason="r", by="eve@desk")
    assert isinstance(undone, PauseReceipt)
    assert undone.until is None
    found = {lane.restored.until for lane in undone.lanes if lane.restored}
    assert {short.until, long.until} == found
    assert {("ana@desk", "one", short.until), ("bob@desk", "two", long.until)} == _pauses(scene)


def test_undoing_a_resume_refuses_over_a_pause_since(scene: Scene) -> None:
    """Who has paused the lane again is named."""
    scene.shedder.pause("mail.normal", reason="one", by="ana@desk")
    resumed = scene.shedder.resume("mail.normal", reason="over")
    scene.shedder.pause("mail.normal", reason="two", by="bob@desk")
    with pytest.raises(CannotUndo, match="bob@desk has paused mail again since"):
        scene.shedder.undo(resumed.event, reason="r")
    assert {("bob@desk", "two", None)} == _pauses(scene)


def test_an_undo_can_be_undone(scene: Scene) -> None:
    """The state before it is a state like any other."""
    scene.shedder.pause("mail.normal", reason="one", by="ana@desk")
    second = scene.shedder.pause("mail.normal", reason="two", by="bob@desk")
    undone = scene.shedder.undo(second.event, reason="r")
    assert isinstance(undone, PauseReceipt)
    scene.shedder.undo(undone.event, reason="r")
    assert {("bob@desk", "two", None)} == _pauses(scene)


def test_undoing_a_divert_that_stopped_a_drain_lets_it_go_on(scene: Scene) -> None:
    """The divert of the first operator stands as before, and drains at the rate that it had."""
    scene.fill("mail", "a")
    first = scene.shedder.divert("mail.normal", reason="one", by="ana@desk")
    scene.shedder.drain("mail.normal", rate=SLOW, reason="slowly", by="ana@desk")
    second = scene.shedder.divert("mail.normal", reason="two", by="bob@desk")
    with pytest.raises(CannotUndo, match="has changed what stands on mail since"):
        scene.shedder.undo(first.event, reason="r")
    undone = scene.shedder.undo(second.event, reason="r")
    assert isinstance(undone, DrainReceipt)
    assert undone.rate is not None
    assert SLOW.per_second == pytest.approx(undone.rate.per_second)
    assert isinstance(scene.shedder.undo(first.event, reason="r"), RestoreReceipt)
    assert ["a"] == scene.listed("mail")


def test_undoing_a_drain_keeps_a_later_change_of_it(scene: Scene) -> None:
    """A rate that somebody has set since, and a stop, stay."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", reason="r")
    first = scene.shedder.drain("mail.normal", rate=Rate(2.0), reason="r", by="ana@desk")
    scene.shedder.drain("mail.normal", rate=Rate(3.0), reason="r", by="bob@desk")
    with pytest.raises(CannotUndo, match="bob@desk has changed what stands on mail since"):
        scene.shedder.undo(first.event, reason="r")
    [drain] = [each.drain for each in scene.shedder.status("mail.normal").lanes[0].diverts]
    assert drain is not None
    assert Rate(3.0) == drain.rate


def test_undoing_a_drain_brings_diverts_back_that_it_ended_at_once(scene: Scene) -> None:
    """What arrives then goes to the backlog again, as it did before the drain."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r", by="ana@desk")
    drain = scene.shedder.drain("mail", rate=SLOW, reason="r")
    scene.shedder.undo(drain.event, reason="too early")
    scene.fill("mail.low", "b")
    scene.fill("mail.high", "c")
    assert [] == scene.run_all("mail")
    assert (["a"], ["b"], ["c"]) == tuple(map(scene.backlog, ("mail", "mail.low", "mail.high")))


def test_undoing_a_drain_of_nothing_diverts_again(scene: Scene) -> None:
    """Where all backlogs were empty the drain has ended all diverts, and its undo none."""
    scene.shedder.divert("mail.normal", reason="r", by="ana@desk")
    drain = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    scene.shedder.undo(drain.event, reason="too early")
    scene.fill("mail", "a")
    assert ([], ["a"]) == (scene.run_all("mail"), scene.backlog("mail"))


def test_undoing_a_drain_that_is_over_diverts_the_whole_queue_again(scene: Scene) -> None:
    """Where its backlog was empty at once, and where it ran empty later; what waits is held, too."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r", by="ana@desk")
    stood = _orders(scene)
    drain = scene.shedder.drain("mail", rate=FAST, reason="r")
    assert ["a"] == scene.run_all("mail")
    assert {} == _orders(scene)
    scene.fill("mail.low", "b")
    undone = scene.shedder.undo(drain.event, reason="too early")
    scene.fill("mail.high", "c")
    scene.fill("mail", "d")
    assert stood == _orders(scene)
    assert isinstance(undone, DrainReceipt)
    assert ({"mail", "mail.low"}, None) == ({"mail", "mail.low"} & {each.lane for each in undone.lanes}, undone.rate)
    assert [] == scene.run_all("mail")
    assert (["b"], ["c"], ["d"]) == tuple(map(scene.backlog, ("mail.low", "mail.high", "mail")))


def test_undoing_a_drain_that_is_over_leaves_what_somebody_put_back_since(scene: Scene) -> None:
    """`drain --at-once` of somebody else ended that lane's divert; the others stand again."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r", by="ana@desk")
    drain = scene.shedder.drain("mail", rate=SLOW, reason="r")
    scene.shedder.drain_at_once("mail.normal", reason="r", by="bob@desk")
    scene.shedder.undo(drain.event, reason="too early")
    assert {"mail.critical", "mail.high", "mail.low"} == {*_orders(scene)}


def test_undoing_a_change_of_rate_does_not_divert_again(scene: Scene) -> None:
    """The drain before it would have come to its end as well."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", reason="r", by="ana@desk")
    scene.shedder.drain("mail.normal", rate=SLOW, reason="r")
    faster = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    scene.run_all("mail")
    with pytest.raises(CannotUndo, match="has ended"):
        scene.shedder.undo(faster.event, reason="r")


def _orders(scene: Scene) -> dict[str, list[dict[str, object]]]:
    """By lane the diverts that stand, without their drains."""
    standing = scene.redis.hgetall(scene.keys.diverts)
    return {lane.decode(): [{**each, "drain": None} for each in json.loads(text)] for lane, text in standing.items()}


def test_undoing_a_drain_refuses_where_a_divert_was_set_since(scene: Scene) -> None:
    """The divert that it ended would stand beside the same one of somebody else."""
    scene.shedder.divert("mail.normal", reason="r", by="ana@desk")
    drain = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    scene.shedder.divert("mail.normal", reason="r", by="bob@desk")
    with pytest.raises(CannotUndo, match="bob@desk has changed"):
        scene.shedder.undo(drain.event, reason="too early")


def _told(scene: Scene, event_id: str) -> tuple[str, str]:
    event = scene.shedder.event(event_id)
    return event.verb, event.undoes


def _pauses(scene: Scene) -> set[tuple[str, str, datetime | None]]:
    pauses = [lane.pause for lane in scene.shedder.status("mail").lanes if lane.pause]
    return {(pause.by, pause.why, pause.until) for pause in pauses}


def test_what_an_earlier_shedder_set_is_undone(scene: Scene) -> None:
    """Its records name no event: they are known by what they say."""
    scene.fill("mail", "a")
    scene.fill("mail", "b", function="app.report.build")
    receipts = [
        scene.shedder.divert("mail.normal", selection=MAIL, reason="r"),
        scene.shedder.limit_starts("mail.normal", rate=SLOW, reason="r"),
        scene.shedder.pause("mail.normal", reason="r", expires_in=timedelta(hours=1)),
        scene.shedder.degrade_flag("hints", reason="r", force=True),
        scene.shedder.set_limit("reports", Rate(5.0), reason="r", force=True),
    ]
    _forget_events(scene)
    for receipt in receipts:
        scene.shedder.undo(receipt.event, reason="r")
    keys = (scene.keys.pauses, scene.keys.diverts, scene.keys.flags, scene.keys.limits)
    assert [{}] * 4 == [scene.redis.hgetall(key) for key in keys]
    assert ["a", "b"] == scene.listed("mail")


def test_what_an_earlier_shedder_changed_since_is_kept(scene: Scene) -> None:
    """Its pause, its limit and its flag name no event, and say something else."""
    first = [
        scene.shedder.pause("mail.normal", reason="one", by="ana@desk"),
        scene.shedder.limit_starts("mail.normal", rate=SLOW, reason="one"),
        scene.shedder.degrade_flag("hints", reason="one", force=True),
    ]
    scene.shedder.pause("mail.normal", reason="two", by="bob@desk")
    scene.shedder.limit_starts("mail.normal", rate=Rate(7.0), reason="two")
    scene.shedder.degrade_flag("hints", percent=10, reason="two", force=True)
    _forget_events(scene)
    for receipt in first:
        with pytest.raises(CannotUndo, match="since"):
            scene.shedder.undo(receipt.event, reason="r")


@pytest.mark.parametrize(
    ("verb", "before"),
    [
        ("pause", {"paused": True, "by": "ana@desk", "waiting": 0}),
        ("drain", {"rate": 2.0, "backlog": 1}),
        ("divert", {"diverted": True, "draining": True, "backlog": 1, "waiting": 0}),
    ],
)
def test_an_event_that_does_not_say_what_it_replaced_is_refused(
    scene: Scene, verb: str, before: dict[str, object]
) -> None:
    """An earlier shedder wrote it, and there is nothing to go back to."""
    head = {"v": 1, "verb": verb, "by": "bob@desk", "why": "r", "lanes": ["mail"]}
    told = {"head": head, "before": {"mail": before}, "after": {"mail": {"paused": True}}}
    fields = {name: json.dumps(each) for name, each in told.items()}
    event = scene.redis.xadd(scene.keys.events, fields)
    with pytest.raises(CannotUndo, match="does not say"):
        scene.shedder.undo(event.decode(), reason="r")


def _forget_events(scene: Scene) -> None:
    """Let the records be as an earlier shedder wrote them."""
    for key in (scene.keys.pauses, scene.keys.diverts, scene.keys.flags, scene.keys.limits):
        for name, text in scene.redis.hgetall(key).items():
            record = json.loads(text)
            for each in record if isinstance(record, list) else [record]:
                del each["event"]
            scene.redis.hset(key, name, json.dumps(record))


def test_a_key_of_another_type_is_met_before_the_first_change(scene: Scene) -> None:
    """An undo, a drain and a divert that fail on one lane have changed nothing on the others."""
    shedder, redis = scene.shedder, scene.redis
    scene.fill("mail.low", "a")
    shedder.divert("mail", reason="r")
    drain = shedder.drain("mail", rate=Rate(1.0), reason="r")
    order = next(lane.order for lane in drain.lanes if lane.lane == "mail.low")
    redis.delete(scene.keys.drain(order, "mail.low"))
    redis.set(scene.keys.drain(order, "mail.low"), "by hand")
    before = {key: (redis.dump(key), redis.ttl(key) > 0) for key in redis.scan_iter("*:shedder:*")}
    for change in (
        lambda: shedder.undo(drain.event, reason="r"),
        lambda: shedder.drain("mail", rate=Rate(2.0), reason="r"),
        lambda: shedder.divert("mail", reason="r"),
    ):
        with pytest.raises(RecordUnreadable):
            change()
    after = {key: (redis.dump(key), redis.ttl(key) > 0) for key in redis.scan_iter("*:shedder:*")}
    assert before == after


def test_without_an_id_only_ones_own_change_is_undone(scene: Scene) -> None:
    """However new the change of somebody else is; and who has none is told whose the last one is."""
    mine = scene.shedder.pause("mail", reason="mine", by="ana@desk")
    theirs = scene.shedder.divert("mail.low", reason="theirs", by="bob@desk")
    assert mine.event == scene.shedder.event_to_undo(by="ana").id
    undone = scene.shedder.undo(reason="wrong queue", by="ana@desk")
    assert isinstance(undone, ResumeReceipt)
    with pytest.raises(CannotUndo, match=f"'divert' by bob@desk: theirs; try shedder undo {theirs.event}"):
        scene.shedder.undo(reason="wrong queue", by="ana@desk")
    assert scene.shedder.undo(theirs.event, reason="they asked me to", by="ana@desk")


@pytest.mark.parametrize("account", ["root@ops", "ubuntu", "ec2-user@10.0.0.7", "deploy@ops"])
def test_what_an_account_of_many_has_done_is_nobodys_own_change(scene: Scene, account: str) -> None:
    """Whoever else is root may have done it, so it needs its id."""
    paused = scene.shedder.pause("mail", reason="r", by=account)
    with pytest.raises(CannotUndo, match=f"several people use {account}.*shedder undo {paused.event}, or --by"):
        scene.shedder.undo(reason="r", by=account)
    assert isinstance(scene.shedder.undo(paused.event, reason="r", by=account), ResumeReceipt)


def test_who_acts_is_said_once_for_a_whole_shell(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says who acts, unless a program does."""
    monkeypatch.setenv("SHEDDER_BY", "ana@desk")
    assert "ana@desk" == Shedder(scene.redis).by
    assert "bob@desk" == Shedder(scene.redis, by="bob@desk").by
    monkeypatch.setenv("SHEDDER_BY", " ")
    assert "@" in Shedder(scene.redis).by
