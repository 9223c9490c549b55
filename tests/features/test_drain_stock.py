"""Stock workers get a backlog at its pace, oldest first, and no more than they can take."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.engine.names import FAILED, FINISHED, registry_key
from shedder.queues.drain import DrainReceipt
from shedder.queues.outcomes import FAILURE_TTL_SECONDS, RESULT_TTL_SECONDS
from shedder.units import Rate
from tests.features.scene import Scene, numbered

FAST = Rate(1e9)


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
        scene.redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail")
    scene.shedder.release_for_stock_workers(small)
    assert ["a-3", "a-4"] == scene.listed("mail")
    assert ["a-5", "a-6"] == scene.backlog("mail")


def order_with_rate(receipt: DrainReceipt, rate: Rate) -> DrainReceipt:
    """The same receipt, of a drain with the pace `rate`, which sets how many are out at once."""
    return replace(receipt, rate=rate)


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
        released += len(scene.redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail", 100) or [])
        assert released <= scene.allowed(rate, receipt.at)
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


def end_jobs(scene: Scene, *, failed: int = 0, well: int = 0) -> None:
    """What RQ notes when its workers end so many jobs now."""
    now = scene.server_ms() / 1000
    for kind, ttl, jobs in ((FAILED, FAILURE_TTL_SECONDS, failed), (FINISHED, RESULT_TTL_SECONDS, well)):
        for number in range(jobs):
            scene.redis.zadd(registry_key(kind, "mail"), {f"{kind}-{number}-{now}": int(now) + ttl})


def stock_drain(scene: Scene, *, halt_at: float = 0.5) -> DrainReceipt:
    """A drain of a lane with a stock worker, which has begun a while ago and has released nothing."""
    scene.add_stock_worker("mail")
    scene.fill("mail", *numbered("a", 3))
    scene.shedder.divert("mail.normal", reason="r")
    receipt = scene.shedder.drain("mail.normal", rate=Rate(1, 86400.0), reason="r", halt_at=halt_at)
    scene.let_pass(1100)
    return receipt


@pytest.mark.parametrize(
    ("failed", "well", "halts"),
    [(20, 0, True), (19, 0, False), (15, 15, True), (14, 16, False), (9, 0, False), (60, 20, True)],
)  # fmt: skip
def test_a_drain_of_stock_workers_halts_by_rqs_registries(scene: Scene, failed: int, well: int, halts: bool) -> None:
    """Before a step it looks at how the last fifty jobs ended, and releases no more when too many failed."""
    receipt = stock_drain(scene)
    end_jobs(scene, failed=failed, well=well)
    scene.shedder.release_for_stock_workers(receipt)
    assert halts == ("drain halted" in scene.verbs())
    [progress] = scene.shedder.drain_progress(receipt)
    assert (failed, halts, halts) == (progress.failed, progress.is_done, progress.halted is not None)


def test_what_failed_before_a_drain_of_stock_workers_does_not_halt_it(scene: Scene) -> None:
    """A drain that goes on after a halt begins anew."""
    end_jobs(scene, failed=50)
    receipt = stock_drain(scene)
    scene.shedder.release_for_stock_workers(receipt)
    assert "drain halted" not in scene.verbs()
    end_jobs(scene, failed=20)
    scene.shedder.release_for_stock_workers(receipt)
    assert "drain halted" in scene.verbs()


def test_jobs_that_are_kept_for_another_time_do_not_count(scene: Scene) -> None:
    """When they ended cannot be told from until when RQ keeps them."""
    receipt = stock_drain(scene)
    now = int(scene.server_ms() / 1000)
    for number in range(30):
        scene.redis.zadd(registry_key(FAILED, "mail"), {f"long-{number}": now + 2 * FAILURE_TTL_SECONDS})
        scene.redis.zadd(registry_key(FAILED, "mail"), {f"short-{number}": now + 60})
        scene.redis.zadd(registry_key(FINISHED, "mail"), {f"ever-{number}": "+inf"})
    scene.shedder.release_for_stock_workers(receipt)
    assert "drain halted" not in scene.verbs()


def test_a_drain_of_stock_workers_that_never_halts(scene: Scene) -> None:
    """Nor does its receipt say what would start after a halt."""
    receipt = stock_drain(scene, halt_at=0)
    end_jobs(scene, failed=50)
    scene.shedder.release_for_stock_workers(receipt)
    assert "drain halted" not in scene.verbs()
    assert (None, 0) == (receipt.halt_at, receipt.starts_after_halt)


def test_the_receipt_says_how_many_stock_workers_start_after_a_halt(scene: Scene) -> None:
    """Two each, or what the rate allows in two seconds."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", reason="r")
    assert 0 == scene.shedder.drain("mail.normal", rate=Rate(1.0), reason="r").starts_after_halt
    for _ in range(3):
        scene.add_stock_worker("mail")
    assert 6 == scene.shedder.drain("mail.normal", rate=Rate(1.0), reason="r").starts_after_halt
    assert 40 == scene.shedder.drain("mail.normal", rate=Rate(20.0), reason="r").starts_after_halt
