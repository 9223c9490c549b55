"""A drain into something that fails halts by itself, and the rest of the backlog stays in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rq import SimpleWorker as StockSimpleWorker
from rq import Worker as StockWorker

from shedder.queues.claims import Claimed
from shedder.queues.drain import DrainReceipt, end_drained
from shedder.rq import SimpleWorker, Worker
from shedder.units import Rate
from tests.features.scene import Scene, numbered
from tests.rq.documented.functions import HERE
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from rq.worker import BaseWorker

    from shedder.embedded import EmbeddedServer

FAST = Rate(1e9)
NUMBERS = ("released", "failed", "skipped")


def ends(scene: Scene, text: str, lane: str = "mail") -> list[str]:
    """Tell how drained jobs ended, a letter each; the events of a halt."""
    order = scene.shedder.status().lanes
    [divert] = next(each.diverts for each in order if each.lane == lane)
    return [scene.shedder.store.run(end_drained(scene.keys, lane, divert.order, each)) for each in text]


def draining(scene: Scene, *lanes: str, halt_at: float = 0.5) -> None:
    """Lanes with a backlog each that drains."""
    for lane in lanes:
        scene.fill(lane, *numbered(lane, 3))
    scene.shedder.divert(*lanes, reason="r")
    scene.shedder.drain(*lanes, rate=FAST, reason="better", halt_at=halt_at)


@pytest.mark.parametrize(
    ("text", "halts_at"),
    [
        ("f" * 30, 20),
        ("w" * 10 + "f" * 30, 20),
        ("w" * 100 + "f" * 30, 125),
        ("wwf" * 40, None),
        ("wf" * 12, 20),
        ("f" * 9 + "w" * 100, None),
    ],
)  # fmt: skip
def test_it_halts_when_half_of_the_last_fifty_failed(scene: Scene, text: str, halts_at: int | None) -> None:
    """At least twenty must have ended; those long ago do not count."""
    draining(scene, "mail")
    found = ends(scene, text)
    first = next((number for number, event in enumerate(found, start=1) if event), None)
    assert halts_at == first
    assert (halts_at is None) == any(
        each.diverts[0].drain for each in scene.shedder.status("mail").lanes if each.diverts
    )


def test_all_lanes_of_the_command_halt_and_the_journal_tells(scene: Scene) -> None:
    """One event, in the name of the system, with its numbers; what is left is in order."""
    draining(scene, "mail", "reports")
    assert "mail-1" == scene.run_one("mail")
    [event] = filter(None, ends(scene, "f" * 20))
    assert "" == scene.run_one("mail", "reports")
    assert (["mail-2", "mail-3"], numbered("reports", 3)) == (scene.backlog("mail"), scene.backlog("reports"))
    told = scene.shedder.events()[-1]
    assert (event, "drain halted", "shedder", ("mail", "reports")) == (
        told.id,
        told.verb,
        told.by,
        tuple(sorted(told.lanes)),
    )
    assert ("20 of the last 20 jobs failed", 20, 20, 0.5) == (
        told.why, told.details["failed"], told.details["ended"], told.details["halt_at"]
    )  # fmt: skip
    halted = scene.shedder.status("reports.normal").lanes[0].diverts[0].halted
    assert halted is not None
    assert (event, "better", FAST) == (halted.event, halted.why, halted.rate)


def test_one_command_goes_on(scene: Scene) -> None:
    """It counts anew, and a drain that goes on is halted no more."""
    draining(scene, "mail")
    assert any(ends(scene, "f" * 20))
    scene.shedder.drain("mail", rate=FAST, reason="fixed")
    assert not any(ends(scene, "f" * 19))
    assert numbered("mail", 3) == scene.run_all("mail")


def test_what_failed_is_counted_for_this_drain_alone(scene: Scene) -> None:
    """In its progress, in `status`, and in the event of its halt."""
    draining(scene, "mail")
    assert "mail-1" == scene.run_one("mail")
    ends(scene, "wf" * 6)
    [divert] = scene.shedder.status("mail.normal").lanes[0].diverts
    assert 6 == (divert.drain and divert.drain.failed)
    ends(scene, "f" * 8)
    told = scene.shedder.events()[-1]
    assert ("drain halted", 1, 14, {}) == (told.verb, *(told.after["mail"][name] for name in NUMBERS))
    receipt = scene.shedder.drain("mail", rate=FAST, reason="fixed")
    assert [0] == [each.failed for each in scene.shedder.drain_progress(receipt)]


def test_a_job_of_an_earlier_drain_counts_for_no_later_one(scene: Scene) -> None:
    """It was in hand when the drain halted, and ends when another one is under way; a change of rate is none."""
    draining(scene, "mail")
    first = scene.claim("mail")
    assert isinstance(first, Claimed)
    assert any(ends(scene, "f" * 20))
    receipt = scene.shedder.drain("mail.normal", rate=FAST, reason="fixed")
    second = scene.claim("mail")
    assert isinstance(second, Claimed)
    scene.shedder.drain("mail.normal", rate=Rate(1e8), reason="slower")
    for claimed in (first, second):
        scene.shedder.store.run(end_drained(scene.keys, "mail", claimed.drain, "f"))
    assert [1] == [each.failed for each in scene.shedder.drain_progress(receipt)]


def test_never_is_never(scene: Scene) -> None:
    """An operator may want the jobs to fail."""
    draining(scene, "mail", halt_at=0)
    assert not any(ends(scene, "f" * 60))


def test_a_drain_of_another_command_goes_on(scene: Scene) -> None:
    """Only those that failed are halted."""
    draining(scene, "mail")
    draining(scene, "reports")
    assert any(ends(scene, "f" * 20))
    assert numbered("reports", 3) == scene.run_all("reports")


def test_damage_stops_no_job(scene: Scene) -> None:
    """What counts a job's end raises nothing, whatever somebody has made of its keys."""
    draining(scene, "mail")
    event = next(each.id for each in scene.shedder.events() if each.verb == "drain")
    scene.redis.lpush(scene.keys.drain_ends(event), "no string")
    assert any(ends(scene, "f" * 20))
    order = scene.shedder.status("mail.normal").lanes[0].diverts[0].order
    for damage in ("[", "{}", '[{"v": 9}]', "[1]"):
        scene.redis.hset(scene.keys.diverts, "mail", damage)
        assert "" == scene.shedder.store.run(end_drained(scene.keys, "mail", order, "f"))


