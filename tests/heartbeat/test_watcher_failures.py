"""An update is posted once, whatever happens to the watcher, to Redis and to the channels."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shedder import Shedder
from shedder.errors import InvalidInput, RecordUnreadable, RedisUnreachable
from shedder.policy.model import Policy
from shedder.updates.channels import REPEATED
from shedder.updates.watcher import LEASE_SECONDS
from tests.heartbeat.desk import MINUTE, POSTING, Desk

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from tests.conftest import ServerFactory
    from tests.features.scene import Scene
    from tests.heartbeat.sink import Sink


def test_one_watcher_leads_and_another_takes_over(desk: Desk, redis: Redis) -> None:
    """While one leads the other does nothing; when it gives up or dies the other goes on."""
    other = desk.new_watcher("second")
    assert [True, False] == [desk.watcher.look().is_leading, other.look().is_leading]
    desk.watcher.give_up()
    assert other.look().is_leading
    assert 0 < redis.pttl(desk.shed.keys.watch_lease) <= LEASE_SECONDS * 1000
    redis.delete(desk.shed.keys.watch_lease)  # the second has died
    assert desk.watcher.look().is_leading


def test_two_that_both_believe_to_lead_post_once(desk: Desk, redis: Redis) -> None:
    """The record decides, not the lease: an update that was posted is not posted again."""
    other = desk.new_watcher("second")
    desk.look_at(20)
    redis.delete(desk.shed.keys.watch_lease)
    desk.look_at(20, other)
    assert 1 == len(desk.updates())
    assert desk.sink is not None
    assert len(desk.sink.texts("main")) == len(set(desk.sink.texts("main")))


class Died(BaseException):
    """SIGKILL, as far as what comes after is concerned."""


@pytest.mark.parametrize("step", range(1, 40))
def test_killed_at_each_step_no_update_is_lost_or_doubled(desk: Desk, redis: Redis, scene: Scene, step: int) -> None:
    """After any command of a round the watcher may end for good, and the next does the rest."""
    scene.fill("mail", "a")
    count = 0
    own = desk.new_watcher("dies", Shedder(redis, by="oncall@ops"))
    run = own._shed.store.run

    def dying_run(command: Any) -> Any:
        nonlocal count
        count += 1
        result = run(command)
        if count == step:
            raise Died
        return result

    own._shed.store.run = dying_run  # type: ignore[method-assign]
    with suppress(Died):
        desk.look_at(20, own)
    redis.delete(desk.shed.keys.watch_lease)
    _make_takings_old(desk, redis)
    for minutes in (20.2, 20.4):
        desk.look_at(minutes)
    (text,) = desk.updates()
    assert desk.sink is not None
    arrived = desk.sink.texts("main")
    marked = [each for each in arrived if each.startswith(REPEATED)]
    plain = [each for each in arrived if each not in marked]
    assert text in arrived or REPEATED + text in arrived
    assert len(plain) == len(set(plain)), "what may be there twice says so"
    assert len(marked) <= 1


def _make_takings_old(desk: Desk, redis: Redis) -> None:
    """As if what the dead watcher has in hand were in hand for long."""
    key = desk.shed.keys.deliveries(desk.incident.id)
    for name, note in redis.hgetall(key).items():
        words = note.decode().split(" ")
        if len(words) == 3:
            redis.hset(key, name, f"{words[0]} 1 {words[2]}")


def test_a_watcher_that_is_killed_for_real_is_followed_by_another(desk: Desk, redis: Redis) -> None:
    """SIGKILL of the process leaves a lease that ends by itself, and nothing else."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            from shedder.embedded import EmbeddedServer  # noqa: F401

            client = type(redis)(
                connection_pool=type(redis.connection_pool)(
                    connection_class=redis.connection_pool.connection_class, **redis.connection_pool.connection_kwargs
                )
            )
            watcher = desk.new_watcher("child", Shedder(client, by="oncall@ops"))
            desk.look_at(20, watcher)
            os.write(told, b"x")
            signal.pause()
        os._exit(0)
    assert b"x" == os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(told)
    assert not desk.look_at(20.1).is_leading
    redis.delete(desk.shed.keys.watch_lease)
    assert desk.look_at(21).is_leading
    assert 1 == len(desk.updates())


def test_redis_may_restart_meanwhile(server_factory: ServerFactory, sink: Sink) -> None:
    """While Redis is away the loop waits and says so; afterwards it goes on where it was."""
    server = server_factory(appendonly=True)
    with server.client() as client:
        desk = Desk(Shedder(client, by="oncall@ops"), POSTING, sink)
        desk.look_at(20)
        server.kill()
        with pytest.raises(RedisUnreachable):
            desk.look_at(21)
        rounds = 0

        def sleep(seconds: float) -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 2:
                server.start()
                client.delete(desk.shed.keys.watch_lease)
            desk.time.now = desk.incident.opened_at + (34 + rounds) * MINUTE

        desk.watcher.watch(sleep=sleep, until=lambda: rounds >= 4)
        assert 2 == len(desk.updates())


@pytest.mark.parametrize("mood", ["error", "hang"])
def test_a_dead_channel_makes_no_update_late(
    desk: Desk, sink: Sink, mood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record and the other channel go on; the dead one is tried again and gets all."""
    monkeypatch.setattr("shedder.updates.channels.SEND_SECONDS", 0.2)
    sink.mood["main"] = mood
    desk.look_at(16)
    assert 2 == len(sink.texts("notes"))
    assert 1 == sink.asked.count("main")
    assert 1 == len(desk.look_at(20).posted)
    sink.mood.clear()
    monkeypatch.setattr("shedder.updates.channels.PAUSE_MS", 0)
    desk.look_at(21)
    assert desk.updates()[0] in sink.texts("main")


@pytest.mark.parametrize(
    "error", [InvalidInput(name="policy", value="x", accepted="TOML"),
              RecordUnreadable("of the policy", reason="damaged")],
)  # fmt: skip
def test_a_policy_that_becomes_unreadable_stops_no_update(shed: Shedder, error: Exception) -> None:
    """The last one that could be used holds, and each round says so; without one it is refused."""

    def broken() -> Policy:
        raise error

    desk = Desk(shed, POSTING, None)
    desk.look_at(1)
    desk.watcher._policy = broken
    report = desk.look_at(20)
    assert (1, True) == (len(report.posted), "the policy before it holds" in report.troubles[0])
    other = desk.new_watcher("other")
    other._policy = broken
    desk.watcher.give_up()
    with pytest.raises(type(error)):
        other.look()


def test_a_page_that_cannot_be_written_stops_nothing(shed: Shedder, tmp_path: Path) -> None:
    """It is told, and the update is posted all the same."""
    (tmp_path / "file").write_text("")
    page = str(tmp_path / "file" / "page")
    policy = replace(POSTING, incident=replace(POSTING.incident, status_page=page))
    report = Desk(shed, policy, None).look_at(20)
    assert (1, True) == (len(report.posted), "cannot be written" in report.troubles[0])
