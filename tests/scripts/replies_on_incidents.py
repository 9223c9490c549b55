"""What the scripts of incidents and mitigations return: one function for each outcome."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from shedder.events import event_head
from shedder.incident.lifecycle import new_incident
from shedder.incident.records import NOW
from shedder.incident.store import EventDraft, write_incident
from shedder.queues.maintenance import end_mitigation
from shedder.response.mitigation import BEGAN, ENDED, OUTCOME_UNKNOWN, begin_mitigation, renew_mitigation
from shedder.store.codec import text_of
from shedder.store.store import Command
from shedder.updates.channels import note_delivery
from shedder.updates.messages import Message
from tests.features.scene import Scene
from tests.scripts.replies import WHO, changed, raw

# incidents


def incident_written(scene: Scene, **how: Any) -> list[Any]:
    """The reply to a new incident."""
    made = new_incident("day", "late", severity=2, by="ana@desk", now=NOW)
    draft = EventDraft("incident open", WHO, is_alone=True)
    command = write_incident(scene.keys, None, made, draft, operation="o", **how)
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


def events_kept(scene: Scene) -> int:
    """The reply when one of two events is kept already; ids are compared as numbers."""
    first = ("9-9", "{}", "{}", "{}")
    assert 1 == raw(scene, Command("keep_events", (scene.keys.operation("k"),), first, int))
    later = ("10-1", "{}", "{}", "{}")
    return int(raw(scene, Command("keep_events", (scene.keys.operation("k"),), (*first, *later), int)))


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
    return event_head(ENDED, WHO, (), outcome=OUTCOME_UNKNOWN)


# telling of incidents


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
