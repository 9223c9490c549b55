"""The status warns of what is wrong, and says what to do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shedder.engine.names import rq_keys
from shedder.queues.pause import park_lane
from shedder.selection import Selection
from shedder.store.store import Store
from tests.rq.given import KEYS, divert, enqueue, pause
from tests.rq.status.told import lane, serve, status

if TYPE_CHECKING:
    from redis import Redis

    from tests.conftest import ServerFactory


def age(redis: Redis, record: str, key: str, hours: int) -> None:
    """Make a control so many hours older."""
    stored = json.loads(redis.hget(key, record) or "")
    for each in stored if isinstance(stored, list) else [stored]:
        each["since"] -= hours * 3_600_000
    redis.hset(key, record, json.dumps(stored))


def warned(redis: Redis, name: str = "mail") -> list[str]:
    return list(lane(redis, name).warnings)


def test_jobs_without_a_worker_are_warned_of(redis: Redis) -> None:
    """Somebody must start a worker, or nothing happens."""
    enqueue(redis, "mail.low")
    expected = "mail.low has 1 job and no worker: start one that serves mail, or a stock one for it."
    assert [expected] == warned(redis, "mail.low")
    serve(redis, "mail")
    assert [] == warned(redis, "mail.low")


@pytest.mark.parametrize("control", [pause, divert])
def test_stock_workers_on_a_held_lane_are_warned_of(redis: Redis, control: Any) -> None:
    """A pause that a stock worker does not obey is never told without saying so."""
    serve(redis, "mail", is_stock=True)
    assert [] == warned(redis)
    control(redis, "mail")
    (warning,) = warned(redis)
    assert warning.startswith("1 stock worker serves mail and obeys neither pause nor divert: ")


@pytest.mark.parametrize("kind", ["pauses", "diverts"])
@pytest.mark.parametrize("record", ["nonsense", '{"v": 2}', '[{"v": 2}]', b"\xff"])
def test_a_record_that_cannot_be_read_is_a_warning(redis: Redis, kind: str, record: str | bytes) -> None:
    """Status never fails over one damaged record; it says what to do about it."""
    enqueue(redis, "reports")
    redis.hset(getattr(KEYS, kind), "mail", record)
    found = {each.lane: each.warnings for each in status(redis).lanes}
    (warning,) = found["mail"]
    assert warning.startswith(f"the record of the {kind.rstrip('s')}")
    assert "reports" in found


def test_unfinished_steps_are_warned_of(redis: Redis) -> None:
    """A scan or a restore that nobody finished is told."""
    serve(redis, "mail")
    enqueue(redis, "mail")
    divert(redis, "mail", selection=Selection.parse(functions="app.x"))
    (scan,) = warned(redis)
    assert "The divert of mail by oncall has not looked at all waiting jobs: " in scan
    stored = json.loads(redis.hget(KEYS.diverts, "mail") or "")
    stored[0] |= {"scanning": None, "restoring": True}
    redis.hset(KEYS.diverts, "mail", json.dumps(stored))
    (restore,) = warned(redis)
    assert restore.startswith("The backlog of mail is only partly back in its lane: ")


def test_parked_jobs_without_a_pause_are_warned_of(redis: Redis) -> None:
    """Jobs that stock workers cannot reach for no reason are told."""
    serve(redis, "mail")
    enqueue(redis, "mail", 2)
    pause(redis, "mail")
    Store(redis, rq_keys()).run(park_lane(KEYS, "mail"))
    assert [] == warned(redis)
    redis.hdel(KEYS.pauses, "mail")
    (warning,) = warned(redis)
    assert warning.startswith("2 jobs of mail are out of the reach of stock workers though ")
    assert warning.endswith("run `shedder resume mail.normal`.")


def test_old_controls_are_warned_of(redis: Redis) -> None:
    """A pause or divert that stands for more than a day may have been forgotten."""
    pause(redis, "mail")
    divert(redis, "mail")
    age(redis, "mail", KEYS.pauses, 23)
    age(redis, "mail", KEYS.diverts, 23)
    assert [] == warned(redis)
    age(redis, "mail", KEYS.pauses, 3)
    age(redis, "mail", KEYS.diverts, 28)
    resume = "`shedder resume mail.normal`"
    drain = "`shedder drain mail.normal --rate 200/second`"
    assert [
        f"mail has been paused for 1d 2h by oncall: run {resume} if that is over.",
        f"mail has been diverted for 2d 3h by oncall: run {drain} if that is over.",
    ] == warned(redis)


def test_a_suspended_server_is_warned_of(redis: Redis) -> None:
    """RQ's own suspend stops everything, so it stands at the top."""
    redis.set(KEYS.engine.suspended, 1)
    found = status(redis)
    assert found.is_suspended
    expected = "RQ's own suspend is on, so no worker takes a job: end it with `rq resume`."
    assert (expected,) == found.warnings


def test_memory_and_eviction_are_warned_of(server_factory: ServerFactory) -> None:
    """A server that is nearly full, or that may throw jobs away, is told."""
    server = server_factory(config={"maxmemory": "20mb", "maxmemory-policy": "noeviction"})
    with server.client() as client:
        found = status(client)
        assert found.memory_used is not None
        assert (True, ()) == (0 < found.memory_used < 0.9, found.warnings)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 100_000)
        client.config_set("maxmemory-policy", "allkeys-lru")
        full, eviction = status(client).warnings
    assert full.startswith("The server's memory is ")
    assert eviction.startswith("The server's maxmemory-policy is allkeys-lru: when it is full it throws ")
