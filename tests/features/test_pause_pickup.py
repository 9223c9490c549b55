"""An idle worker hears at once that there is something to do again.

Its longest wait is made so long here that only a bell can end it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shedder.units import Rate
from tests import jobs
from tests.features.scene import Scene
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shedder.api.shedder import Shedder
    from shedder.embedded import EmbeddedServer

NO_SLICE_SECONDS = 3600.0


@pytest.fixture
def yard(server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """Starts workers that hear a bell or nothing."""
    for name in ("SLICE_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(f"shedder.rq.fetch.{name}", NO_SLICE_SECONDS)
    # no wait is longer than a third of the time after which a silent connection is given up
    monkeypatch.setattr("shedder.rq.worker.SILENCE_SECONDS", 3 * NO_SLICE_SECONDS)
    with Yard(server, tmp_path) as workers:
        yield workers


def divert(shedder: Shedder) -> None:
    shedder.divert("mail", reason="r")


def start_drain(shedder: Shedder) -> None:
    shedder.drain("mail", rate=Rate(1e6), reason="r")


@pytest.mark.parametrize(
    ("before", "act"),
    [
        (None, None),
        (lambda it: it.pause("mail", reason="r"), lambda it: it.resume("mail", reason="r")),
        (lambda it: it.pause("mail", reason="r"), lambda it: it.undo(reason="r")),
        (divert, start_drain),
        (divert, lambda it: it.drain_at_once("mail", reason="r")),
        (divert, lambda it: it.undo(reason="r")),
    ],
    ids=["arrival", "resume", "undo of a pause", "drain", "drain at once", "undo of a divert"],
)
def test_an_idle_worker_wakes_up(
    scene: Scene,
    yard: Yard,
    tmp_path: Path,
    before: Callable[[Shedder], object] | None,
    act: Callable[[Shedder], object] | None,
) -> None:
    """Whatever makes a job free to start rings the bell of its queue."""
    marks = tmp_path / "marks"
    worker = yard.start("mail")
    worker.wait_until_idle(scene.redis)
    if before:
        before(scene.shedder)
    scene.ours("mail").enqueue(jobs.mark, str(marks), "a")
    if act:
        wait_until(lambda: waits(scene), what="the worker to wait")
        act(scene.shedder)
    wait_until(lambda: ["a"] == jobs.ended(marks), what=f"the job of {worker}")


def waits(scene: Scene) -> bool:
    """Whether the bell is silent and somebody waits for it."""
    clients = scene.redis.client_list()
    return not scene.redis.exists(scene.keys.bell("mail")) and any(client["cmd"] == "blpop" for client in clients)


def test_a_claim_given_back_rings_for_another_worker(scene: Scene, yard: Yard, tmp_path: Path) -> None:
    """Who does not start a job after all lets an idle worker know."""
    marks = tmp_path / "marks"
    scene.ours("mail").enqueue(jobs.mark, str(marks), "a")
    token = scene.take("mail")
    scene.redis.delete(scene.keys.bell("mail"))
    worker = yard.start("mail")
    worker.wait_until_idle(scene.redis)
    wait_until(lambda: waits(scene), what="the worker to wait")
    scene.hands.release(token)
    wait_until(lambda: ["a"] == jobs.ended(marks), what="the job")
