"""Does a backlog come back in order, as fast as it may, and to the last job?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shedder import backlog
from shedder.backlog import restore_lane
from shedder.rates import BURST_SECONDS, Rate, burst_of
from shedder.records import Cause
from shedder.selection import Selection
from tests.features.scene import Scene, numbered
from tests.waiting import wait_until

if TYPE_CHECKING:
    from datetime import datetime

    from redis import Redis

FAST = Rate(1e9)
MAIL = Selection.parse(functions=["app.mail.*"])
CAUSE = Cause("ana@desk", "r")


@pytest.fixture
def scene(redis: Redis) -> Scene:
    """Queues, an operator and workers on the shared server."""
    return Scene(redis)


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
        assert started <= allowed(scene, rate, began)


def allowed(scene: Scene, rate: Rate, began: datetime) -> float:
    """Jobs that may have started since `began`, which is told in whole milliseconds."""
    seconds = scene.server_ms() / 1000 - began.timestamp() + 0.001
    return burst_of(rate) + rate.per_second * seconds


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


def test_a_change_of_rate_gives_no_tokens_away(scene: Scene) -> None:
    """However often an operator changes his mind, the highest rate is never passed."""
    scene.fill("mail", *numbered("a", 200))
    scene.shedder.divert("mail", reason="r")
    began = scene.shedder.drain("mail", rate=Rate(100.0), reason="r").at
    started = 0
    for rate in (50.0, 200.0, 1.0, 100.0, 200.0) * 10:
        scene.shedder.drain("mail", rate=Rate(rate), reason="r")
        started += len(scene.run_all("mail"))
        assert started <= allowed(scene, Rate(200.0), began)


def test_a_slower_rate_is_obeyed_from_the_change_on(scene: Scene) -> None:
    """What had gathered at the fast rate is cut to the burst of the slow one."""
    scene.fill("mail", *numbered("a", 50))
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    receipt = scene.shedder.drain("mail.normal", rate=Rate(1, 86400.0), reason="slower")
    assert FAST == receipt.lanes[0].rate_before
    assert ["a-1"] == scene.run_all("mail")


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


def test_a_drain_of_nothing_is_no_event(scene: Scene) -> None:
    """Without a backlog there is nothing to order."""
    receipt = scene.shedder.drain("mail", rate=FAST, reason="r")
    assert ("", ()) == (receipt.event, receipt.lanes)
    assert [] == scene.verbs()


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


# at once


def test_at_once_brings_a_whole_lane_back_in_one_step(scene: Scene) -> None:
    """What was diverted stands before what arrives, and nothing is diverted any more."""
    jobs = scene.fill("mail", *numbered("a", 1200))
    scene.shedder.divert("mail.normal", reason="r")
    scene.fill("mail", "b")
    receipt = scene.shedder.drain_at_once("mail", reason="over")
    assert (1201, 1) == (receipt.restored, len(receipt.events))
    scene.fill("mail", "c")
    assert [*jobs, "b", "c"] == scene.listed("mail")
    assert ["divert", "restore"] == scene.verbs()


@pytest.mark.parametrize("at_a_time", [1, 2, 1000])
def test_at_once_puts_a_subset_back_where_its_jobs_were(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    """By the time of enqueueing, whatever the size of the steps."""
    monkeypatch.setattr(backlog, "JOBS_PER_STEP", at_a_time)
    jobs = []
    for number in range(5):
        jobs += scene.fill("mail", f"m{number}")
        jobs += scene.fill("mail", f"r{number}", function="app.report.build")
    scene.shedder.divert("mail", selection=MAIL, reason="r")
    jobs += scene.fill("mail", "m5", "m6")
    scene.shedder.drain_at_once("mail", reason="over")
    assert jobs == scene.listed("mail")


def test_at_once_does_not_open_another_divert(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job on its way back does not start while another order takes it."""
    monkeypatch.setattr(backlog, "JOBS_PER_STEP", 1)
    scene.fill("mail", "a", tenant="acme")
    scene.fill("mail", "b", function="app.report.build")
    scene.fill("mail", "c", tenant="acme")
    first = scene.shedder.divert("mail.normal", selection=MAIL, reason="r")
    acme = Selection.parse(meta=["tenant=acme"])
    scene.shedder.divert("mail.normal", selection=acme, reason="r")
    order = first.lanes[0].order
    command = restore_lane(scene.keys, "mail", order, CAUSE, operation="x", step=1)
    assert "more" == scene.shedder.store.run(command).state
    assert ["b"] == scene.run_all("mail")
    assert {"a", "c"} == set(scene.backlog("mail"))


