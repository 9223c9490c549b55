"""A repair puts back what is lost, and leaves alone what came back without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Selection
from shedder.health.repair import return_jobs
from tests.features.scene import Scene, numbered
from tests.rq.checkups.asked import MAIL, is_clean, repaired

if TYPE_CHECKING:
    from collections.abc import Callable


def lose(scene: Scene, *jobs: str) -> None:
    for job in jobs:
        assert 1 == scene.redis.lrem(MAIL, 1, job)


def test_a_lost_job_is_put_at_the_end_of_its_lane(scene: Scene) -> None:
    """A job in no list is in its lane again, with its age, and the journal names it."""
    scene.fill("mail", "a", "b")
    at = scene.job("a").enqueued_at
    lose(scene, "a")
    assert {"jobs in no place": 1} == repaired(scene)
    assert (["b", "a"], at) == (scene.waiting("mail"), scene.job("a").enqueued_at)
    event = scene.shedder.events()[-1]
    assert ("repair", "oncall@desk", "fail-over") == (event.verb, event.by, event.why)
    assert {"mail": {"waiting": 2, "jobs": 1, "names": ["a"]}} == event.after
    assert is_clean(scene)


@pytest.mark.parametrize("selection", [Selection(), Selection(functions=("app.mail.*",))])
def test_a_lost_job_of_a_diverted_lane_goes_to_the_backlog(scene: Scene, selection: Selection) -> None:
    """What a divert takes is put back where the divert wants it."""
    scene.fill("mail", "a", "b")
    lose(scene, "a")
    scene.shedder.divert("mail.normal", selection=selection, reason="r")
    repaired(scene)
    assert (["b", "a"], []) == (scene.backlog("mail"), scene.waiting("mail"))


def test_a_lost_job_of_a_parked_lane_stays_out_of_reach(scene: Scene) -> None:
    """A job that is put back into a paused lane is not where stock workers can take it."""
    scene.fill("mail", "a", "b")
    lose(scene, "a")
    scene.add_stock_worker("mail")
    scene.shedder.pause("mail", reason="r")
    repaired(scene)
    assert ([], ["b", "a"]) == (scene.listed("mail"), scene.waiting("mail"))


def requeue(scene: Scene) -> None:
    job = scene.job("a")
    scene.stock("mail").enqueue_job(job)
    scene.redis.rpop(MAIL)  # a stock worker has it in hand


def claim(scene: Scene) -> None:
    scene.redis.lpush(MAIL, "a")
    scene.take("mail")


def put_into_backlog(scene: Scene) -> None:
    scene.redis.rpush(MAIL, "a")
    scene.shedder.divert("mail.normal", reason="r")


def put_into_intermediate(scene: Scene) -> None:
    scene.redis.rpush(f"{MAIL}:intermediate", "a")


MEANWHILE: dict[str, Callable[[Scene], Any]] = {
    "somebody has enqueued it again": requeue,
    "a worker has claimed it": claim,
    "it is in the backlog": put_into_backlog,
    "it is at the front of its lane": lambda it: it.redis.lpush(MAIL, "a"),
    "it is at the end of its lane": lambda it: it.redis.rpush(MAIL, "a"),
    "it is kept": lambda it: it.redis.rpush(it.keys.kept("mail"), "a"),
    "it is parked": lambda it: it.redis.rpush(it.keys.parked("mail"), "a"),
    "a stock worker has it in hand": put_into_intermediate,
    "it was cancelled": lambda it: it.job("a").cancel(),
    "it is gone": lambda it: it.redis.delete(f"{RQ_KEY_PREFIX}:job:a"),
    "its divert cannot be read": lambda it: it.redis.hset(it.keys.diverts, "mail", "garbage"),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE.values(), ids=MEANWHILE.keys())
def test_a_job_that_came_back_in_the_last_moment_is_left_alone(scene: Scene, meanwhile: Callable[[Scene], Any]) -> None:
    """What happens between the last look and the repair is seen by the repair."""
    scene.fill("mail", "a", "b")
    lose(scene, "a")
    checkup = scene.shedder.check_up()

    def after_the_last_look(*args: Any, **options: Any) -> Any:
        meanwhile(scene)
        return return_jobs(*args, **options)

    with mock.patch("shedder.health.repair.return_jobs", after_the_last_look):
        assert {} == repaired(scene, checkup)


def test_a_job_that_another_repair_put_back_is_left_alone(scene: Scene) -> None:
    """Even when a stock worker has taken it since, so that it stands nowhere again."""
    scene.fill("mail", "a")
    lose(scene, "a")
    checkup = scene.shedder.check_up()

    rivals = [True]

    def after_the_last_look(*args: Any, **options: Any) -> Any:
        if rivals.pop():
            rivals.append(False)
            assert {"jobs in no place": 1} == repaired(scene, checkup)
            scene.redis.rpop(MAIL)
        return return_jobs(*args, **options)

    with mock.patch("shedder.health.repair.return_jobs", after_the_last_look):
        assert {} == repaired(scene, checkup)
    assert [] == scene.waiting("mail")


def test_more_lost_jobs_than_one_step_takes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many are put back in several steps, oldest first."""
    monkeypatch.setattr("shedder.health.repair.JOBS_PER_STEP", 2)
    monkeypatch.setattr("shedder.health.repair.JOBS_PER_STEP", 2)
    jobs = scene.fill("mail", *numbered("a", 5))
    scene.redis.delete(MAIL)
    assert {"jobs in no place": 5} == repaired(scene)
    assert (jobs, 3) == (scene.waiting("mail"), len(scene.shedder.events()))
