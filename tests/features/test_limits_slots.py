"""Jobs in a backlog leave RQ's own rate limits working, and obey them after it.

A job with RQ's `RateLimit` holds a slot of its key while it is queued or runs. In a backlog it may
wait for hours, so it gives the slot back, and takes one again when it drains.
"""

from __future__ import annotations

import pytest
from rq import RateLimit
from rq.rate_limit import RateLimitRegistry

from shedder.queues.maintenance import Upkeep
from shedder.selection import Selection
from shedder.units import Rate
from tests.features.scene import Scene

FAST = Rate(1e9)
KEY = "partner"
MAIL = Selection.parse(functions=["app.mail.*"])


def enqueue(scene: Scene, lane: str, *jobs: str, how: str = "ours", most: int = 1) -> None:
    queue = scene.ours(lane) if how == "ours" else scene.stock(lane)
    for job in jobs:
        queue.enqueue("app.mail.send", job_id=job, rate_limit=RateLimit(KEY, most))


def slots(scene: Scene) -> list[str]:
    return RateLimitRegistry(KEY, scene.redis).get_allowed_job_ids()


def run_one(scene: Scene, *queues: str) -> str:
    """Let the next job run and give its slot back as RQ's worker does."""
    job = scene.run_one(*queues)
    if job:
        RateLimitRegistry(KEY, scene.redis).release_and_enqueue(job)
    return job


def run_all(scene: Scene, *queues: str) -> list[str]:
    done = []
    while job := run_one(scene, *queues):
        done.append(job)
    return done


@pytest.mark.parametrize("how", ["ours", "stock"])
@pytest.mark.parametrize("selection", [Selection(), MAIL])
def test_a_diverted_job_gives_its_slot_to_another_queue(scene: Scene, how: str, selection: Selection) -> None:
    """The key is not blocked for as long as the backlog stands."""
    enqueue(scene, "mail", "a", how=how)
    enqueue(scene, "reports", "b", how=how)
    assert ["a"] == slots(scene)
    scene.shedder.divert("mail.normal", selection=selection, reason="r")
    assert ["b"] == slots(scene)
    assert ["b"] == run_all(scene, "mail", "reports")
    assert ["a"] == scene.backlog("mail")


@pytest.mark.parametrize("how", ["ours", "stock"])
@pytest.mark.parametrize("selection", [Selection(), MAIL])
def test_those_that_wait_behind_it_do_not_block_the_key_either(scene: Scene, how: str, selection: Selection) -> None:
    """RQ promotes the next of the same queue, which is diverted as well, and so on."""
    enqueue(scene, "mail", "a", "b", "c", how=how)
    enqueue(scene, "reports", "d", how=how)
    scene.shedder.divert("mail.normal", selection=selection, reason="r")
    assert ([], list("abc")) == (scene.listed("mail"), scene.backlog("mail"))
    assert ["d"] == run_all(scene, "mail", "reports")
    scene.shedder.drain_at_once("mail", reason="r")
    assert ["a", "b", "c"] == run_all(scene, "mail")


@pytest.mark.parametrize("how", ["ours", "stock"])
@pytest.mark.parametrize("selection", [Selection(), MAIL])
def test_one_that_arrives_during_the_divert_does_not_block_the_key(
    scene: Scene, how: str, selection: Selection
) -> None:
    """RQ pushes it with a slot; the claim, or the next upkeep, takes the slot back."""
    scene.shedder.divert("mail.normal", selection=selection, reason="r")
    enqueue(scene, "mail", "a", how=how)
    enqueue(scene, "reports", "b", how=how)
    assert [] == scene.run_all("mail")
    assert Upkeep(scene.shedder.store, ["mail"]).do()
    assert ["b"] == run_all(scene, "mail", "reports")
    assert ["a"] == scene.backlog("mail")


def test_a_drained_job_takes_a_slot_again(scene: Scene) -> None:
    """No more of a key run at once than RQ allows, those of other keys go on."""
    enqueue(scene, "mail", "a", "b")
    scene.fill("mail", "free")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain_at_once("mail", reason="r")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    first = scene.take("mail")
    assert "a" == scene.hands.job_of(first)
    assert ["a"] == slots(scene)
    assert "free" == scene.run_one("mail")
    assert "" == scene.run_one("mail")
    scene.hands.start_again(first)
    scene.hands.finish("a")
    RateLimitRegistry(KEY, scene.redis).release_and_enqueue("a")
    assert ["b"] == run_all(scene, "mail")
    assert [] == slots(scene)


def set_aside(scene: Scene) -> None:
    """`a` holds the slot of its key in another queue, `b` and `c` of a backlog wait for one."""
    enqueue(scene, "mail", "b", "c", most=2)
    scene.shedder.divert("mail.normal", reason="r")
    enqueue(scene, "reports", "x", "y", most=2)
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    assert "" == scene.run_one("mail")


def test_a_job_that_waits_for_a_slot_is_the_first_to_get_one(scene: Scene) -> None:
    """It stands aside while others go on, and then goes in its turn."""
    set_aside(scene)
    scene.fill("mail", "free")
    assert "free" == scene.run_one("mail")
    assert "x" == run_one(scene, "reports")
    assert "b" == scene.run_one("mail")
    assert "y" == run_one(scene, "reports")
    assert "c" == scene.run_one("mail")


def test_a_job_cancelled_while_it_waits_for_a_slot_takes_none(scene: Scene) -> None:
    """It is skipped and named, and the slot goes to the next."""
    set_aside(scene)
    scene.hands.cancel("b")
    assert "x" == run_one(scene, "reports")
    assert "c" == scene.run_one("mail")
    assert "b" not in slots(scene)
    scene.run_all("mail")
    assert ["b canceled"] == scene.shedder.events()[-1].after["names"]


def test_a_job_without_a_slot_that_comes_back_at_once_waits_as_rq_lets_it(scene: Scene) -> None:
    """It becomes RQ's to hold back, and RQ's to push again."""
    enqueue(scene, "mail", "a")
    scene.shedder.divert("mail.normal", reason="r")
    enqueue(scene, "reports", "b")
    scene.shedder.drain_at_once("mail", reason="r")
    assert "" == scene.run_one("mail")
    assert "rate_limited" == scene.job("a").get_status()
    assert ["b", "a"] == run_all(scene, "reports", "mail")


def test_a_claimed_job_that_is_diverted_at_the_gate_gives_its_slot_back(scene: Scene) -> None:
    """As one that was still waiting."""
    enqueue(scene, "mail", "a")
    token = scene.take("mail")
    scene.shedder.divert("mail.normal", selection=MAIL, reason="r")
    enqueue(scene, "reports", "b")
    assert "diverted" == scene.hands.start(token).verdict
    assert ["b"] == slots(scene)


def test_slots_are_left_alone_while_a_backlog_drains(scene: Scene) -> None:
    """The slot of a job that a drain has just released is its own."""
    enqueue(scene, "mail", "a")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=FAST, reason="r", stays=True)
    token = scene.take("mail")
    from shedder.queues.divert import free_slot

    assert not scene.shedder.store.run(free_slot(scene.keys, "a", KEY))
    assert ["a"] == slots(scene)
    assert "started" == scene.hands.start(token).verdict
