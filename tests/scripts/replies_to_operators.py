"""What the scripts of operators return, as they return it: one function for each outcome."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from rq.defaults import RQ_KEY_PREFIX

from shedder import backlog, stale
from shedder.applied import policy_command
from shedder.backlog import LimitTerms, divert_lanes, preview_lane, restore_lane, scan_lane
from shedder.controls import pause_lanes, resume_lanes
from shedder.drain import order_drain, release_backlog
from shedder.heartbeat.delivering import note_delivery
from shedder.heartbeat.messages import Message
from shedder.incident.begun import (
    BEGAN,
    ENDED,
    UNSEEN,
    begin_mitigation,
    end_mitigation,
    renew_mitigation,
)
from shedder.incident.keeping import Deed, write_incident
from shedder.incident.life import new_incident
from shedder.incident.records import NOW
from shedder.journal import event_head
from shedder.leaving import return_claims, return_list
from shedder.policy import Policy
from shedder.rates import Rate
from shedder.rq.lateness import count_late
from shedder.selection import Selection
from shedder.store import Command
from shedder.stored import text_of
from tests.features.scene import Scene
from tests.scripts.replies import FAST, MAIL, WHO, parked, raw


def changed(scene: Scene, command: Command[Any], verb: str) -> list[Any]:
    """The reply to a command whose event is the last of the journal."""
    reply: list[Any] = raw(scene, command)
    event = scene.shedder.events()[-1]
    assert (event.id, verb) == (reply[0], event.verb)
    assert abs(event.at.timestamp() * 1000 - reply[1]) < 1000
    return reply[2:]


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
        reply = raw(
            scene, divert_lanes(scene.keys, lanes, Selection(), WHO, order=order, terms=terms)
        )
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
    assert (["more", 1, 1, "b"], 6) == (reply[:4], len(reply))
    return reply


def scan_done(scene: Scene) -> list[Any]:
    reply = scanned(scene, 2, b=True)
    assert ["done", 1, 1] == reply
    return reply


def scan_ended(scene: Scene) -> list[Any]:
    command = scan_lane(scene.keys, "mail", "o", WHO, operation="s", step=0)
    reply: list[Any] = raw(scene, command)
    return reply


def restored(scene: Scene, steps: int, *, folds: bool = False) -> list[Any]:
    scene.fill("mail", "a")
    scene.fill("mail", "b", function="app.report.build")
    scene.fill("mail", "c")
    order = scene.shedder.divert("mail.normal", selection=MAIL, reason="r").lanes[0].order
    if folds:
        scene.redis.rename(f"{RQ_KEY_PREFIX}:queue:mail", scene.keys.kept("mail"))
    reply: list[Any] = []
    with mock.patch.object(backlog, "JOBS_PER_STEP", 2):
        for step in range(steps):
            command = restore_lane(scene.keys, "mail", order, WHO, operation="x", step=step)
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
    reply: list[Any] = raw(
        scene, preview_lane(scene.keys, f"{RQ_KEY_PREFIX}:queue:mail", MAIL, first=0)
    )
    assert [4, 2, int(since.timestamp() * 1000), ["app.mail.send", 2]] == reply[:4]
    assert ("c", 4) == (reply[4][0], len(reply[4]))
    return reply


# settings and windows


def set_by(scene: Scene, *said: str | int) -> list[Any]:
    """The reply to a change of settings: name, JSON and duration for each."""
    keys = (
        f"{RQ_KEY_PREFIX}:shedder:x",
        f"{RQ_KEY_PREFIX}:shedder:x-version",
        scene.keys.events,
        scene.keys.operation("o"),
    )
    head = '{"v":1,"verb":"flag degrade","by":"oncall","why":"r","lanes":[]}'
    scene.redis.delete(scene.keys.operation("o"))
    reply: list[Any] = raw(scene, Command("change_settings", keys, ("s", head, "c", *said), list))
    return reply


def setting_replaced(scene: Scene) -> list[Any]:
    assert [""] == set_by(scene, "a", '{"n":1}', 0)[2:]
    reply = set_by(scene, "a", '{"n":2}', 1000, "b", "", 0)
    assert (scene.shedder.events()[-1].id, "") == (reply[0], reply[3])
    assert '"n":1' in reply[2]
    return reply


def setting_not_there(scene: Scene) -> list[Any]:
    reply = set_by(scene, "a", "", 0)
    assert ["", ""] == [reply[0], *reply[2:]]
    return reply


def declared(scene: Scene) -> int:
    keys = (scene.keys.flag_declarations,)
    assert 1 == raw(scene, Command("declare_settings", keys, ("a", "{}"), int))
    return int(raw(scene, Command("declare_settings", keys, ("a", "{}", "b", "{}"), int)))


def hit(scene: Scene, times: int) -> int:
    """The reply to the last of so many hits on a window that lets one through."""
    keys = (f"{RQ_KEY_PREFIX}:shedder:w", scene.keys.limit_hits)
    command = Command("hit_window", keys, (1, 10_000_000, 1, "partner", 100), int)
    return [int(raw(scene, command)) for _ in range(times)][-1]


def window(scene: Scene) -> list[Any]:
    hit(scene, 1)
    reply: list[Any] = raw(
        scene, Command("read_window", (f"{RQ_KEY_PREFIX}:shedder:w",), (1, 10_000_000), list)
    )
    assert 9_000_000 < reply[1] <= 10_000_000
    return reply


# incidents


def incident_written(scene: Scene, **how: Any) -> list[Any]:
    """The reply to a new incident."""
    made = new_incident("day", "late", severity=2, by="ana@desk", now=NOW)
    deed = Deed("incident open", WHO, is_alone=True)
    command = write_incident(scene.keys, None, made, deed, operation="o", **how)
    reply: list[Any] = raw(scene, command)
    if reply[0] == "done":
        assert reply[2] == scene.shedder.events()[-1].id
        assert reply[3] == text_of(scene.redis.get(scene.keys.incident("day")))
    assert abs(time.time() * 1000 - reply[1]) < 10_000
    return reply


def another_incident(scene: Scene) -> list[Any]:
    identifier = scene.shedder.incidents.open("first", severity=2).incident.id
    reply = incident_written(scene)
    assert identifier == reply[2]
    return reply


# policies


def policy_applied(scene: Scene, *steps: tuple[Policy, int | None]) -> list[Any]:
    reply: list[Any] = []
    for number, (policy, based_on) in enumerate(steps):
        operation = str(number)
        command = policy_command(
            scene.keys, policy, "{}", WHO, operation=operation, based_on=based_on
        )
        reply = raw(scene, command)
    assert 5 == len(reply)
    return reply


def claims_returned(scene: Scene) -> int:
    scene.fill("mail", "a")
    scene.take("mail")
    reply = raw(scene, return_claims(scene.keys, WHO, operation="o", step=1))
    assert [scene.shedder.events()[-1].id, 1, 0] == reply
    assert ["a"] == scene.listed("mail")
    return int(reply[1])


def no_claims_returned(scene: Scene) -> str:
    reply = raw(scene, return_claims(scene.keys, WHO, operation="o", step=2))
    assert ["", 0, 0] == reply
    return str(reply[0])


def list_returned(scene: Scene) -> int:
    source = f"{RQ_KEY_PREFIX}:shedder:backlog:gone:mail:rest"
    scene.redis.rpush(source, "a", "b", "c")
    scene.fill("mail", "d", "e", "f", "g")
    with mock.patch("shedder.leaving.IDS_PER_STEP", 2):
        command = return_list(scene.keys, source, "mail", WHO, total=3)
        assert 1 == raw(scene, command)
        left: int = raw(scene, command)
    assert ["a", "b", "c", "d", "e", "f", "g"] == scene.listed("mail")
    assert ("restore", {"mail": {"backlog": 3}}) == (
        scene.shedder.events()[-1].verb,
        scene.shedder.events()[-1].before,
    )
    return left


def events_kept(scene: Scene) -> int:
    """The reply when one of two events is kept already; ids are compared as numbers."""
    first = ("9-9", "{}", "{}", "{}")
    assert 1 == raw(scene, Command("keep_events", (scene.keys.operation("k"),), first, int))
    later = ("10-1", "{}", "{}", "{}")
    return int(
        raw(scene, Command("keep_events", (scene.keys.operation("k"),), (*first, *later), int))
    )


def mitigation_begun(scene: Scene) -> str:
    reply = raw(scene, begin_mitigation(scene.keys, event_head(BEGAN, WHO, ()), _unseen()))
    (event,) = scene.shedder.events()
    assert event.id == reply[0]
    assert abs(event.at.timestamp() * 1000 - reply[1]) < 1000
    return event.verb


def mitigation_renewed(scene: Scene, *, is_over: bool = False) -> int:
    """The reply to a sign of life, which puts the time further out, before and after the end."""
    event = _begun(scene, until_ms=1)
    if is_over:
        raw(scene, end_mitigation(scene.keys, event, event_head(ENDED, WHO, ())))
    reply = int(raw(scene, renew_mitigation(scene.keys, event, _unseen())))
    kept = scene.redis.hget(scene.keys.mitigations, event)
    assert is_over == (kept is None)
    assert is_over or int(kept.partition(b" ")[0]) > 1000 * time.time()
    return reply


def mitigation_ended(scene: Scene) -> str:
    event = _begun(scene)
    head = event_head(ENDED, WHO, (), outcome="done")
    changed(scene, end_mitigation(scene.keys, event, head), ENDED)
    assert not scene.redis.exists(scene.keys.mitigations)
    return str(scene.shedder.events()[-1].details["outcome"])


def mitigation_silent(scene: Scene) -> str:
    event = _begun(scene, until_ms=1)
    changed(scene, end_mitigation(scene.keys, event), ENDED)
    return str(scene.shedder.events()[-1].details["outcome"])


def mitigation_not_silent(scene: Scene, *, is_over: bool = False) -> str:
    event = _begun(scene)
    if is_over:
        raw(scene, end_mitigation(scene.keys, event, event_head(ENDED, WHO, ())))
    before = len(scene.shedder.events())
    reply = raw(scene, end_mitigation(scene.keys, event))
    assert before == len(scene.shedder.events())
    return text_of(reply[0])


def _begun(scene: Scene, *, until_ms: int | None = None) -> str:
    head = event_head(BEGAN, WHO, ())
    event = text_of(raw(scene, begin_mitigation(scene.keys, head, _unseen()))[0])
    if until_ms is not None:
        scene.redis.hset(scene.keys.mitigations, event, f"{until_ms} {_unseen()}")
    return event


def _unseen() -> str:
    return event_head(ENDED, WHO, (), outcome=UNSEEN)


# telling of incidents


def late_counted(scene: Scene) -> int:
    scene.fill("mail", "a", "b", "c")
    lists = [scene.keys.engine.lists + "mail"]
    reply = raw(scene, count_late(scene.keys, lists, datetime.now(UTC) + timedelta(minutes=1)))
    assert [3] == reply
    return int(reply[0])


def delivery(scene: Scene, *modes: str, who: str = "a") -> int:
    replies = [raw(scene, note_delivery(scene.keys, "i", MESSAGE, mode, who=who)) for mode in modes]
    assert all(len(reply) == 3 for reply in replies)
    return int(replies[-1][0])


def doubtful_delivery(scene: Scene) -> int:
    delivery(scene, "take")
    reply = raw(scene, note_delivery(scene.keys, "i", MESSAGE, "take", who="a"))
    assert [1, 1, 1] == reply
    return int(reply[2])


MESSAGE = Message("m", "main", "title", "text", datetime(2026, 11, 23, tzinfo=UTC))


# old work


def set_aside(scene: Scene, limit: int) -> list[Any]:
    scene.fill("mail", "a", "b", "c")
    for job in ("a", "b"):
        scene.hands.age(job)
    scene.shedder.policies.apply(Policy(stale_after=timedelta(hours=1)), reason="r")
    order = scene.shedder.divert("mail.normal", reason="r").lanes[0].order
    with mock.patch.object(stale, "JOBS_PER_STEP", limit):
        reply: list[Any] = raw(scene, stale.set_aside(scene.keys, "mail", order))
    assert (min(limit, 2), int(limit == 1)) == tuple(reply)
    return reply


def replay_command(scene: Scene) -> Command[Any]:
    return stale.replay(scene.keys, "mail", WHO, operation="o", step=0, most=2)


def replayed(scene: Scene) -> list[Any]:
    set_aside(scene, 9)
    scene.hands.expire("a")
    reply = changed(scene, replay_command(scene), "replay")
    assert [1, 1, 0] == reply
    return ["", "", *reply]
