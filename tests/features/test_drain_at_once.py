"""A backlog comes back at once to where its jobs were."""

from __future__ import annotations

import pytest

from shedder.events import Cause
from shedder.queues.restore import restore_lane
from shedder.selection import Selection
from shedder.units import Rate
from tests.features.scene import Scene, numbered

FAST = Rate(1e9)
MAIL = Selection.parse(functions=["app.mail.*"])
CAUSE = Cause("oncall@desk", "r")


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
    monkeypatch.setattr("shedder.queues.divert.JOBS_PER_STEP", at_a_time)
    monkeypatch.setattr("shedder.queues.restore.RESTORED_PER_STEP", at_a_time)
    jobs = []
    for number in range(5):
        jobs += scene.fill("mail", f"m{number}")
        jobs += scene.fill("mail", f"r{number}", function="app.report.build")
    scene.shedder.divert("mail", selection=MAIL, reason="r")
    jobs += scene.fill("mail", "m5", "m6")
    scene.shedder.drain_at_once("mail", reason="over")
    assert jobs == scene.listed("mail")


def test_at_once_does_not_open_another_divert(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job on its way back does not start while another order takes it."""
    monkeypatch.setattr("shedder.queues.restore.RESTORED_PER_STEP", 1)
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
