"""A divert takes exactly what it says, keeps the order, and stands until it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shedder.errors import RecordUnreadable
from shedder.events import Cause
from shedder.queues.divert import divert_lanes, scan, scan_lane
from shedder.queues.drain import order_drain
from shedder.queues.preview import FunctionMix, look_at_functions
from shedder.selection import Selection
from shedder.store.store import Command
from shedder.units import Rate
from tests.features.scene import Scene, numbered

MAIL = Selection.parse(functions=["app.mail.*"])
ACME = Selection.parse(meta=["tenant=acme"])
OLD = Selection.parse(older_than="1h")
CAUSE = Cause("oncall@desk", "r")


def test_a_whole_divert_moves_everything_at_once(scene: Scene) -> None:
    """The lanes are empty, the backlogs hold all jobs in order, and nothing starts."""
    jobs = scene.fill("mail", *numbered("a", 1200))
    scene.fill("mail.low", "b")
    receipt = scene.shedder.divert("mail", reason="database at 99 %")
    assert (1201, [0, 0, 1200, 1]) == (receipt.moved, [lane.moved for lane in receipt.lanes])
    assert ([], jobs) == (scene.waiting("mail"), scene.backlog("mail"))
    assert [] == scene.run_all("mail")
    assert ["divert"] == scene.verbs()


def test_a_diverted_job_keeps_what_it_is(scene: Scene) -> None:
    """Hash, status and time of enqueueing are not touched."""
    scene.ours("mail").enqueue("app.mail.send", 1, job_id="a", job_timeout=7, meta={"x": 1})
    before = scene.redis.hgetall(scene.job("a").key)
    scene.shedder.divert("mail", reason="r")
    assert before == scene.redis.hgetall(scene.job("a").key)


def test_what_arrives_during_a_whole_divert_goes_to_its_end(scene: Scene) -> None:
    """From a producer of ours, from a stock one and on a pipeline, in the order of arrival."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    scene.fill("mail", "b")
    scene.fill("mail", "c", how="stock")
    scene.fill("mail", "d", how="many")
    scene.fill("mail", "e")
    assert [] == scene.run_all("mail")
    assert ([], list("abcde")) == (scene.waiting("mail"), scene.backlog("mail"))


