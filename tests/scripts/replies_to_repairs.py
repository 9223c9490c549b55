"""What the scripts of repairs reply to: each function sets a scene and returns a raw reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from rq.defaults import RQ_KEY_PREFIX

from shedder.events import Cause
from shedder.health.audit import Place
from shedder.health.leftovers import STALE_MS, LostJob
from shedder.health.repair import RepairStep, adopt_backlog, recover_claims, refold_lane, remove_twin, return_jobs
from tests.scripts.replies import raw

if TYPE_CHECKING:
    from tests.features.scene import Scene

WHO = Cause(by="oncall@ops", why="fail-over")
_STEPS = iter(range(1, 1_000_000))


def a_step() -> RepairStep:
    """A step that nobody has taken yet."""
    return RepairStep(WHO, "repair", next(_STEPS))


def lost(scene: Scene, job: str, lane: str = "mail") -> LostJob:
    """A job of `lane` that was enqueued, and taken out of its list by nobody."""
    scene.fill(lane, job)
    scene.redis.lrem(scene.keys.lane(lane)[0], 0, job)
    at = scene.redis.hget(scene.keys.engine.jobs + job, "enqueued_at").decode()
    return LostJob(job, lane, at, "")


def put_back(scene: Scene, *jobs: LostJob, lane: str = "mail", step: RepairStep | None = None) -> Any:
    """The reply to a return of `jobs`."""
    command = return_jobs(scene.keys, lane, jobs, step or a_step())
    return raw(scene, command)


def returned(scene: Scene) -> str:
    reply = put_back(scene, lost(scene, "a"), lost(scene, "b"))
    event = scene.shedder.events()[-1]
    assert ("repair", event.id, ["a", "b"]) == (event.verb, reply[0], reply[1:])
    return str(reply[1])


def not_returned(scene: Scene) -> Any:
    scene.fill("mail", "a")
    return put_back(scene, LostJob("a", "mail", "", ""))


def claims_returned(scene: Scene) -> int:
    scene.fill("mail", "a", "b")
    scene.redis.zadd(scene.keys.claims, {scene.take("mail"): 1, b"garbage": 1})
    reply = raw(scene, recover_claims(scene.keys, a_step(), age_ms=STALE_MS))
    event = scene.shedder.events()[-1]
    assert ("repair", event.id, 1, 1) == (event.verb, *reply)
    assert ["a", "b"] == scene.waiting("mail")
    return int(reply[1])


def no_claim_returned(scene: Scene) -> Any:
    scene.fill("mail", "a")
    scene.take("mail")
    reply = raw(scene, recover_claims(scene.keys, a_step(), age_ms=STALE_MS))
    assert [0, 0] == reply[1:]
    return reply


def twin_removed(scene: Scene) -> str:
    scene.fill("mail", "a", "b")
    scene.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail", "a")
    reply = untwin(scene, "a", f"{RQ_KEY_PREFIX}:queue:mail", f"{RQ_KEY_PREFIX}:queue:mail")
    event = scene.shedder.events()[-1]
    assert (event.id, ["a", "b"]) == (reply[0], scene.waiting("mail"))
    return event.verb


def untwin(scene: Scene, job: str, stays: str, goes: str) -> Any:
    """The reply to the removal of an entry of `job`."""
    return raw(scene, remove_twin(scene.keys, a_step(), job, stays, Place("lane", "mail", goes)))


def twin_is_gone(scene: Scene) -> Any:
    scene.fill("mail", "a")
    reply = untwin(scene, "a", f"{RQ_KEY_PREFIX}:queue:mail", f"{RQ_KEY_PREFIX}:queue:mail")
    assert ["a"] == scene.waiting("mail")
    return reply


def adopted(scene: Scene) -> int:
    orphan = scene.keys.backlog("gone", "mail")[1]
    scene.fill("mail", "a", "b", "c")
    scene.redis.lmove(f"{RQ_KEY_PREFIX}:queue:mail", orphan, "LEFT", "RIGHT")
    reply = raw(scene, adopt_backlog(scene.keys, "mail", orphan, a_step()))
    assert (["a", "b", "c"], 1) == (scene.waiting("mail"), reply[1])
    return int(reply[1])


def not_adopted(scene: Scene) -> Any:
    scene.fill("mail", "a")
    order = scene.shedder.divert("mail.normal", reason="r").lanes[0].order
    backlog = scene.keys.backlog(order, "mail")[1]
    return raw(scene, adopt_backlog(scene.keys, "mail", backlog, a_step()))


def refolded(scene: Scene, steps: int) -> list[Any]:
    """The replies to so many steps of a fold that moves one id at a time."""
    scene.fill("mail", "a", "b", "c", "d")
    for _ in "ab":
        scene.redis.lmove(f"{RQ_KEY_PREFIX}:queue:mail", scene.keys.kept("mail"), "LEFT", "RIGHT")
    with mock.patch("shedder.health.repair.IDS_PER_STEP", 1):
        return [raw(scene, refold_lane(scene.keys, "mail", a_step())) for _ in range(steps)]
