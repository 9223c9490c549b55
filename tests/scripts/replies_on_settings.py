"""What the scripts of settings, policies and leaving return: one function for each outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

from rq.defaults import RQ_KEY_PREFIX

from shedder.events import Event
from shedder.health.uninstall import forget_lane, return_claims, return_list
from shedder.policy.applied import policy_command
from shedder.policy.model import Policy
from shedder.queues.sweep import forget_queue
from shedder.settings.setting import set_back_settings
from shedder.store.store import Command
from tests.features.scene import Scene
from tests.scripts.replies import WHO, raw

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


def settings_set_back(scene: Scene) -> list[Any]:
    set_by(scene, "a", '{"n":1}', 0)
    event, *_ = set_by(scene, "a", '{"n":2}', 0)
    reply = _set_back(scene, scene.shedder.event(event))
    assert scene.shedder.events()[-1].id == reply[1]
    assert '"n":2' in reply[3]
    return reply


def settings_kept(scene: Scene, state: str) -> list[Any]:
    set_by(scene, "a", '{"n":1}', 1)
    event, *_ = set_by(scene, "a", '{"n":2}', 0)
    if state == "changed":
        set_by(scene, "a", '{"n":3}', 0)
    elif state == "ended":
        set_by(scene, "a", "", 0)
    elif state == "over":
        event, *_ = set_by(scene, "a", "", 0)
    seen = scene.shedder.event(event)
    reply = _set_back(scene, replace(seen, before={"a": {"v": 1, "until": 1}}))
    assert [state, "a"] == reply
    return reply


def _set_back(scene: Scene, event: Event) -> list[Any]:
    command = set_back_settings(
        scene.keys, f"{RQ_KEY_PREFIX}:shedder:x", event, WHO, verbs=("flag degrade", "flag restore")
    )
    reply: list[Any] = raw(scene, command)
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
    reply: list[Any] = raw(scene, Command("read_window", (f"{RQ_KEY_PREFIX}:shedder:w",), (1, 10_000_000), list))
    assert 9_000_000 < reply[1] <= 10_000_000
    return reply


# policies


def policy_applied(scene: Scene, *steps: tuple[Policy, int | None]) -> list[Any]:
    reply: list[Any] = []
    for number, (policy, based_on) in enumerate(steps):
        operation = str(number)
        command = policy_command(scene.keys, policy, "{}", WHO, operation=operation, based_on=based_on)
        reply = raw(scene, command)
    assert 5 == len(reply)
    return reply


# leaving


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


def queue_to_forget(scene: Scene) -> int:
    scene.redis.rpush(scene.keys.bell("mail"), "1")
    scene.redis.rpush(scene.keys.series("mail.low"), "1")
    scene.redis.hset(scene.keys.meters, "mail:started", 1)
    keys, fields = raw(scene, forget_queue(scene.keys, "mail", (), is_preview=True))
    assert 1 == fields == scene.redis.hlen(scene.keys.meters)
    return int(keys)


def queue_forgotten(scene: Scene) -> int:
    queue_to_forget(scene)
    keys, fields = raw(scene, forget_queue(scene.keys, "mail", (), is_preview=False))
    assert (1, 0) == (fields, scene.redis.hlen(scene.keys.meters))
    return int(keys)


def lane_forgotten(scene: Scene) -> int:
    scene.redis.sadd(scene.keys.engine.queues, f"{scene.keys.engine.lists}mail.low")
    reply: int = raw(scene, forget_lane(scene.keys, "mail.low"))
    assert 0 == scene.redis.scard(scene.keys.engine.queues)
    return reply


def lane_kept(scene: Scene) -> int:
    scene.fill("mail.low", "a")
    reply: int = raw(scene, forget_lane(scene.keys, "mail.low"))
    assert 1 == scene.redis.scard(scene.keys.engine.queues)
    return reply


def list_returned(scene: Scene) -> int:
    source = f"{RQ_KEY_PREFIX}:shedder:backlog:gone:mail:rest"
    scene.redis.rpush(source, "a", "b", "c")
    scene.fill("mail", "d", "e", "f", "g")
    with mock.patch("shedder.health.uninstall.IDS_PER_STEP", 2):
        command = return_list(scene.keys, source, "mail", WHO, total=3)
        assert 1 == raw(scene, command)
        left: int = raw(scene, command)
    assert ["a", "b", "c", "d", "e", "f", "g"] == scene.listed("mail")
    assert ("restore", {"mail": {"backlog": 3}}) == (scene.shedder.events()[-1].verb, scene.shedder.events()[-1].before)
    return left