def test_at_once_brings_back_jobs_that_wait_for_a_slot(scene: Scene) -> None:
    """What a drain had set aside is the front of what comes back."""
    scene.fill("mail", "a", "b")
    scene.shedder.divert("mail.normal", reason="r")
    order = scene.shedder.status("mail.normal").lanes[0].diverts[0].order
    _, rest, slot = scene.keys.backlog(order, "mail")
    scene.redis.lmove(rest, slot, "LEFT", "RIGHT")
    assert 2 == scene.shedder.drain_at_once("mail", reason="over").restored
    assert ["a", "b"] == scene.listed("mail")


# for stock workers


def test_stock_workers_get_a_few_at_a_time_oldest_first(scene: Scene) -> None:
    """Two for each worker before any has started, and more as they take them."""
    scene.add_stock_worker("mail")
    scene.fill("mail", *numbered("a", 6))
    scene.shedder.divert("mail.normal", reason="r")
    receipt = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    small = order_with_rate(receipt, Rate(1.0))
    for left in (["a-1", "a-2"], ["a-2", "a-3"]):
        scene.shedder.release_for_stock_workers(small)
        assert left == scene.listed("mail")
        scene.redis.lpop("rq:queue:mail")
    scene.shedder.release_for_stock_workers(small)
    assert ["a-3", "a-4"] == scene.listed("mail")
    assert ["a-5", "a-6"] == scene.backlog("mail")


def order_with_rate(receipt: object, rate: Rate) -> object:
    """The same receipt, of a drain with the pace `rate`, which sets how many are out at once."""
    from dataclasses import replace

    return replace(receipt, rate=rate)  # type: ignore[type-var]


def test_arrivals_stay_behind_what_is_released_to_stock_workers(scene: Scene) -> None:
    """A stock producer's push goes to the end of the backlog at the next step."""
    scene.add_stock_worker("mail")
    scene.fill("mail", "a", "b", "c")
    scene.shedder.divert("mail.normal", reason="r")
    receipt = order_with_rate(scene.shedder.drain("mail.normal", rate=FAST, reason="r"), Rate(1.0))
    scene.shedder.release_for_stock_workers(receipt)
    scene.fill("mail", "d", how="stock")
    scene.shedder.release_for_stock_workers(receipt)
    assert (["a", "b"], ["c", "d"]) == (scene.listed("mail"), scene.backlog("mail"))


def test_the_divert_ends_when_the_last_job_was_released(scene: Scene) -> None:
    """Stock workers find the rest in the list, and the journal has the end with its numbers."""
    scene.add_stock_worker("mail")
    scene.fill("mail", "a", "b", "c")
    scene.shedder.divert("mail.normal", reason="r")
    scene.hands.cancel("b")
    receipt = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    scene.shedder.release_for_stock_workers(receipt)
    assert ["a", "c"] == scene.listed("mail")
    drained = scene.shedder.events()[-1]
    assert ("drained", 2, ["b canceled"]) == (
        drained.verb, drained.after["released"], drained.after["names"],
    )  # fmt: skip


def test_nothing_is_released_to_stock_workers_of_a_paused_lane(scene: Scene) -> None:
    """They would start it: the drain waits until the lane is resumed."""
    scene.add_stock_worker("mail")
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    receipt = scene.shedder.drain("mail", rate=FAST, reason="r")
    scene.shedder.pause("mail", reason="r")
    scene.shedder.release_for_stock_workers(receipt)
    assert ([], ["a"]) == (scene.listed("mail"), scene.backlog("mail"))
    scene.shedder.resume("mail", reason="r")
    scene.shedder.release_for_stock_workers(receipt)
    assert ["a"] == scene.listed("mail")


def test_the_rate_holds_for_stock_workers_too(scene: Scene) -> None:
    """However often somebody asks, no more is released than the rate allows."""
    scene.add_stock_worker("mail")
    scene.fill("mail", *numbered("a", 50))
    scene.shedder.divert("mail.normal", reason="r")
    rate = Rate(100.0)
    receipt = scene.shedder.drain("mail.normal", rate=rate, reason="r")
    released = 0
    while released < 20:
        scene.shedder.release_for_stock_workers(receipt)
        released += len(scene.redis.lpop("rq:queue:mail", 100) or [])
        assert released <= allowed(scene, rate, receipt.at)
    assert timedelta() < scene.shedder.status().at - receipt.at


def test_lanes_with_a_worker_of_ours_release_nothing(scene: Scene) -> None:
    """Where a worker claims from the backlog nobody else moves its jobs."""
    scene.add_stock_worker("mail")
    worker = scene.add_stock_worker("mail")
    scene.redis.hset(worker.key, "shedder", "1")
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    receipt = scene.shedder.drain("mail", rate=FAST, reason="r")
    scene.shedder.release_for_stock_workers(receipt)
    assert ["a"] == scene.backlog("mail")
