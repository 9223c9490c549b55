"""A paused lane is out of the reach of stock workers, and whole again after the pause."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.queues.pause import park_lane
from tests.features.scene import Scene


@pytest.fixture(autouse=True)
def _a_stock_worker(scene: Scene) -> None:
    scene.add_stock_worker("mail")


def test_the_lists_of_stock_workers_are_empty_while_paused(scene: Scene) -> None:
    """What waits is parked; the receipt says how much, and who would not have obeyed."""
    scene.fill("mail", "a", "b")
    scene.fill("mail.low", "c")
    receipt = scene.shedder.pause("mail", reason="r")
    assert [] == scene.listed("mail")
    assert ["a", "b"] == scene.waiting("mail")
    assert [0, 0, 2, 0] == [lane.parked for lane in receipt.lanes]
    assert ["c"] == scene.listed("mail.low")  # nobody stock serves it
    assert [True] == [worker.is_stock for worker in receipt.stock_workers]


def test_arrivals_are_parked_too_and_all_comes_back_in_order(scene: Scene) -> None:
    """Our producer goes behind what a stock producer pushed, or to the front if it says so."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="r")
    scene.fill("mail", "b", how="stock")
    scene.fill("mail", "c")
    assert [] == scene.listed("mail")
    scene.hands.enqueue("ours", "mail", "first", "app.mail.send", "", at_front=True)
    assert [] == scene.listed("mail")
    scene.shedder.resume("mail", reason="over")
    assert ["first", "a", "b", "c"] == scene.listed("mail")


@pytest.mark.parametrize("arrivals", ["hij", "hijklmnopqrst"])
def test_a_lane_is_parked_and_joined_in_steps(scene: Scene, monkeypatch: pytest.MonkeyPatch, arrivals: str) -> None:
    """However small the steps are, and whichever part is longer, the order is kept."""
    monkeypatch.setattr("shedder.queues.pause.IDS_PER_STEP", 2)
    scene.fill("mail", "a", "b", "c")
    scene.shedder.pause("mail", reason="r")
    scene.fill("mail", "d", "e", "f", "g", how="stock")
    assert 7 == scene.shedder.pause("mail", reason="again").lanes[2].parked
    scene.fill("mail", *arrivals, how="stock")
    scene.shedder.resume("mail", reason="over")
    assert list("abcdefg" + arrivals) == scene.listed("mail")


def test_a_second_pause_keeps_the_lane_parked(scene: Scene) -> None:
    """Who pauses again, with no stock worker in sight, does not let the first pause leak."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="one")
    scene.redis.delete(*scene.redis.smembers(f"{RQ_KEY_PREFIX}:workers"))
    scene.shedder.pause("mail", reason="two")
    scene.fill("mail", "b")
    assert [] == scene.listed("mail")
    scene.shedder.resume("mail", reason="over")
    assert ["a", "b"] == scene.listed("mail")


def test_our_worker_reads_a_lane_that_is_parked_no_more(scene: Scene) -> None:
    """When the pause ends by its time, claims read the parked part first."""
    scene.fill("mail", "a", "b")
    scene.shedder.pause("mail", reason="r", expires_in=timedelta(milliseconds=1))
    scene.fill("mail", "c", how="stock")
    scene.let_pass(2)
    assert ["a", "b", "c"] == scene.run_all("mail")


def test_nothing_more_is_parked_when_the_pause_is_over(scene: Scene) -> None:
    """What arrives then is within the reach of stock workers, though nobody has ended the pause."""
    scene.shedder.pause("mail", reason="r", expires_in=timedelta(milliseconds=1))
    scene.let_pass(2)
    scene.fill("mail", "a")
    assert ["a"] == scene.listed("mail")
    assert (True, 0) == scene.shedder.store.run(park_lane(scene.keys, "mail"))
    assert ["a"] == scene.listed("mail")


def test_a_job_given_back_to_a_parked_lane_is_parked(scene: Scene) -> None:
    """The front of a parked lane is not in the RQ list."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.shedder.pause("mail", reason="r")
    assert "paused" == scene.hands.start(token).verdict
    assert ([], ["a", "b"]) == (scene.listed("mail"), scene.waiting("mail"))


def test_undoing_the_pause_brings_the_parked_jobs_back(scene: Scene) -> None:
    """Undo is a resume, lists and all."""
    scene.fill("mail", "a", "b")
    receipt = scene.shedder.pause("mail", reason="r")
    scene.shedder.undo(receipt.event, reason="the wrong queue")
    assert ["a", "b"] == scene.listed("mail")
