"""A backlog comes back in order, as fast as it may, and to the last job."""

from __future__ import annotations

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.events import Cause
from shedder.selection import Selection
from shedder.units import BURST_SECONDS, Rate, burst_of
from tests.features.scene import Scene, numbered
from tests.waiting import wait_until

FAST = Rate(1e9)
MAIL = Selection.parse(functions=["app.mail.*"])
CAUSE = Cause("oncall@desk", "r")


def test_a_drained_backlog_runs_oldest_first_and_before_what_arrives(scene: Scene) -> None:
    """Arrivals stay behind; when nothing is left the divert has ended, and the journal says so."""
    scene.fill("mail", "a", "b")
    scene.shedder.divert("mail.normal", reason="r")
    scene.fill("mail", "c", how="stock")
    receipt = scene.shedder.drain("mail.normal", rate=FAST, reason="better now")
    assert (2, None) == (receipt.backlog, receipt.lanes[0].rate_before)
    assert "a" == scene.run_one("mail")
    scene.fill("mail", "d")
    assert ["b", "c", "d"] == scene.run_all("mail")
    drained = scene.shedder.events()[-1]
    assert ("drained", "better now", 4) == (drained.verb, drained.why, drained.after["released"])
    assert ["divert", "drain", "drained"] == scene.verbs()
    scene.fill("mail", "e")
    assert ["e"] == scene.run_all("mail")


def test_other_lanes_keep_their_priority_while_one_drains(scene: Scene) -> None:
    """A draining backlog takes its lane's place, and no better one."""
    scene.fill("mail", "normal")
    scene.fill("mail.low", "low")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=FAST, reason="r")
    scene.fill("mail.high", "high")
    assert ["high", "normal", "low"] == scene.run_all("mail")


def test_no_more_start_than_the_rate_allows(scene: Scene) -> None:
    """By the server's clock: at most the burst and the rate times the time since the order."""
    rate = Rate(100.0)
    scene.fill("mail", *numbered("a", 40))
    scene.shedder.divert("mail", reason="r")
    began = scene.shedder.drain("mail", rate=rate, reason="r").at
    for started in range(1, 41):
        wait_until(lambda: scene.run_one("mail"), what="the next token", interval=0.001)
        assert started <= scene.allowed(rate, began)


def test_time_without_a_worker_gives_no_more_than_the_burst(scene: Scene) -> None:
    """After a pause of the workers the first starts are a tenth of a second's worth."""
    rate = Rate(100.0)
    scene.fill("mail", *numbered("a", 60))
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=rate, reason="r")
    scene.let_pass(500)
    began = scene.server_ms()
    started = len(scene.run_all("mail"))
    seconds = (scene.server_ms() - began) / 1000
    assert rate.per_second * BURST_SECONDS <= started
    assert started <= burst_of(rate) + rate.per_second * seconds


def test_a_slow_rate_is_kept_by_a_worker_that_comes_a_little_late(scene: Scene) -> None:
    """What passes between a token and the start that takes it counts for the next token."""
    scene.fill("mail", *numbered("a", 5))
    scene.shedder.divert("mail.normal", reason="r")
    lane = scene.shedder.drain("mail.normal", rate=Rate(1.0), reason="r").lanes[0]
    bucket = scene.keys.drain(lane.order, "mail")
    late = scene.server_ms() - 1080
    scene.redis.hset(bucket, mapping={"tokens": "0", "at": late})
    assert scene.run_one("mail")
    assert 0.079 <= float(scene.redis.hget(bucket, "tokens") or 0) <= 0.1


def test_a_change_of_rate_gives_no_tokens_away(scene: Scene) -> None:
    """However often an operator changes his mind, the highest rate is never passed."""
    scene.fill("mail", *numbered("a", 200))
    scene.shedder.divert("mail", reason="r")
    began = scene.shedder.drain("mail", rate=Rate(100.0), reason="r").at
    started = 0
    for rate in (50.0, 200.0, 1.0, 100.0, 200.0) * 10:
        scene.shedder.drain("mail", rate=Rate(rate), reason="r")
        started += len(scene.run_all("mail"))
        assert started <= scene.allowed(Rate(200.0), began)


def test_a_slower_rate_is_obeyed_from_the_change_on(scene: Scene) -> None:
    """What had gathered at the fast rate is cut to the burst of the slow one."""
    scene.fill("mail", *numbered("a", 50))
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    receipt = scene.shedder.drain("mail.normal", rate=Rate(1, 86400.0), reason="slower")
    assert FAST == receipt.lanes[0].rate_before
    assert ["a-1"] == scene.run_all("mail")


