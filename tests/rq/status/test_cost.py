"""A status is told at a cost that does not grow."""

from __future__ import annotations

import base64
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.engine.names import FAILED, RESULTS, registry_key, rq_keys
from shedder.status.status import read_status
from shedder.store.store import Store
from tests.rq.given import divert, enqueue, pause
from tests.rq.status.told import lane, serve, status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from tests.conftest import ServerFactory


@pytest.fixture
def redis(server_factory: ServerFactory) -> Iterator[Redis]:
    """A client of a server of its own, of which nothing else asks anything while commands are counted."""
    with server_factory().client() as client:
        yield client


def fill(redis: Redis, count: int) -> None:
    redis.flushall()
    for name in ("mail", "mail.low", "reports"):
        serve(redis, name, name=f"w-{name}", is_stock=name == "reports")
        enqueue(redis, name)
        first = redis.lindex(f"{RQ_KEY_PREFIX}:queue:{name}", 0)
        redis.rpush(f"{RQ_KEY_PREFIX}:queue:{name}", *[first] * (count - 1))
    divert(redis, "mail")
    enqueue(redis, "mail.low")
    pause(redis, "reports")


def fail(redis: Redis, lane: str, count: int) -> None:
    """So many jobs of stock workers have failed, as RQ keeps them."""
    expiry = time.time() + 31_536_000
    names = [f"failed-{number}" for number in range(count)]
    for first in range(0, count, 5000):
        redis.zadd(registry_key(FAILED, lane), dict.fromkeys(names[first : first + 5000], expiry))
    report = base64.b64encode(zlib.compress(b"Traceback\nsqlalchemy.exc.OperationalError: down\n"))
    for name in sorted(names)[-20:]:
        redis.xadd(RESULTS + name, {"type": 2, "exc_string": report})


def commands_of_status(redis: Redis) -> dict[str, int]:
    status(redis)  # so that the server knows the script
    redis.config_resetstat()
    status(redis)
    stats = redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    return {name: number for name, number in calls.items() if name != "config|resetstat"}


def test_the_cost_does_not_depend_on_how_many_jobs_wait(redis: Redis) -> None:
    """Ten jobs and ten thousand are told with the very same commands."""
    fill(redis, 10)
    few = commands_of_status(redis)
    fill(redis, 10_000)
    assert few == commands_of_status(redis)
    assert (10_000, 10_000) == (lane(redis, "reports").waiting, lane(redis, "mail").backlog)


def test_the_cost_does_not_depend_on_how_many_jobs_failed(redis: Redis) -> None:
    """A flood of 200,000 jobs, and 50,000 that stock workers failed, cost the commands of a few."""
    fill(redis, 30)
    fail(redis, "reports", 30)
    few = commands_of_status(redis)
    fill(redis, 200_000)
    fail(redis, "reports", 50_000)
    assert few == commands_of_status(redis)
    found = lane(redis, "reports")
    assert (200_000, 50_000, "sqlalchemy.exc.OperationalError") == (
        found.waiting, found.outcomes.failed_kept, found.outcomes.exception
    )  # fmt: skip
    assert "of reports fail: 50,000 of 50,000 jobs in 5m, most often OperationalError, as RQ's " in found.warnings[0]


def test_status_takes_four_round_trips(redis: Redis) -> None:
    """Many queues cost no more round trips than one."""
    asked = []

    class CountingStore(Store):
        def read(self, ask: Any) -> list[Any]:
            asked.append("read")
            return super().read(ask)

        def run(self, command: Any) -> Any:
            asked.append("run")
            return super().run(command)

    for number in range(20):
        enqueue(redis, f"queue{number}")
    fail(redis, "queue7", 30)
    assert 20 == len(read_status(CountingStore(redis, rq_keys())).lanes)
    assert ["read", "read", "run", "read"] == asked
