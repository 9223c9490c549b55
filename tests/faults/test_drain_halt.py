"""A drain halts once, and all jobs are still there, whatever dies at that moment."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from rq.registry import FailedJobRegistry, StartedJobRegistry

from shedder.rq import SimpleWorker, Worker
from shedder.units import Rate
from tests.features.scene import Scene
from tests.rq.documented.functions import HERE
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory

JOBS = 100
LEAST = 20
"""So many must have ended before a drain halts."""


def doomed(kind: type[Worker], *, is_before: bool) -> type[Worker]:
    """A worker that is killed where it fails the job that halts the drain, before or after that is written."""

    class Doomed(kind):  # type: ignore[misc, valid-type]
        def handle_job_failure(self, *args: Any, **kwargs: Any) -> None:
            failed = FailedJobRegistry("mail", connection=self.connection)
            is_last = len(failed) == LEAST - 1
            if not (is_last and is_before):
                super().handle_job_failure(*args, **kwargs)
            if is_last:
                os.kill(self.pid, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)

    return Doomed


def draining(scene: Scene, *, per_second: float = 100.0) -> list[str]:
    """A drain of jobs that will fail; their ids."""
    ids = [scene.ours("mail").enqueue(f"{HERE}.break_down", job_id=f"a-{number}").id for number in range(JOBS)]
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=Rate(per_second), reason="r")
    return ids


def halts(scene: Scene) -> int:
    """How often a drain has halted, as the journal says."""
    return scene.verbs().count("drain halted")


def registered(scene: Scene) -> list[str]:
    """The jobs that started: those that failed, and those whose worker was killed."""
    kinds = (FailedJobRegistry, StartedJobRegistry)
    return [job for kind in kinds for job in kind("mail", connection=scene.redis).get_job_ids(cleanup=False)]


def check(scene: Scene, ids: list[str], *, most: int) -> None:
    """It has halted once, each job is in one place, and what is left is in order."""
    left = scene.backlog("mail")
    assert (1, []) == (halts(scene), scene.waiting("mail"))
    assert sorted(ids) == sorted([*left, *registered(scene)])
    assert ids[-len(left) :] == left
    assert JOBS - len(left) <= most


@pytest.mark.parametrize("kind", [Worker, SimpleWorker])
@pytest.mark.parametrize("is_before", [True, False])
def test_a_worker_is_killed_right_at_the_halt(scene: Scene, yard: Yard, kind: type[Worker], is_before: bool) -> None:
    """Before: the next worker's job halts the drain. After: the next worker starts nothing."""
    ids = draining(scene)
    yard.start("mail", worker_class=doomed(kind, is_before=is_before)).wait()
    assert halts(scene) == (not is_before)
    worker = yard.start("mail", worker_class=kind)
    wait_until(lambda: halts(scene), what="the halt")
    worker.wait_until_idle(scene.redis)
    check(scene, ids, most=LEAST + is_before)


@pytest.mark.parametrize("kind", [Worker, SimpleWorker])
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.long), 8])
def test_the_server_restarts_before_and_after_the_halt(
    server_factory: ServerFactory, tmp_path: Path, kind: type[Worker], count: int
) -> None:
    """What had failed before counts, and the drain stays halted."""
    server = server_factory(appendonly=True)
    with server.client() as client, Yard(server, tmp_path) as yard:
        scene = Scene(client)
        ids = draining(scene, per_second=20.0)
        workers = [yard.start("mail", worker_class=kind) for _ in range(count)]
        wait_until(lambda: len(scene.ours("mail").failed_job_registry) >= LEAST // 2, what="the first half")
        server.kill()
        server.start()
        wait_until(lambda: halts(scene), what="the halt")
        server.kill()
        server.start()
        for worker in workers:
            worker.wait_until_idle(scene.redis)
        # an end of which the killed server had no time to tell is counted once more, or not at all
        check(scene, ids, most=LEAST + 2 * count)