def test_time_at_a_slow_rate_is_not_paid_at_a_fast_one(scene: Scene) -> None:
    """What has gathered when the rate changes has gathered at the old rate."""
    scene.fill("mail", *numbered("a", 50))
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=Rate(1, 86400.0), reason="r")
    scene.let_pass(200)
    changed = scene.shedder.drain("mail", rate=Rate(50.0), reason="faster").at
    started = len(scene.run_all("mail"))
    assert started <= 50.0 * (scene.server_ms() / 1000 - changed.timestamp() + 0.001)


def test_an_idle_worker_is_told_when_the_next_token_comes(scene: Scene) -> None:
    """It waits so long, and not for ever, though no bell will ring."""
    scene.fill("mail", "a", "b")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=Rate(60, 60.0), reason="r")
    answer = scene.claim("mail")
    assert 0 < getattr(answer, "wait_ms", 0) <= 1000


def test_a_drain_that_stays_leaves_the_divert_in_force(scene: Scene) -> None:
    """Its backlog empty, it goes on to let through what arrives, at its rate."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r", stays=True)
    assert ["a"] == scene.run_all("mail")
    scene.fill("mail", "b")
    assert ["b"] == scene.backlog("mail")
    assert ["b"] == scene.run_all("mail")
    assert ["divert", "drain"] == scene.verbs()


def test_a_stopped_drain_starts_nothing_more(scene: Scene) -> None:
    """The divert stays, and a new drain begins without tokens."""
    scene.fill("mail", "a", "b")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    assert "a" == scene.run_one("mail")
    receipt = scene.shedder.stop_drain("mail.normal", reason="no")
    assert (None, FAST) == (receipt.rate, receipt.lanes[0].rate_before)
    assert [] == scene.run_all("mail")
    scene.shedder.drain("mail.normal", rate=Rate(1, 86400.0), reason="r")
    assert [] == scene.run_all("mail")
    assert ["divert", "drain", "drain stopped", "drain"] == scene.verbs()


def test_the_event_of_a_drain_tells_of_all_diverts_of_a_lane(scene: Scene) -> None:
    """Two backlogs of one lane are counted together, the faster one is the rate before."""
    mail = Selection.parse(functions=["app.mail.*"])
    scene.fill("mail", "a", "b")
    scene.fill("mail", "c", function="app.report.build")
    scene.shedder.divert("mail.normal", selection=mail, reason="r")
    scene.shedder.drain("mail.normal", rate=Rate(1, 86400.0), reason="r")
    scene.shedder.divert("mail.normal", reason="r")
    receipt = scene.shedder.drain("mail.normal", rate=Rate(2.0), reason="r")
    assert [2, 1] == [lane.backlog for lane in receipt.lanes]
    event = scene.shedder.event(receipt.event)
    assert (3, pytest.approx(1 / 86400.0)) == (event.before["mail"]["backlog"], event.before["mail"]["rate"])


def test_a_drain_of_nothing_is_no_event(scene: Scene) -> None:
    """Without a backlog there is nothing to order."""
    receipt = scene.shedder.drain("mail", rate=FAST, reason="r")
    assert ("", ()) == (receipt.event, receipt.lanes)
    assert [] == scene.verbs()


def test_a_drain_of_an_empty_backlog_ends_the_divert(scene: Scene) -> None:
    """At once, because no claim may ever come by, and with one event for all lanes."""
    scene.shedder.divert("mail", reason="r")
    receipt = scene.shedder.drain("mail", rate=Rate(1.0), reason="over")
    assert 4 == len(receipt.lanes)
    assert {} == scene.redis.hgetall(scene.keys.diverts)
    assert ["divert", "drain", "drained"] == scene.verbs()
    assert 4 == len(scene.shedder.events()[-1].lanes)


def test_what_others_pushed_into_a_diverted_lane_drains_at_the_rate_too(scene: Scene) -> None:
    """It is not in the backlog yet, but the divert has taken it."""
    scene.shedder.divert("mail.normal", reason="r")
    scene.fill("mail", "a", "b", how="stock")
    scene.shedder.drain("mail.normal", rate=Rate(1, 86400.0), reason="r")
    assert [] == scene.run_all("mail")
    assert ["a", "b"] == scene.backlog("mail")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    assert ["a", "b"] == scene.run_all("mail")
    assert "drained" == scene.verbs()[-1]


def test_the_end_of_a_drain_tells_what_all_of_it_did(scene: Scene) -> None:
    """Jobs that were released before the drain was ordered to end count as well."""
    scene.fill("mail", "a", "b")
    scene.hands.cancel("b")
    scene.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail", "b")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r", stays=True)
    assert ["a"] == scene.run_all("mail")
    scene.shedder.drain("mail.normal", rate=FAST, reason="that is all")
    after = scene.shedder.events()[-1].after
    assert (1, {"canceled": 1}, ["b canceled"]) == (after["released"], after["skipped"], after["names"])


def test_the_numbers_of_a_drain_are_those_of_this_drain(scene: Scene) -> None:
    """What an earlier drain of the same divert released, skipped and saw fail is not told again."""
    scene.fill("mail", *numbered("a", 6))
    scene.hands.cancel("a-1")
    scene.shedder.divert("mail.normal", reason="r")
    scene.hands.cancel("a-2")
    first = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    assert ["a-3", "a-4"] == [scene.run_one("mail"), scene.run_one("mail")]
    scene.shedder.stop_drain("mail.normal", reason="r")
    stopped = scene.shedder.events()[-1].after["mail"]
    assert (2, {"canceled": 1}) == (stopped["released"], stopped["skipped"])
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    [progress] = scene.shedder.drain_progress(first)
    assert (0, {}, ()) == (progress.released, progress.skipped, progress.skipped_names)
    assert ["a-5", "a-6"] == scene.run_all("mail")
    drained = scene.shedder.events()[-1]
    assert ("drained", 2, {}, {}) == (
        drained.verb, drained.after["released"], drained.after["skipped"], drained.after["names"]
    )  # fmt: skip


def test_a_change_of_rate_goes_on_counting(scene: Scene) -> None:
    """It is the same drain."""
    scene.fill("mail", "a", "b", "c")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    assert "a" == scene.run_one("mail")
    receipt = scene.shedder.drain("mail.normal", rate=Rate(1e8), reason="r")
    assert "b" == scene.run_one("mail")
    [progress] = scene.shedder.drain_progress(receipt)
    assert 2 == progress.released


def test_jobs_that_cannot_run_any_more_are_counted_and_named(scene: Scene) -> None:
    """Cancelled, deleted and expired ones are skipped, and the last event tells which."""
    scene.fill("mail", "a", "b", "c", "d")
    scene.shedder.divert("mail.normal", reason="r")
    scene.hands.cancel("a")
    scene.hands.delete("b")
    scene.hands.expire("c")
    receipt = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    assert ["d"] == scene.run_all("mail")
    expected = {"canceled": 1, "gone": 2}
    [progress] = scene.shedder.drain_progress(receipt)
    assert (1, expected, True) == (progress.released, progress.skipped, progress.is_done)
    assert ("a canceled", "b gone", "c gone") == progress.skipped_names
    after = scene.shedder.events()[-1].after
    assert (expected, ["a canceled", "b gone", "c gone"]) == (after["skipped"], after["names"])


def test_progress_is_told_while_it_drains(scene: Scene) -> None:
    """What is left, what was released, and that it is not done."""
    scene.fill("mail", "a", "b", "c")
    scene.shedder.divert("mail.normal", reason="r")
    receipt = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    scene.run_one("mail")
    [progress] = scene.shedder.drain_progress(receipt)
    assert (2, 1, False) == (progress.backlog, progress.released, progress.is_done)
    assert ("mail", receipt.lanes[0].order) == (progress.lane, progress.order)


def test_a_paused_lane_does_not_drain(scene: Scene) -> None:
    """A pause holds the backlog as well as the lane."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=FAST, reason="r")
    scene.shedder.pause("mail", reason="r")
    assert [] == scene.run_all("mail")
    scene.shedder.resume("mail", reason="r")
    assert ["a"] == scene.run_all("mail")


def test_a_drained_job_that_does_not_start_goes_back_to_the_front(scene: Scene) -> None:
    """Its worker died before the start: it is the next of the backlog again."""
    scene.fill("mail", "a", "b")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=FAST, reason="r")
    token = scene.take("mail")
    assert ["b"] == scene.backlog("mail")
    scene.redis.zadd(scene.keys.claims, {token: 0})
    assert ["a", "b"] == scene.run_all("mail")