@pytest.mark.parametrize("kind", [Worker, SimpleWorker])
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.long), 8])
def test_after_the_halt_starts_only_what_workers_held(
    scene: Scene, server: EmbeddedServer, yard: Yard, kind: type[Worker], count: int
) -> None:
    """With real workers and a database that is down."""
    for number in range(150):
        scene.ours("mail").enqueue(f"{HERE}.break_down", job_id=f"a-{number}")
    scene.shedder.divert("mail.normal", reason="r")
    for _ in range(count):
        yard.start("mail", worker_class=kind)
    scene.shedder.drain("mail.normal", rate=Rate(200.0), reason="r")
    wait_until(lambda: "drain halted" in scene.verbs(), what="the halt")
    halted = next(event for event in scene.shedder.events() if event.verb == "drain halted")
    left = int(halted.after["mail"]["backlog"])

    def is_still() -> bool:
        [lane] = scene.shedder.status("mail.normal").lanes
        return lane.running == lane.claimed == 0

    wait_until(is_still, what="the jobs in hand")
    backlog = scene.backlog("mail")
    assert [f"a-{number}" for number in range(150)][-len(backlog) :] == backlog
    assert len(backlog) == left
    assert 20 <= 150 - left < 20 + count


@pytest.mark.parametrize("kind", [StockWorker, StockSimpleWorker])
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.long), 8])
def test_after_the_halt_stock_workers_start_at_most_what_is_in_their_list(
    scene: Scene, server: EmbeddedServer, yard: Yard, kind: type[BaseWorker], count: int
) -> None:
    """The operator's process releases to real workers, and the rest of the backlog stays in order."""
    receipt = stock_drain(scene, yard, kind, count)

    def is_halted() -> bool:
        scene.shedder.release_for_stock_workers(receipt)
        return "drain halted" in scene.verbs()

    wait_until(is_halted, what="the halt")
    check_after_halt(scene, receipt, count)


def test_the_upkeep_of_another_worker_halts_a_drain_of_stock_workers(
    scene: Scene, server: EmbeddedServer, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody stays at a terminal: a worker of ours that serves another queue looks."""
    for name in ("queues.maintenance.INTERVAL_SECONDS", "queues.samples.INTERVAL_SECONDS", "rq.fetch.POLL_SECONDS"):
        monkeypatch.setattr(f"shedder.{name}", 0.05)
    receipt = stock_drain(scene, yard, StockSimpleWorker, 1)
    yard.start("reports", worker_class=Worker)
    wait_until(lambda: "drain halted" in scene.verbs(), what="the halt")
    check_after_halt(scene, receipt, 1)


def stock_drain(scene: Scene, yard: Yard, kind: type[BaseWorker], count: int) -> DrainReceipt:
    """A drain of 200 jobs that will fail, of a lane that only stock workers serve."""
    for number in range(200):
        scene.stock("mail").enqueue(f"{HERE}.break_down", job_id=f"a-{number}")
    scene.shedder.divert("mail.normal", reason="r")
    started = [yard.start("mail", worker_class=kind) for _ in range(count)]
    wait_until(lambda: all(scene.redis.exists(each.key) for each in started), what="the workers")
    return scene.shedder.drain("mail.normal", rate=Rate(10.0), reason="r")


def check_after_halt(scene: Scene, receipt: DrainReceipt, count: int) -> None:
    """What was released has failed in the end, at most the cap of it after the halt; the rest is in order."""
    halted = next(event for event in scene.shedder.events() if event.verb == "drain halted")
    released = halted.after["mail"]["released"]
    failed = scene.stock("mail").failed_job_registry
    wait_until(lambda: len(failed) == released, what="the jobs in the list")
    assert [f"a-{number}" for number in range(released, 200)] == scene.backlog("mail")
    assert released - halted.details["ended"] <= receipt.starts_after_halt + count
