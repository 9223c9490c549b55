"""A repair leaves one entry of a job that stands twice or is in dead hands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.health.repair import remove_twin
from tests.features.scene import Scene
from tests.rq.checkups.asked import MAIL, is_clean, repaired

if TYPE_CHECKING:
    from collections.abc import Callable


TWINS: dict[str, tuple[Callable[[Scene], Any], list[str], list[str]]] = {
    "in one list": (lambda it: it.redis.rpush(MAIL, "a"), ["a", "b", "c"], []),
    "at the front": (lambda it: it.redis.lpush(MAIL, "c"), ["c", "a", "b"], []),
    "in kept": (lambda it: it.redis.rpush(it.keys.kept("mail"), "b"), ["b", "a", "c"], []),
    "in two lanes": (lambda it: it.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", "b"), ["a", "b", "c"], []),
    "in a backlog": (
        lambda it: (it.shedder.divert("mail.normal", reason="r"), it.redis.rpush(MAIL, "b")),
        [],
        ["a", "b", "c"],
    ),
}


@pytest.mark.parametrize(("double", "waiting", "backlog"), TWINS.values(), ids=TWINS.keys())
def test_the_entry_that_would_be_read_later_goes(
    scene: Scene, double: Callable[[Scene], Any], waiting: list[str], backlog: list[str]
) -> None:
    """Of a job that waits twice, the entry stays that is read first; what is put aside stays so."""
    scene.fill("mail", "a", "b", "c")
    double(scene)
    assert 1 == repaired(scene)["jobs in two places"]
    assert (waiting, backlog, []) == (
        scene.waiting("mail"), scene.backlog("mail"), scene.waiting("mail.low")
    )  # fmt: skip
    assert is_clean(scene)


def test_a_job_that_waits_and_is_claimed_leaves_the_list(scene: Scene) -> None:
    """Whoever has a job in hand keeps it, and its other entry goes."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.redis.rpush(MAIL, "a")
    assert {"jobs in two places": 1} == repaired(scene)
    assert (["b"], "started") == (scene.waiting("mail"), scene.hands.start(token).verdict)


def test_a_job_that_waits_three_times_waits_once(scene: Scene) -> None:
    """All entries go but one."""
    scene.fill("mail", "a", "b")
    scene.redis.rpush(MAIL, "a", "a")
    repaired(scene)
    assert ["a", "b"] == scene.waiting("mail")


def test_the_last_entry_never_goes(scene: Scene) -> None:
    """When the first entry was taken meanwhile, the other one is left alone."""
    scene.fill("mail", "a", "b")
    scene.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", "a")
    checkup = scene.shedder.check_up()

    def after_the_last_look(*args: Any, **options: Any) -> Any:
        scene.redis.lpop(MAIL)
        return remove_twin(*args, **options)

    with mock.patch("shedder.health.repair.remove_twin", after_the_last_look):
        assert {} == repaired(scene, checkup)
    assert ["a"] == scene.waiting("mail.low")


def test_an_entry_deep_in_a_long_list_is_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be looked for without holding the server stays, and a check-up says so again."""
    monkeypatch.setattr("shedder.health.repair.TWIN_DEPTH", 1)
    scene.fill("mail", "x", "a", "b", "y")
    scene.redis.linsert(MAIL, "AFTER", "b", "a")
    assert {} == repaired(scene)
    assert not is_clean(scene)


def test_the_jobs_of_dead_workers_come_back(scene: Scene) -> None:
    """A stale claim is taken back to the front of its lane, its holder is fenced off."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.redis.zadd(scene.keys.claims, {token: 1, b"garbage": 1})
    assert {"claims": 1} == repaired(scene)
    assert (["a", "b"], "lost") == (scene.waiting("mail"), scene.hands.start(token).verdict)
    assert ["mail"] == list(scene.shedder.events()[-1].lanes)


def test_a_worker_that_is_heard_of_again_keeps_its_job(scene: Scene) -> None:
    """A claim that was renewed after the check-up stays."""
    scene.fill("mail", "a")
    token = scene.take("mail")
    scene.redis.zadd(scene.keys.claims, {token: 1})
    checkup = scene.shedder.check_up()
    scene.redis.zadd(scene.keys.claims, {token: scene.server_ms()})
    assert {} == repaired(scene, checkup)
    assert "started" == scene.hands.start(token).verdict


def test_the_entry_stays_when_the_claim_has_gone(scene: Scene) -> None:
    """When nobody has the job in hand any more, its entry in the list is its only one."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.redis.rpush(MAIL, "a")
    checkup = scene.shedder.check_up()

    def after_the_last_look(*args: Any, **options: Any) -> Any:
        scene.redis.zrem(scene.keys.claims, token)
        return remove_twin(*args, **options)

    with mock.patch("shedder.health.repair.remove_twin", after_the_last_look):
        assert {} == repaired(scene, checkup)
    assert ["b", "a"] == scene.waiting("mail")
