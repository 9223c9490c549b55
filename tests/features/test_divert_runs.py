"""A claim that meets many jobs which a divert takes, one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from rq.job import Job

from shedder.errors import RecordUnreadable
from shedder.events import Cause
from shedder.queues.claims import NothingClaimed, claim_job
from shedder.queues.divert import divert_lanes
from shedder.selection import Selection
from tests.features.scene import Scene, numbered

MAIL = Selection.parse(functions=["app.mail.*"])
OLD = Selection.parse(older_than="1h")
CAUSE = Cause("oncall@desk", "r")


def divert_alone(scene: Scene, selection: Selection) -> str:
    """Set a divert on the lane `mail` as an operator does who dies before the scan; its order."""
    order = f"order-{len(scene.verbs())}"
    scene.shedder.store.run(divert_lanes(scene.keys, scene.lanes("mail"), selection, CAUSE, order=order))
    return order


def backlog_of(scene: Scene, order: str) -> list[str]:
    return [job for key in scene.keys.backlog(order, "mail") for job in scene.ids(key)]


def commands(scene: Scene) -> int:
    """How many the server has carried out, those inside scripts too."""
    served: Any = scene.redis.info("commandstats")
    return sum(each["calls"] for each in served.values())


def reads(scene: Scene) -> int:
    """How many keys the server has looked up."""
    served: Any = scene.redis.info("stats")
    return int(served["keyspace_hits"] + served["keyspace_misses"])


@pytest.mark.parametrize("odd", ["cancelled", "gone", "of a stock producer", "under RQ's limit", "of another function"])
def test_a_claim_moves_a_run_of_jobs_up_to_one_that_it_must_look_at(scene: Scene, odd: str) -> None:
    """Whatever stands between jobs that a divert takes, they go in order and it is judged alone."""
    before, after = numbered("a", 70), numbered("b", 70)
    slots = f"{scene.keys.engine.limits}a limit:allowed"
    scene.fill("mail", *before)
    scene.fill(
        "mail", "odd",
        how="stock" if odd == "of a stock producer" else "ours",
        function="app.bill.charge" if odd == "of another function" else "app.mail.send",
    )  # fmt: skip
    scene.fill("mail", *after)
    scene.fill("mail", "last", function="app.bill.charge")
    if odd == "cancelled":
        scene.redis.hset(scene.job("odd").key, "status", "canceled")
    elif odd == "gone":
        scene.hands.expire("odd")
    elif odd == "under RQ's limit":
        scene.redis.hset(scene.job("odd").key, "rate_limit_key", "a limit")
        scene.redis.zadd(slots, {"odd": 1})
    divert_alone(scene, MAIL)
    scene.let_pass(2)  # what is claimed within its millisecond counts as in hand before
    started = scene.run_all("mail")
    stays = [] if odd in ("cancelled", "gone", "of another function") else ["odd"]
    assert (["odd", "last"] if odd == "of another function" else ["last"]) == started
    assert [*before, *stays, *after] == scene.backlog("mail")
    assert 0 == scene.redis.zcard(slots)


def test_a_run_is_divided_among_diverts(scene: Scene) -> None:
    """Jobs of several diverts that stand mixed go each to its own backlog, in order."""
    letters, receipts = numbered("a", 60), numbered("b", 60)
    for letter, receipt in zip(letters, receipts, strict=True):
        scene.fill("mail", receipt, function="app.bill.charge")
        scene.fill("mail", letter)
    bills = divert_alone(scene, Selection.parse(functions=["app.bill.*"]))
    mails = divert_alone(scene, MAIL)
    assert [] == scene.run_all("mail")
    assert (receipts, letters) == (backlog_of(scene, bills), backlog_of(scene, mails))


def test_a_run_that_cannot_be_moved_stays(scene: Scene) -> None:
    """A backlog whose key somebody made something else costs no job of the run."""
    jobs = scene.fill("mail", *numbered("a", 30))
    order = divert_alone(scene, MAIL)
    rest = scene.keys.backlog(order, "mail")[1]
    scene.redis.set(rest, "by hand")
    with pytest.raises(RecordUnreadable):
        scene.claim("mail")
    assert jobs == scene.waiting("mail")


def test_a_claim_looks_at_a_bounded_number_of_a_run(scene: Scene) -> None:
    """Of a thousand jobs that a divert takes, one claim moves two hundred, in few commands."""
    jobs = scene.fill("mail", *numbered("a", 1000))
    divert_alone(scene, MAIL)
    before = commands(scene)
    answer = scene.shedder.store.run(claim_job(scene.keys, ["mail"], worker="w"))
    assert NothingClaimed(is_again=True) == answer
    waiting = scene.waiting("mail")
    assert (800, jobs) == (len(waiting), [*scene.backlog("mail"), *waiting])
    assert 60 > commands(scene) - before


@pytest.mark.parametrize("every_second", ["under RQ's limit", "cancelled", "gone", "of stock"])
def test_a_lane_without_runs_costs_a_claim_no_more_reads(scene: Scene, every_second: str) -> None:
    """Where the look-ahead finds nothing to move, it counts as what a claim may look at in all."""
    jobs = scene.fill("mail", *numbered("a", 600), how="stock" if every_second == "of stock" else "ours")
    for job in jobs[::2]:
        if every_second == "under RQ's limit":
            scene.redis.hset(Job.key_for(job), "rate_limit_key", f"limit of {job}")
        elif every_second == "cancelled":
            scene.redis.hset(Job.key_for(job), "status", "canceled")
        elif every_second == "gone":
            scene.hands.expire(job)
    for job in jobs:
        if every_second == "of stock":
            scene.hands.age(job)
    divert_alone(scene, OLD if every_second == "of stock" else MAIL)
    before = reads(scene)
    scene.shedder.store.run(claim_job(scene.keys, ["mail"], worker="w"))
    assert 1500 > reads(scene) - before