def test_an_arrival_at_the_front_goes_to_the_front_of_the_backlog(scene: Scene) -> None:
    """`at_front` means before all that wait, wherever they wait."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    scene.hands.enqueue("ours", "mail", "b", "app.mail.send", "", at_front=True)
    assert ["b", "a"] == scene.backlog("mail")


@pytest.mark.parametrize("how", ["ours", "stock", "many"])
@pytest.mark.parametrize("at_a_time", [1, 2, 1000])
def test_a_subset_goes_and_the_rest_stays_in_order(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, how: str, at_a_time: int
) -> None:
    """Whatever the size of the steps, both keep the order they had."""
    monkeypatch.setattr("shedder.queues.divert.JOBS_PER_STEP", at_a_time)
    for number in range(4):
        scene.fill("mail", f"mail-{number}", how=how)
        scene.fill("mail", f"report-{number}", how=how, function="app.report.build")
    seen: list[tuple[int, int]] = []
    receipt = scene.shedder.divert("mail.normal", selection=MAIL, reason="r", on_progress=lambda *at: seen.append(at))
    assert [f"mail-{number}" for number in range(4)] == scene.backlog("mail")
    assert [f"report-{number}" for number in range(4)] == scene.listed("mail")
    assert [(4, 4)] == [(lane.moved, lane.waiting) for lane in receipt.lanes]
    assert (8, 8) == seen[-1]
    assert ["divert", "scan"] == scene.verbs()


@pytest.mark.parametrize("selection", [MAIL, ACME, Selection.parse(
    functions=["app.mail.*"], meta=["tenant=acme"])])  # fmt: skip
@pytest.mark.parametrize("how", ["ours", "stock", "many"])
def test_a_divert_stands_for_what_arrives(scene: Scene, how: str, selection: Selection) -> None:
    """What matches and comes later does not start, whoever enqueued it; the rest does."""
    scene.shedder.divert("mail", selection=selection, reason="r")
    scene.fill("mail", "in", how=how, tenant="acme")
    scene.fill("mail", "out", how=how, function="app.report.build")
    assert ["out"] == scene.run_all("mail")
    assert ["in"] == scene.backlog("mail")


@pytest.mark.parametrize("how", ["ours", "stock"])
def test_age_is_judged_when_a_job_is_looked_at(scene: Scene, how: str) -> None:
    """What is old goes, what is young stays until it is old."""
    scene.fill("mail", "old", "young", how=how)
    scene.hands.age("old")
    scene.shedder.divert("mail", selection=OLD, reason="r")
    assert (["old"], ["young"]) == (scene.backlog("mail"), scene.waiting("mail"))
    scene.fill("mail", "next", how=how)
    scene.hands.age("young")
    assert ["next"] == scene.run_all("mail")
    assert ["old", "young"] == scene.backlog("mail")


def test_a_stock_job_is_matched_by_its_function_and_not_by_its_description(scene: Scene) -> None:
    """A description may name another function; it decides nothing."""
    stock = scene.stock("mail")
    stock.enqueue("app.report.build", job_id="a", description="app.mail.send()")
    stock.enqueue("app.mail.send", job_id="b", description="app.report.build()")
    preview = scene.shedder.preview_divert("mail", selection=MAIL)
    assert (1, (("app.mail.send", 1),)) == (preview.taken, preview.functions)
    scene.shedder.divert("mail", selection=MAIL, reason="r")
    assert (["b"], ["a"]) == (scene.backlog("mail"), scene.waiting("mail"))


def test_a_stock_job_that_the_scan_has_not_seen_is_judged_before_it_starts(scene: Scene) -> None:
    """Function and tenant of a job from a stock producer are known to the worker that holds it."""
    both = Selection.parse(functions=["app.mail.*"], meta=["tenant=acme"])
    scene.shedder.divert("mail", selection=both, reason="r")
    scene.stock("mail").enqueue("app.mail.send", job_id="a", meta={"tenant": "acme"})
    scene.stock("mail").enqueue("app.mail.send", job_id="b", meta={"tenant": "beta"})
    assert ["b"] == scene.run_all("mail")
    assert ["a"] == scene.backlog("mail")


def test_a_job_in_hand_when_the_divert_comes_goes_to_the_front_of_the_backlog(scene: Scene) -> None:
    """Who claimed before the divert and had not started is refused at the gate, and is first."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.let_pass(2)
    receipt = scene.shedder.divert("mail", selection=MAIL, reason="r")
    gate = scene.hands.start(token)
    assert ("diverted", receipt.lanes[0].order) == (gate.verdict, gate.detail)
    assert ["a", "b"] == scene.backlog("mail")


