"""`uninstall` leaves every job in its list, and nothing of ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import rq

from shedder.engine.names import FAILED, registry_key
from shedder.engine.workers import queues_of
from shedder.errors import ConditionNotMet, NothingMatched
from shedder.rq import SimpleWorker
from tests.features.scene import Scene
from tests.hosts.leavers import everything, listed, own_keys
from tests.jobs import ended
from tests.workers import run_burst

RUNS = "tests.jobs.decorated"


def test_every_job_is_in_its_list_and_no_key_is_left(scene: Scene) -> None:
    """Backlogs, parked jobs and claims go back in order, and stock workers need nothing else."""
    expected = everything(scene)
    receipt = scene.shedder.uninstall(reason="plain RQ again")
    assert expected == listed(scene, expected)
    assert ([], ()) == (own_keys(scene), receipt.left)
    assert (4, ("hints",), ("search",)) == (receipt.claims, receipt.flags, receipt.limits)
    assert {"team:web", "team:web.low"} <= set(receipt.resumed)
    assert {lane: len(jobs) for lane, jobs in expected.items()} == {queue.lane: queue.jobs for queue in receipt.queues}


def test_a_preview_tells_the_same_and_changes_nothing(scene: Scene) -> None:
    """A dry run reads only."""
    everything(scene)
    before = {key: scene.redis.dump(key) for key in scene.redis.scan_iter()}
    receipt = scene.shedder.preview_uninstall()
    assert before == {key: scene.redis.dump(key) for key in scene.redis.scan_iter()}
    assert (True, 4, ("hints",)) == (receipt.is_preview, receipt.claims, receipt.flags)
    assert len(own_keys(scene)) == receipt.keys


def test_stock_workers_run_every_job_afterwards(scene: Scene, tmp_path: Any) -> None:
    """RQ's own worker finds each job once, in order, lanes of priority as queues of their own."""
    marks = str(tmp_path / "marks")
    for lane in ("mail", "mail.low"):
        queue = scene.ours(lane)
        queue.enqueue_many(queue.prepare_data(RUNS, (marks, f"{lane}-{n}")) for n in range(4))
    scene.take("mail.normal")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.pause("mail.low", reason="r")
    scene.shedder.uninstall(reason="plain RQ again")
    worker = rq.SimpleWorker(["mail", "mail.low"], connection=scene.redis)
    run_burst(worker)
    assert [f"mail-{n}" for n in range(4)] + [f"mail.low-{n}" for n in range(4)] == ended(marks)
    assert [] == own_keys(scene)


def test_empty_lanes_leave_the_set_of_queues(scene: Scene) -> None:
    """What holds a job stays, a failed one too, and so does a queue that is no lane."""
    scene.fill("mail.low", "a")
    scene.fill("reports", "b")
    lists = scene.keys.engine.lists
    scene.redis.sadd(scene.keys.engine.queues, *(f"{lists}{name}" for name in ("mail", "mail.high", "mail.critical")))
    scene.redis.zadd(registry_key(FAILED, "mail.critical"), {"c": 1})
    scene.shedder.uninstall(reason="r")
    assert {"mail", "mail.low", "mail.critical", "reports"} == {*queues_of(scene.shedder.store)}


def test_each_line_of_the_journal_is_handed_over_first(scene: Scene) -> None:
    """The journal goes with the rest, and ends with what the removal itself did."""
    everything(scene)
    before = [event.id for event in scene.shedder.events()]
    kept: list[Any] = []
    receipt = scene.shedder.uninstall(reason="bye", by="ana@desk", on_event=kept.append)
    assert before == [event.id for event in kept[: len(before)]]
    ours = {event.verb for event in kept[len(before) :]}
    assert {"uninstall", "resume", "restore"} == ours
    assert {"ana@desk"} == {event.by for event in kept[len(before) :]}
    assert len(kept) == receipt.events


def test_it_is_refused_while_a_worker_of_ours_is_alive(scene: Scene) -> None:
    """Nothing is changed, the worker is named, and `force` is for one that is dead."""
    scene.fill("mail", "a")
    worker = SimpleWorker(["mail"], connection=scene.redis, name="mail-1")
    worker.register_birth()
    with pytest.raises(ConditionNotMet, match="mail-1"):
        scene.shedder.uninstall(reason="too early")
    scene.shedder.pause("mail", reason="r")
    receipt = scene.shedder.uninstall(reason="it is dead", force=True)
    assert ["mail-1"] == [each.name for each in receipt.workers]
    worker.register_death()


def test_a_server_without_shedder_is_told_as_that(scene: Scene) -> None:
    """Who names the wrong server learns it."""
    scene.fill("mail", "a", how="stock")
    with pytest.raises(NothingMatched):
        scene.shedder.uninstall(reason="r")
    assert ["a"] == scene.listed("mail")


def test_a_pause_with_a_time_limit_ends_too(scene: Scene) -> None:
    """A pause that has run out, and one that would end by itself, leave nothing."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="r", expires_in=timedelta(milliseconds=1))
    scene.shedder.pause("reports", reason="r", expires_in=timedelta(hours=1))
    scene.let_pass(2)
    scene.shedder.uninstall(reason="r")
    assert (["a"], []) == (scene.listed("mail"), own_keys(scene))
