"""What a scrape of the metrics costs the server, and how large it is; `python -m benchmarks.scrape_cost`."""

from __future__ import annotations

import gzip
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.gauges import sent_by_us
from benchmarks.samples import median
from shedder import Selection, Shedder
from shedder.embedded import EmbeddedServer
from shedder.engine.jobs import function_field
from shedder.lanes import PRIORITIES, Lane
from shedder.metrics import Collector, exporter
from shedder.metrics.exporter import rendered
from shedder.policy.model import Policy, Rule

if TYPE_CHECKING:
    import redis

JOBS = 1_000_000
HASHES = 5_000
"""Jobs of several lanes share a hash, so that a million of them fit into any memory."""

QUEUES = (2, 50)
"""10 lanes would be two and a half queues; 8 and 200 lanes are whole ones."""

ROUNDS = 15


def main() -> None:
    """Print server time, commands, wall time and size, with and without tolerances in the policy."""
    exporter.GOOD_FOR_SECONDS = 0.0
    exporter.PATIENCE_SECONDS = 60.0
    with EmbeddedServer() as server, server.client() as client:
        for queues in QUEUES:
            names = [f"queue-{number:02}" for number in range(queues)]
            _fill(client, names)
            _print(client, names, "no policy")
            Shedder(client, by="bench").policies.apply(_policy(names), reason="bench")
            _print(client, names, "a label and a tolerance for each queue")


def _print(client: redis.Redis, queues: list[str], policy: str) -> None:
    collector = Collector(client)
    body = rendered(collector)[1]
    rounds = [_measured(client, collector) for _ in range(ROUNDS)]
    used, scripts, walls = zip(*rounds, strict=True)
    with sent_by_us() as sent:
        rendered(collector)
    lanes = len(queues) * len(PRIORITIES)
    print(
        f"{lanes:>3} lanes, {JOBS:,} jobs, {policy}: server {median(used):.1f} ms (p100 {max(used):.1f}; in commands "
        f"{median(scripts):.1f}), {sent.total:,} commands in {sent.round_trips} round trips, scrape "
        f"{1e3 * median(walls):.0f} ms, {len(body) / 1000:.0f} kB, {len(gzip.compress(body, 5)) / 1000:.0f} kB "
        "compressed"
    )


def _measured(client: redis.Redis, collector: Collector) -> tuple[float, float, float]:
    """Milliseconds of the server's processor, of its commands, and seconds of the scrape."""
    client.config_resetstat()
    before: Any = client.info("cpu")
    began = time.perf_counter()
    rendered(collector)
    took = time.perf_counter() - began
    after: Any = client.info("cpu")
    stats: Any = client.info("commandstats")
    used = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
    return 1e3 * used, sum(each["usec"] for each in stats.values()) / 1e3, took


def _policy(queues: list[str]) -> Policy:
    return Policy(rules=tuple(
        Rule(queue=name, selection=Selection(functions=("app.*",)), label=f"work of {name}",
             tolerance=timedelta(minutes=5))
        for name in queues
    ))  # fmt: skip


def _fill(client: redis.Redis, queues: list[str]) -> None:
    client.flushall()
    shed = Shedder(client, by="bench")
    now, ids = datetime.now(UTC), [f"job-{number}" for number in range(HASHES)]
    for first in range(0, HASHES, 1_000):
        with client.pipeline(transaction=False) as ask:
            for number in range(first, first + 1_000):
                at = (now - timedelta(minutes=10) * (HASHES - number) / HASHES).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                ask.hset(shed.keys.engine.jobs + ids[number], mapping={
                    "enqueued_at": at, "created_at": at, "status": "queued", "shedder": function_field("app.send", at),
                })  # fmt: skip
            ask.execute()
    lanes = [Lane(queue, priority).name for queue in queues for priority in PRIORITIES]
    for lane in lanes:
        key = shed.keys.engine.lists + lane
        client.sadd(shed.keys.engine.queues, key)
        for first in range(0, JOBS // len(lanes), HASHES):
            client.rpush(key, *ids[: min(HASHES, JOBS // len(lanes) - first)])
        client.hset(shed.keys.meters, mapping={f"{lane}:started": 5, f"{lane}:ended": 5, f"{lane}:arrived": 9})


if __name__ == "__main__":
    main()