def test_a_claim_that_died_goes_to_the_front_of_the_backlog(scene: Scene) -> None:
    """A job that was in hand when everything was diverted is not left in the lane."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.shedder.divert("mail", reason="r")
    scene.redis.zadd(scene.keys.claims, {token: 0})
    assert [] == scene.run_all("mail")
    assert ["a", "b"] == scene.backlog("mail")


def test_a_job_whose_data_nobody_can_read_stays(scene: Scene) -> None:
    """It may run: the worker, which can read it, decides; a dry run counts it in neither."""
    scene.fill("mail", "a", how="stock")
    scene.redis.hset(scene.job("a").key, "data", b"\x00\x01\x02")
    assert 0 == scene.shedder.divert("mail", selection=MAIL, reason="r").moved
    assert ["a"] == scene.waiting("mail")
    whole = scene.shedder.preview_divert("mail")
    assert (("(cannot be read here)", 1),) == whole.functions


def test_a_dry_run_tells_what_would_go_and_changes_nothing(scene: Scene) -> None:
    """Numbers, functions and the oldest are those of the divert that follows."""
    scene.fill("mail", "a", "b", tenant="acme")
    scene.fill("mail.low", "c", how="stock", tenant="acme")
    scene.fill("mail", "d")
    before = scene.redis.dbsize()
    preview = scene.shedder.preview_divert("mail", selection=ACME)
    assert (before, []) == (scene.redis.dbsize(), scene.verbs())
    assert [(0, 0), (0, 0), (3, 2), (1, 1)] == [(e.waiting, e.taken) for e in preview.lanes]
    assert (("app.mail.send", 3),) == preview.functions
    oldest = preview.lanes[2].oldest
    enqueued_at = scene.job("a").enqueued_at
    assert oldest is not None
    assert enqueued_at is not None
    assert abs(oldest - enqueued_at) < timedelta(milliseconds=1)
    assert preview.taken == scene.shedder.divert("mail", selection=ACME, reason="r").moved


def test_a_dry_run_that_finds_nothing_tells_what_is_there(scene: Scene) -> None:
    """A misspelt function is seen by the names of those that wait."""
    scene.fill("mail", "a", "b", how="stock")
    scene.fill("mail", "c", function="app.report.build")
    preview = scene.shedder.preview_divert("mail", selection=Selection.parse(functions=["ap.*"]))
    assert (0, ()) == (preview.taken, preview.functions)
    assert (("app.mail.send", 2), ("app.report.build", 1)) == preview.others


def test_the_same_divert_twice_is_one(scene: Scene) -> None:
    """A second operator's divert of the same jobs keeps the first order, and moves what is left."""
    scene.fill("mail", "a")
    first = scene.shedder.divert("mail", reason="r")
    scene.fill("mail", "b", how="stock")
    second = scene.shedder.divert("mail", reason="r")
    assert [lane.order for lane in first.lanes] == [lane.order for lane in second.lanes]
    assert [] == scene.run_all("mail")
    assert ["a", "b"] == scene.backlog("mail")


def test_a_scan_that_another_process_finished_is_told_once(scene: Scene) -> None:
    """Who comes late finds nothing to do, and writes no second line into the journal."""
    scene.fill("mail", *numbered("a", 250))
    scene.fill("mail", "r", function="app.report.build")
    order, store = "o", scene.shedder.store
    store.run(divert_lanes(scene.keys, scene.lanes("mail.normal"), MAIL, CAUSE, order=order))
    assert "more" == store.run(scan_lane(scene.keys, "mail", order, CAUSE, operation="first", step=1)).state
    scan(store, "mail", order, MAIL, CAUSE)
    late = store.run(scan_lane(scene.keys, "mail", order, CAUSE, operation="first", step=2))
    assert ("ended", 0, 0) == (late.state, late.moved, late.looked_at)
    assert ["divert", "scan"] == scene.verbs()
    assert ["r"] == scene.listed("mail")


def test_two_diverts_on_one_lane_each_take_their_own(scene: Scene) -> None:
    """The older order wins where both match; ending one leaves the other."""
    scene.fill("mail", "a", tenant="acme")
    scene.fill("mail", "b", function="app.report.build", tenant="acme")
    scene.fill("mail", "c", function="app.report.build")
    first = scene.shedder.divert("mail.normal", selection=MAIL, reason="r")
    scene.shedder.divert("mail.normal", selection=ACME, reason="r")
    assert ["a", "b"] == scene.backlog("mail")
    scene.shedder.undo(first.event, reason="r")
    assert ["b"] == scene.backlog("mail")
    assert ["c"] == scene.run_all("mail")  # "a" is back, and its tenant is diverted
    assert ["b", "a"] == scene.backlog("mail")


def test_what_arrives_before_the_scan_has_passed_stays_behind_what_came_first(scene: Scene) -> None:
    """Until the scan has looked at the older ones a new job does not overtake them."""
    scene.fill("mail", "a", "b")
    order = "o"
    lanes = scene.lanes("mail.normal")
    scene.shedder.store.run(divert_lanes(scene.keys, lanes, MAIL, CAUSE, order=order))
    scene.fill("mail", "c")
    scene.shedder.store.run(scan_lane(scene.keys, "mail", order, CAUSE, operation="s", step=1))
    scene.fill("mail", "d")
    assert list("abcd") == scene.backlog("mail")


