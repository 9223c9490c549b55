"""A status is told at a cost that does not grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rq.defaults import RQ_KEY_PREFIX

from shedder.engine.names import rq_keys
from shedder.status.status import read_status
from shedder.store.store import Store
from tests.rq.given import divert, enqueue, pause
from tests.rq.status.told import lane, serve, status

if TYPE_CHECKING:
    from redis import Redis


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
    assert 20 == len(read_status(CountingStore(redis, rq_keys())).lanes)
    assert ["read", "read", "run", "read"] == asked
