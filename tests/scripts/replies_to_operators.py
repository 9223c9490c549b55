"""What the scripts of lanes and backlogs return to operators: one function for each outcome."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from unittest import mock

from rq.defaults import RQ_KEY_PREFIX

from shedder.events import event_head
from shedder.policy.model import Policy
from shedder.queues.controls import LimitTerms
from shedder.queues.divert import divert_lanes, scan_lane, set_back_orders
from shedder.queues.drain import order_drain, release_backlog
from shedder.queues.pause import pause_before, pause_lanes, pause_set_by, resume_lanes, set_back_pauses
from shedder.queues.restore import restore_lane
from shedder.queues.retry import put_back_failed, retry_jobs
from shedder.queues.stale import replay
from shedder.queues.stale import set_aside as set_stale_aside
from shedder.queues.windows import preview_lane
from shedder.selection import Selection
from shedder.store.store import Command
from shedder.units import Rate
from tests.features.failures import fail
from tests.features.scene import Scene
from tests.scripts.replies import FAST, MAIL, SLOW, WHO, changed, parked, raw


def paused(scene: Scene) -> list[Any]:
    scene.fill("mail", "a")
    lanes = scene.lanes("mail.normal", "mail.low")
    scene.shedder.pause("mail.low", reason="before")
    rest = changed(scene, pause_lanes(scene.keys, lanes, WHO, operation="o"), "pause")
    assert ["", 1, 0] == [rest[0], rest[1], rest[3]]
    assert '"why":"before"' in rest[2]
    return rest


def resumed(scene: Scene) -> list[Any]:
    parked(scene, 9)
    scene.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail", "d")
    lanes = scene.lanes("reports.low", "mail.normal")
    rest = changed(scene, resume_lanes(scene.keys, lanes, WHO, operation="o"), "resume")
    assert (["", 0, 0], [4, 3]) == (rest[:3], rest[4:])
    assert '"parked":true' in rest[3]
    return rest


def not_resumed(scene: Scene) -> list[Any]:
    lanes = scene.lanes("mail.normal")
    reply: list[Any] = raw(scene, resume_lanes(scene.keys, lanes, WHO, operation="o"))
    assert ["", "", 0, 0] == [reply[0], *reply[2:]]
    return reply


def diverted(scene: Scene) -> list[Any]:
    scene.fill("mail", "a", "b")
    lanes = scene.lanes("mail.normal")
    command = divert_lanes(scene.keys, lanes, Selection(), WHO, order="whole")
    assert ["whole", 2, 0, ""] == changed(scene, command, "divert")
    scene.fill("mail.low", "c")
    command = divert_lanes(scene.keys, scene.lanes("mail.low"), MAIL, WHO, order="some")
    rest = changed(scene, command, "divert")
    assert ["some", 0, 1, ""] == rest
    return rest


def limit_changed(scene: Scene) -> list[Any]:
    lanes = scene.lanes("mail.normal")
    for order, most in (("o", 1), ("p", 2)):
        terms = LimitTerms(most=most)
        reply = raw(scene, divert_lanes(scene.keys, lanes, Selection(), WHO, order=order, terms=terms))
    replaced = json.loads(reply[5])
    assert (1, WHO.by, WHO.why) == (replaced["most"], replaced["by"], replaced["why"])
    return ["a limit"]


def drained(scene: Scene) -> list[Any]:
    diverted(scene)
    lanes = scene.lanes("mail.normal")
    changed(scene, order_drain(scene.keys, lanes, Rate(2000.0), WHO, operation="1"), "drain")
    command = order_drain(scene.keys, lanes, None, WHO, operation="2")
    rest = changed(scene, command, "drain stopped")
    assert ["mail", "whole", 2, "2"] == rest
    return rest


def pauses_set_back(scene: Scene) -> list[Any]:
    scene.fill("mail", "a")
    scene.shedder.pause("mail.low", reason="before")
    event = scene.shedder.event(scene.shedder.pause("mail", reason="r").event)
    ways = {
        lane: (pause_set_by(event, lane), pause_before(event, lane) or "") for lane in ("mail", "mail.low", "reports")
    }
    reply: list[Any] = raw(scene, set_back_pauses(scene.keys, ways, WHO, operation="o", undoes=event.id))
    resume, pause = scene.shedder.events()[-2:]
    assert [resume.id, pause.id] == reply[1:3]
    assert (["mail"], ["mail.low"]) == (list(resume.lanes), list(pause.lanes))
    assert ["resumed", 1, 0, "paused", 0, 0] == [*reply[4::4][:1], *reply[6:9], *reply[10:12]]
    assert ["same", "", 0, 0] == reply[12:]
    return reply


def pauses_kept(scene: Scene, state: str) -> list[Any]:
    scene.shedder.pause("mail.normal", reason="r")
    stands, was = {
        "changed": ('{"event":"1-1"}', ""),
        "over": ("", '{"v":1,"since":1,"until":2,"event":"1-1"}'),
        "same": ("", ""),
    }[state]
    lane = "mail" if state == "changed" else "reports"
    command = set_back_pauses(scene.keys, {lane: (stands, was)}, WHO, operation="o", undoes="1-1")
    reply: list[Any] = raw(scene, command)
    assert lane == reply[1] if state == "changed" else ["", ""] == reply[1:]
    return reply


def orders_set_back(scene: Scene) -> list[Any]:
    diverted(scene)
    drain = scene.shedder.drain("mail.normal", rate=SLOW, reason="r")
    way = {"whole": {"is": {"drain": drain.event}, "was": {}}}
    head = event_head("drain stopped", WHO, ["mail"])
    reply: list[Any] = raw(scene, set_back_orders(scene.keys, {"mail": way}, head, operation="o"))
    assert scene.shedder.events()[-1].id == reply[1]
    assert ["mail", "whole", 2, 0, ""] == [*reply[3:7], reply[8]]
    return reply


def orders_kept(scene: Scene, state: str) -> list[Any]:
    terms = {"most": 2, "by": "ana@desk", "reason": "r"}
    receipt = scene.shedder.limit_starts("mail.normal", **terms)
    after = scene.shedder.event(receipt.event).after["mail"]
    order = receipt.lanes[0].order if state != "ended" else "another"
    stands = {"event": receipt.event, "since": 1 if state == "changed" else after["since"]}
    ways = {"mail": {order: {"is": stands, "was": {"until": 2}}}}
    reply: list[Any] = raw(scene, set_back_orders(scene.keys, ways, event_head("limit start", WHO, []), operation="o"))
    assert ["", ""] == reply[1:] if state == "ended" else ["mail", "ana@desk"] == reply[1:]
    return reply


def not_drained(scene: Scene) -> list[Any]:
    reply: list[Any] = raw(scene, order_drain(scene.keys, scene.lanes("mail"), FAST, WHO,
                                              operation="1"))  # fmt: skip
    assert ("", 2) == (reply[0], len(reply))
    return reply


# backlogs, in steps


def scanned(scene: Scene, steps: int, **judged: bool) -> list[Any]:
    scene.fill("mail", "a")
    scene.fill("mail", "b", how="stock")
    raw(scene, divert_lanes(scene.keys, scene.lanes("mail.normal"), MAIL, WHO, order="o"))
    reply: list[Any] = []
    for step in range(steps):
        said = tuple(judged.items()) if step else ()
        command = scan_lane(scene.keys, "mail", "o", WHO, operation="s", step=step, judged=said)
        reply = raw(scene, command)
    return reply


def scan_more(scene: Scene) -> list[Any]:
    reply = scanned(scene, 1)
    assert (["more", 1, 1, "b", ""], 8) == (reply[:5], len(reply))
    return reply


def scan_done(scene: Scene) -> list[Any]:
    reply = scanned(scene, 2, b=True)
    assert ["done", 1, 1] == reply
    return reply


def scan_ended(scene: Scene) -> list[Any]:
    command = scan_lane(scene.keys, "mail", "o", WHO, operation="s", step=0)
    reply: list[Any] = raw(scene, command)
    return reply


def restored(scene: Scene, steps: int, *, folds: bool = False, set_by: str = "") -> list[Any]:
    scene.fill("mail", "a")
    scene.fill("mail", "b", function="app.report.build")
    scene.fill("mail", "c")
    order = scene.shedder.divert("mail.normal", selection=MAIL, reason="r").lanes[0].order
    if folds:
        scene.redis.rename(f"{RQ_KEY_PREFIX}:queue:mail", scene.keys.kept("mail"))
    reply: list[Any] = []
    with mock.patch("shedder.queues.restore.RESTORED_PER_STEP", 2):
        for step in range(steps):
            command = restore_lane(scene.keys, "mail", order, WHO, operation="x", step=step, set_by=set_by)
            reply = raw(scene, command)
    return reply


def restore_done(scene: Scene) -> list[Any]:
    reply = restored(scene, 3)
    event = scene.shedder.events()[-1]
    assert ("restore", ["done", event.id, 1, 0]) == (event.verb, reply)
    return reply


def restore_more(scene: Scene) -> list[Any]:
    reply = restored(scene, 1)
    assert ["more", "", 1, 1] == reply
    return reply


def released(scene: Scene, rate: Rate, cap: int) -> list[Any]:
    scene.fill("mail", "a", "b", "c")
    order = scene.shedder.divert("mail.normal", reason="r").lanes[0].order
    scene.shedder.drain("mail.normal", rate=rate, reason="r")
    reply: list[Any] = raw(scene, release_backlog(scene.keys, "mail", order, cap=cap))
    return reply


def release_paused(scene: Scene) -> list[Any]:
    scene.shedder.pause("mail", reason="r")
    reply = released(scene, FAST, 2)
    assert ["waiting", 0, 0, 3] == reply
    return reply


def previewed(scene: Scene) -> list[Any]:
    scene.fill("mail", "a", "b")
    scene.fill("mail", "c", how="stock")
    scene.fill("mail", "d", function="app.report.build")
    since = scene.job("a").enqueued_at
    assert since is not None
    reply: list[Any] = raw(scene, preview_lane(scene.keys, f"{RQ_KEY_PREFIX}:queue:mail", MAIL, (0, 3), (3, 9)))
    assert [4, 2, ["app.mail.send", 2, int(since.timestamp() * 1000), 2]] == reply[:3]
    assert (["c", ""], 6) == (reply[3][:2], len(reply[3]))
    return reply


# old work


def set_aside(scene: Scene, limit: int) -> list[Any]:
    scene.fill("mail", "a", "b", "c")
    for job in ("a", "b"):
        scene.hands.age(job)
    scene.shedder.policies.apply(Policy(stale_after=timedelta(hours=1)), reason="r")
    order = scene.shedder.divert("mail.normal", reason="r").lanes[0].order
    with mock.patch("shedder.queues.stale.STALE_PER_STEP", limit):
        reply: list[Any] = raw(scene, set_stale_aside(scene.keys, "mail", order))
    assert (min(limit, 2), int(limit == 1)) == tuple(reply)
    return reply


def replay_command(scene: Scene) -> Command[Any]:
    return replay(scene.keys, "mail", WHO, operation="o", step=0, most=2)


def replayed(scene: Scene) -> list[Any]:
    set_aside(scene, 9)
    scene.hands.expire("a")
    reply = changed(scene, replay_command(scene), "replay")
    assert [1, 1, 0] == reply
    return ["", "", *reply]


def retry_command(scene: Scene, *jobs: str) -> Command[Any]:
    return retry_jobs(
        scene.keys, "mail", "mail", jobs, WHO, order="x", selection="all", rate="1/second", operation="o", step=1
    )


def retried(scene: Scene) -> list[Any]:
    fail(scene, "mail", "a")
    rest = changed(scene, retry_command(scene, "a", "never"), "retry")
    assert [1, 1, "never", "gone"] == rest
    return ["", "", *rest]


def put_back(scene: Scene, steps: int) -> list[Any]:
    fail(scene, "mail", "a", "b", "c")
    raw(scene, retry_command(scene, "c", "b", "a"))
    scene.job("a").delete()
    reply: list[Any] = []
    with mock.patch("shedder.queues.retry.TAKEN_BACK_PER_STEP", 2):
        for step in range(steps):
            reply = raw(scene, put_back_failed(scene.keys, "mail", "x", WHO, "p", step))
    return reply
