"""`uninstall` saves every job from what is damaged, full, killed or still at work."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from shedder.api.shedder import Shedder
from shedder.errors import NothingMatched, RecordUnreadable
from shedder.health.uninstall import OwnedKeys
from tests.features.scene import Scene, numbered
from tests.hosts.leavers import everything, listed, own_keys

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory


def test_a_damaged_divert_stops_it_and_force_saves_its_backlog(scene: Scene) -> None:
    """What cannot be read is left as it is; by force its jobs go to the front, in order."""
    scene.fill("mail", *numbered("a", 5))
    scene.shedder.divert("mail.normal", reason="r")
    scene.redis.rpush("rq:queue:mail", "b")
    scene.redis.hset(scene.keys.diverts, "mail", "{broken")
    with pytest.raises(RecordUnreadable):
        scene.shedder.uninstall(reason="r")
    receipt = scene.shedder.uninstall(reason="r", force=True)
    assert [*numbered("a", 5), "b"] == scene.listed("mail")
    assert (5, []) == (receipt.found, own_keys(scene))


def test_a_backlog_whose_order_is_gone_goes_to_the_front_of_its_lane(scene: Scene) -> None:
    """In reading order of its parts, also where names hold colons."""
    scene.fill("a:b.low", "z")
    for part, job in (("rest", "c"), ("front", "b"), ("slot", "a")):
        scene.redis.rpush(f"rq:shedder:backlog:gone:a:b.low:{part}", job)
    receipt = scene.shedder.uninstall(reason="r")
    assert (["a", "b", "c", "z"], 3) == (scene.listed("a:b.low"), receipt.found)


def test_a_backlog_of_a_flag_goes_to_its_lane_too(scene: Scene) -> None:
    """Where the flag's name and the queue's hold colons, and RQ does not know the queue."""
    scene.fill("b", "y")
    scene.fill("a:b", "z")
    rest = scene.keys.backlog("flag-x:y/app.mail.send", "a:b")[1]
    scene.redis.rename(scene.keys.engine.lists + "a:b", rest)
    scene.redis.srem(scene.keys.engine.queues, scene.keys.engine.lists + "a:b")
    scene.shedder.uninstall(reason="r")
    assert (["y"], ["z"]) == (scene.listed("b"), scene.listed("a:b"))


def test_what_is_written_afterwards_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer of ours that lives on rings its bell; the receipt says so, and the next run."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    unlink = OwnedKeys.unlink

    def unlink_and_ring(own: OwnedKeys, names: Any) -> int:
        removed = unlink(own, names)
        scene.redis.rpush(scene.keys.bell("mail"), "1")
        return removed

    monkeypatch.setattr(OwnedKeys, "unlink", unlink_and_ring)
    assert ("rq:shedder:bell:mail",) == scene.shedder.uninstall(reason="r").left
    monkeypatch.undo()
    assert ((), []) == (scene.shedder.uninstall(reason="r").left, own_keys(scene))


def test_it_works_when_redis_is_full(server_factory: ServerFactory) -> None:
    """No step needs memory that the server has not got."""
    server = server_factory()
    with server.client() as client:
        scene = Scene(client)
        expected = everything(scene)
        client.config_set("maxmemory", 1)
        scene.shedder.uninstall(reason="r")
        assert expected == listed(scene, expected)
        assert [] == own_keys(scene)


def test_it_goes_on_after_a_kill_at_any_step(
    server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at its first, second, ... command, and run again: every job is there, in order."""
    monkeypatch.setattr("shedder.queues.restore.RESTORED_PER_STEP", 2)
    monkeypatch.setattr("shedder.queues.pause.IDS_PER_STEP", 2)
    number, is_killed = 0, True
    while is_killed:
        redis.flushall()
        scene = Scene(redis)
        expected = everything(scene)
        is_killed = _uninstall_and_die(server, number)
        with contextlib.suppress(NothingMatched):
            scene.shedder.uninstall(reason="again")
        assert expected == listed(scene, expected), f"after a kill at command {number}"
        assert [] == own_keys(scene)
        number += 3
    assert number > 45


def _uninstall_and_die(server: EmbeddedServer, number: int) -> bool:
    """Whether a process was killed at its command of this number, and had not done all."""
    pid = os.fork()
    if pid == 0:
        try:
            with server.client() as client:
                _kill_at(client, number)
                Shedder(client).uninstall(reason="first")
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _kill_at(client: Redis, number: int) -> None:
    done = 0
    pool = client.connection_pool
    get = pool.get_connection

    def counted(*args: Any, **more: Any) -> Any:
        nonlocal done
        done += 1
        if done > number:
            os.kill(os.getpid(), signal.SIGKILL)
        return get(*args, **more)

    pool.get_connection = counted  # type: ignore[method-assign]
