"""Repairs at once lose and double nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Shedder
from tests.features.scene import Scene, numbered
from tests.rq.checkups.asked import MAIL, is_clean

if TYPE_CHECKING:
    from shedder.embedded import EmbeddedServer
    from shedder.health.repair import Repair


def break_everything(scene: Scene, jobs: list[str]) -> None:
    """Lost jobs, twins, dead workers, an orphan, and a left-over list, of 60 jobs."""
    lost, doubled, orphaned, kept = jobs[:15], jobs[15:30], jobs[30:40], jobs[40:50]
    for job in (*lost, *orphaned, *kept):
        scene.redis.lrem(MAIL, 1, job)
    scene.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", *doubled[:7])
    scene.redis.rpush(MAIL, *doubled[7:])
    scene.redis.rpush(scene.keys.backlog("gone", "mail")[1], *orphaned)
    scene.redis.rpush(scene.keys.kept("mail"), *kept)
    scene.redis.zadd(scene.keys.claims, {scene.take("mail"): 1 for _ in range(5)})


@pytest.mark.parametrize("number", range(6))
def test_repairs_at_once_lose_and_double_nothing(server: EmbeddedServer, scene: Scene, number: int) -> None:
    """Several operators repair the same at once: each job is in exactly one place in the end."""
    jobs = scene.fill("mail", *numbered("a", 60))
    break_everything(scene, jobs)
    checkup = scene.shedder.check_up()
    start = threading.Barrier(3)
    done: list[tuple[Repair, ...]] = []

    def act() -> None:
        with server.client() as client:
            operator = Shedder(client, by="oncall@ops")
            seen = checkup if number % 2 else operator.check_up()
            start.wait(30)
            done.append(operator.repair(seen, reason="r"))

    threads = [threading.Thread(target=act) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (3, sorted(jobs)) == (len(done), sorted(scene.waiting("mail")))
    counts = {each.check: 0 for some in done for each in some}
    for each in (each for some in done for each in some):
        counts[each.check] += each.count
    assert (15, 5) == (counts["jobs in no place"], counts["claims"])
    assert is_clean(scene)
