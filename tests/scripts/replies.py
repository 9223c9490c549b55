"""What the scripts of jobs return, as they return it: one function for each outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from rq import RateLimit

from shedder.events import Cause
from shedder.policy.model import Policy
from shedder.queues.claims import HeldClaim, check_diverts, claim_job, hand_over_polling, list_claims, start_job
from shedder.queues.divert import divert_lanes, free_slot
from shedder.queues.drain import end_drained
from shedder.queues.enqueue import enqueue_job
from shedder.queues.maintenance import forget_running, forget_starts
from shedder.queues.outcomes import EndsOfStock
from shedder.queues.pause import fold_lane, park_lane
from shedder.queues.samples import sample_lanes
from shedder.selection import Selection
from shedder.status.looks import find_borders, look_at_jobs
from shedder.store.store import Command
from shedder.units import Rate
from tests.features.scene import Scene
from tests.model.hands import WORKER

WHO = Cause("oncall@desk", "r")
FAST = Rate(1e9)
SLOW = Rate(1, 86400.0)
MAIL = Selection.parse(functions=["app.mail.*"])


def raw(scene: Scene, command: Command[Any]) -> Any:
    """What the script returns, as text and numbers."""
    return plain(scene.shedder.store.run(replace(command, parse=lambda reply: reply)))


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def changed(scene: Scene, command: Command[Any], verb: str) -> list[Any]:
    """The reply to a command whose event is the last of the journal."""
    reply: list[Any] = raw(scene, command)
    event = scene.shedder.events()[-1]
    assert (event.id, verb) == (reply[0], event.verb)
    assert abs(event.at.timestamp() * 1000 - reply[1]) < 1000
    return reply[2:]


# claims


def claimed(scene: Scene) -> list[Any]:
    scene.fill("mail", "a")
    reply: list[Any] = raw(scene, claim_job(scene.keys, ["mail.high", "mail"], worker="w"))
    assert [2, "a", 0, ""] == [reply[1], reply[3], reply[4], reply[6]]
    assert "queued" == dict(zip(reply[5][::2], reply[5][1::2], strict=True))["status"]
    return reply


def claimed_undecided(scene: Scene) -> list[Any]:
    scene.shedder.divert("mail", selection=MAIL, reason="r")
    scene.fill("mail", "a", how="stock")
    reply: list[Any] = raw(scene, claim_job(scene.keys, ["mail"], worker="w"))
    assert 1 == reply[4]
    return reply


def empty(scene: Scene) -> list[Any]:
    assert ["empty", 0, 1, "wait"] == raw(scene, claim_job(scene.keys, ["mail"], worker="w"))
    raw(scene, sample_lanes(scene.keys, ["mail"]))
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=Rate(1.0), reason="r")
    reply: list[Any] = raw(scene, claim_job(scene.keys, ["mail"], worker="w"))
    assert (True, 0) == (0 < reply[1] <= 1000, reply[2])
    return reply


def meanwhile(scene: Scene, worker: str, *, is_staying: bool = True) -> list[Any]:
    lanes = ["mail"]
    raw(scene, claim_job(scene.keys, lanes, worker="w", is_staying=is_staying))
    reply: list[Any] = raw(scene, claim_job(scene.keys, lanes, worker=worker, is_staying=is_staying))
    assert "empty" == reply[0]
    return reply


def left_polling(scene: Scene, worker: str) -> Any:
    raw(scene, claim_job(scene.keys, ["mail"], worker="w", is_staying=True))
    return raw(scene, hand_over_polling(scene.keys, ("mail",), worker=worker))


def again(scene: Scene) -> list[Any]:
    scene.fill("mail", "a", "b")
    scene.hands.expire("a")
    with mock.patch("shedder.queues.claims.JOBS_PER_CLAIM", 1):
        reply: list[Any] = raw(scene, claim_job(scene.keys, ["mail"], worker="w"))
    return reply


def suspended(scene: Scene) -> list[Any]:
    scene.fill("mail", "a")
    scene.redis.set(scene.keys.engine.suspended, 1)
    reply: list[Any] = raw(scene, claim_job(scene.keys, ["mail"], worker="w"))
    return reply


def knowing_policy(scene: Scene, number: int) -> list[Any]:
    scene.fill("mail", "a")
    scene.shedder.policies.apply(Policy(stale_after=timedelta(hours=1)), reason="r")
    command = claim_job(scene.keys, ["mail"], worker="w", policy=number)
    reply: list[Any] = raw(scene, command)
    return reply


def gate(scene: Scene, before: Callable[[Scene, bytes], object], *, starts: bool = True) -> list[str]:
    scene.fill("mail", "a")
    token = scene.take("mail")
    before(scene, token)
    held = HeldClaim(token, "a", "mail")
    name, meta, at = "app.mail.send", {"tenant": "acme"}, "2026-01-01T00:00:00.000000Z"
    start = start_job(scene.keys, held, timestamp=at, function=name, meta=meta)
    check = check_diverts(scene.keys, held, function=name, meta=meta)
    reply: list[str] = raw(scene, start if starts else check)
    return reply


def diverted_at_the_gate(scene: Scene) -> list[str]:
    reply = gate(scene, lambda it, _: it.shedder.divert("mail", selection=MAIL, reason="r"))
    assert reply[1] == scene.shedder.status("mail.normal").lanes[0].diverts[0].order
    return reply


def dropped_at_the_gate(scene: Scene) -> list[str]:
    reply = gate(scene, lambda it, _: it.hands.cancel("a"))
    assert ["dropped", "canceled"] == reply
    return reply


def held_claims(scene: Scene) -> list[Any]:
    scene.fill("mail", "a", "b")
    first, second = scene.take("mail"), scene.take("mail")
    scene.hands.start(second)
    reply: list[Any] = raw(scene, list_claims(scene.keys))
    assert [["claimed", "tester", "mail", "a"], ["starting", "tester", "mail", "b"]] == [
        reply[0:4], reply[8:12],
    ]  # fmt: skip
    assert plain(first) == reply[7]
    return reply


# lanes


def parked(scene: Scene, at_a_time: int) -> list[int]:
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="r")
    raw(scene, park_lane(scene.keys, "mail"))
    scene.fill("mail", "b", "c", how="stock")
    with mock.patch("shedder.queues.pause.IDS_PER_STEP", at_a_time):
        reply: list[int] = raw(scene, park_lane(scene.keys, "mail"))
    assert [1 + min(at_a_time, 2)] == reply[1:]
    return reply


def folded(scene: Scene) -> int:
    parked(scene, 9)
    scene.redis.hdel(scene.keys.pauses, "mail")
    scene.fill("mail", "d", "e", "f", how="stock")
    with mock.patch("shedder.queues.pause.IDS_PER_STEP", 1):
        reply: int = raw(scene, fold_lane(scene.keys, "mail"))
    return reply


def enqueued(scene: Scene, *, unique: bool) -> int:
    job = scene.ours("mail").create_job("app.mail.send", job_id="a")
    job.enqueued_at = datetime.now(UTC)
    if unique:
        scene.fill("mail", "a")
    command = enqueue_job(scene.keys, "mail", job, at_front=False, unique=unique)
    reply: int = raw(scene, command)
    return reply


def freed(scene: Scene, *, holds: bool) -> int:
    if holds:
        scene.stock("mail").enqueue("app.f", job_id="a", rate_limit=RateLimit("k", 1))
        raw(scene, divert_lanes(scene.keys, scene.lanes("mail"), Selection(), WHO, order="o"))
    reply: int = raw(scene, free_slot(scene.keys, "a", "k"))
    return reply


def running_forgotten(scene: Scene) -> int:
    scene.fill("mail", "a")
    scene.shedder.limit_starts("mail", most=1, reason="r")
    order = scene.shedder.status("mail").lanes[0].diverts[0].order
    token = scene.take("mail")
    with mock.patch("shedder.queues.maintenance.FORGET_AFTER_MS", 0):
        forget = forget_running(scene.keys, order)
    assert 0 == raw(scene, forget)  # it is claimed and not started
    scene.hands.start(token)
    executions = scene.keys.engine.executions + "a"
    scene.redis.hset(scene.keys.engine.jobs + "a", "worker_name", WORKER)
    assert 0 == raw(scene, forget)  # it runs
    scene.redis.delete(executions)
    return int(raw(scene, forget))


def starts_forgotten(scene: Scene) -> int:
    scene.fill("mail", "a")
    token = scene.take("mail")
    scene.hands.start(token)
    assert 0 == raw(scene, forget_starts(scene.keys))
    scene.redis.hset(scene.keys.starting, token, 0)
    scene.hands.finish("a")
    return int(raw(scene, forget_starts(scene.keys)))


def drained_ends(scene: Scene, ends: str) -> Any:
    """What counting `ends` of a drain says."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=SLOW, reason="r")
    [lane] = scene.shedder.status("mail.normal").lanes
    told = EndsOfStock(ends, len(ends), ends.count("f"))
    return raw(scene, end_drained(scene.keys, "mail", lane.diverts[0].order, told))


# looking


def borders(scene: Scene) -> list[Any]:
    """Three jobs that have just come are older than a moment ago is from now."""
    lists = [scene.keys.engine.lists + name for name in ("mail", "mail.low")]
    scene.fill("mail", "a", "b")
    scene.fill("mail.low", "c")
    at = datetime.now(UTC) + timedelta(hours=1)
    reply: list[Any] = raw(scene, find_borders(scene.keys, lists, [timedelta(minutes=1)], at, slack_ms=0))
    assert abs(reply[1] - datetime.now(UTC).timestamp() * 1000) < 60_000
    assert 5 == len(reply)
    return reply


def looked_at(scene: Scene) -> list[Any]:
    """Of three jobs, two are alike, and one is of a stock producer, whose data are needed."""
    scene.fill("mail", "a", "b")
    scene.fill("mail", "c", how="stock")
    lists = [scene.keys.engine.lists + name for name in ("none", "mail")]
    command = look_at_jobs(scene.keys, lists, [(0, 3)], with_meta=True, at=datetime.now(UTC))
    reply: list[Any] = raw(scene, command)
    assert [(2, "app.mail.send", True), (1, "", False)] == [(row[0], row[2], row[3] == "") for row in reply]
    return reply
