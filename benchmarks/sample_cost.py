"""What the samples of lanes cost in Redis; `python -m benchmarks.sample_cost`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import rq

from benchmarks.work import charge_card
from shedder.embedded import EmbeddedServer
from shedder.engine.names import rq_keys
from shedder.queues.samples import SAMPLES_KEPT, sample_lanes
from shedder.store.store import Store

if TYPE_CHECKING:
    import redis

KEYS = rq_keys()
LANES = [f"q{number}{priority}" for number in range(5) for priority in ("", ".high")]
ROUNDS = 200


def main() -> None:
    """Print the memory of full lists, and what one round of ten busy lanes makes the server do."""
    with EmbeddedServer() as server, server.client() as client:
        for lane in LANES:
            rq.Queue(lane, connection=client).enqueue(charge_card, 1)
        _print_memory(client)
        _print_commands(client)


def _print_memory(client: redis.Redis) -> None:
    _round(client)
    total = 0
    for key, kept in zip(KEYS.samples(LANES[0]), SAMPLES_KEPT, strict=True):
        sample: Any = client.lindex(key, 0)
        # numbers that differ, as those of a busy lane do
        client.rpush(key, *[sample[:-8] + number.to_bytes(8, "big") for number in range(kept - 1)])
        used: Any = client.memory_usage(key, samples=0)
        total += used
        print(f"{key}: {kept} samples, {used / 1000:.0f} kB")
    print(f"a lane that was busy for 14 days: {total / 1000:.0f} kB")


def _print_commands(client: redis.Redis) -> None:
    _round(client)
    before, cpu_before = _inner(client), _cpu(client)
    for _ in range(ROUNDS):
        _round(client)
    calls = (_inner(client) - before) / ROUNDS
    took = 1e6 * (_cpu(client) - cpu_before) / ROUNDS
    lanes = len(LANES)
    print(
        f"a round over {lanes} busy lanes: 1 command of the client, {calls:.0f} inside its script, "
        f"{took:.0f} us of the server; a round a second is 60 and {60 * calls:.0f} a minute"
    )


def _round(client: redis.Redis) -> None:
    client.delete(KEYS.sampled)
    Store(client, rq_keys()).run(sample_lanes(KEYS, LANES))
    time.sleep(0.001)


def _inner(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name not in _OURS)


_OURS = frozenset({"cmdstat_evalsha", "cmdstat_eval", "cmdstat_info", "cmdstat_del"})


def _cpu(client: redis.Redis) -> float:
    stats: Any = client.info("commandstats")
    return float(stats["cmdstat_evalsha"]["usec"] if "cmdstat_evalsha" in stats else 0) / 1e6


if __name__ == "__main__":
    main()