def test_a_paused_lane_is_diverted_from_where_it_is_parked(scene: Scene) -> None:
    """What was parked goes to the backlog first, then what arrived."""
    scene.add_stock_worker("mail")
    scene.fill("mail", "a", "b")
    scene.shedder.pause("mail", reason="r")
    scene.fill("mail", "c", how="stock")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.resume("mail", reason="r")
    assert [] == scene.run_all("mail")
    assert ["a", "b", "c"] == scene.backlog("mail")


@pytest.mark.parametrize("at_a_time", [1, 1000])
def test_a_subset_of_a_parked_lane_leaves_the_rest_parked(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    """A scan does not put what stays within the reach of stock workers."""
    monkeypatch.setattr("shedder.queues.divert.JOBS_PER_STEP", at_a_time)
    scene.add_stock_worker("mail")
    scene.fill("mail", "b", function="app.report.build")
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="r")
    scene.shedder.divert("mail", selection=MAIL, reason="r")
    assert (["a"], [], ["b"]) == (scene.backlog("mail"), scene.listed("mail"), scene.waiting("mail"))


@pytest.mark.parametrize("verb", ["divert", "drain"])
def test_an_order_for_several_lanes_is_carried_out_whole_or_not_at_all(scene: Scene, verb: str) -> None:
    """A record of the last lane that cannot be read leaves the first as it is, without an event."""
    scene.fill("mail.high", "a")
    scene.redis.hset(scene.keys.diverts, "mail.low", "{not JSON")
    lanes = scene.lanes("mail")
    commands: dict[str, Command[Any]] = {
        "divert": divert_lanes(scene.keys, lanes, Selection(), CAUSE, order="o"),
        "drain": order_drain(scene.keys, lanes, Rate(1.0), CAUSE, operation="o"),
    }
    with pytest.raises(RecordUnreadable):
        scene.shedder.store.run(commands[verb])
    assert (["a"], []) == (scene.listed("mail.high"), scene.verbs())
    assert [b"mail.low"] == scene.redis.hkeys(scene.keys.diverts)


def test_a_look_tells_what_fills_a_lane(scene: Scene) -> None:
    """A hundred jobs of all its lists, evenly spread and out of step with a rhythm, tell the shares."""
    queue, stock = scene.ours("mail"), scene.stock("mail")
    queue.enqueue_many([queue.prepare_data(f"app.mail.{'news' if number % 2 else 'ads'}") for number in range(600)])
    queue.enqueue_many([queue.prepare_data("app.mail.receipt") for _ in range(200)])
    stock.enqueue_many([stock.prepare_data("app.mail.old") for _ in range(200)])
    scene.ours("mail").low.enqueue("app.mail.news")
    before = scene.redis.dbsize()
    found = look_at_functions(scene.shedder.store, ["mail.high", "mail", "mail.low"])
    assert FunctionMix(1, 1, {"app.mail.news": 1}) == found["mail.low"]
    assert ["mail", "mail.low"] == list(found)
    mix = found["mail"]
    assert (1000, 100, before) == (mix.waiting, mix.looked_at, scene.redis.dbsize())
    for name, share in {"news": 0.3, "ads": 0.3, "receipt": 0.2, "old": 0.2}.items():
        assert share == pytest.approx(mix.shares[f"app.mail.{name}"], abs=0.08)


def test_a_look_does_not_stumble_over_jobs_that_are_gone(scene: Scene) -> None:
    """Of them no function is known; that something else waits among many is never ruled out."""
    scene.fill("mail", *numbered("a", 150))
    scene.redis.delete(*(scene.job(each).key for each in numbered("a", 75)))
    mix = look_at_functions(scene.shedder.store, ["mail"])["mail"]
    assert {""} < set(mix.functions)
    assert 100 == sum(mix.functions.values())
    assert {"": 0.995} == FunctionMix(150, 100, {"": 100}).shares
    assert {} == look_at_functions(scene.shedder.store, [])
