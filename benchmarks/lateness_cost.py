"""What it costs the server to tell who is late in a long lane; `python -m benchmarks.lateness_cost`."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.samples import median
from shedder import Shedder
from shedder.embedded import EmbeddedServer
from shedder.engine.jobs import function_field
from shedder.policy.model import Policy, Rule
from shedder.selection import Selection
from shedder.status.looks import find_borders, look_at_jobs, rings_of

if TYPE_CHECKING:
    import redis

SIZES = (1_000, 2_000, 6_000, 100_000, 1_000_000)
HASHES = 10_000
"""Neighbors in the list share a job's hash, so that a million jobs fit into any memory."""

ROUNDS = 21
MINUTES = (1, 5, 30, 240)
KINDS = ("payments", "receipts", "reports", "newsletters")
AT = datetime.now(UTC)


def main() -> None:
    """Print, for each length, the server time of each step and of all, with one and with four tolerances."""
    with EmbeddedServer() as server, server.client() as client:
        for jobs in SIZES:
            _fill(client, jobs)
            for kinds in (1, len(KINDS)):
                _print(client, jobs, kinds)


def _print(client: redis.Redis, jobs: int, kinds: int) -> None:
    shedder = Shedder(client, by="bench")
    rounds = [_steps(client, shedder, kinds) for _ in range(ROUNDS)]
    totals, worst = [sum(each) for each in rounds], [max(each) for each in rounds]
    shedder.policies.apply(_policy(kinds), reason="bench")
    began = time.perf_counter()
    shedder.status("mail")
    took = time.perf_counter() - began
    print(
        f"{jobs:>9,} jobs, {kinds} tolerance{'s' if kinds > 1 else ' '}: {len(rounds[0])} steps, "
        f"worst {median(worst) / 1e3:.2f} ms (p100 {max(worst) / 1e3:.2f}), in all {median(totals) / 1e3:.2f} ms "
        f"(p100 {max(totals) / 1e3:.2f}); status as a whole {1e3 * took:.0f} ms here"
    )


def _steps(client: redis.Redis, shedder: Shedder, kinds: int) -> list[float]:
    """Server time of each step in microseconds."""
    lists = shedder.keys.lane("mail")[:3]
    tolerances = [timedelta(minutes=minutes) for minutes in MINUTES[-kinds:]]
    borders, took = _timed(client, shedder, find_borders(shedder.keys, lists, tolerances, AT))
    steps = [ranges for ring in rings_of([borders], with_meta=True)[0] for ranges in ring.steps]
    looks = [
        look_at_jobs(shedder.keys, lists, ranges, with_meta=True, tolerances=tolerances, at=AT) for ranges in steps
    ]
    return [took, *(_timed(client, shedder, look)[1] for look in looks)]


def _timed(client: redis.Redis, shedder: Shedder, command: Any) -> tuple[Any, float]:
    client.config_resetstat()
    reply = shedder.store.run(command)
    stats: Any = client.info("commandstats")
    return reply, float(sum(stats[name]["usec"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats))


def _policy(kinds: int) -> Policy:
    return Policy(rules=tuple(
        Rule(queue="mail", selection=Selection(functions=(f"app.{kind}.*",)), label=kind,
             tolerance=timedelta(minutes=minutes))
        for kind, minutes in zip(KINDS[-kinds:], MINUTES[-kinds:], strict=True)
    ))  # fmt: skip


def _fill(client: redis.Redis, jobs: int) -> None:
    """`jobs` ids in order of age, the oldest ten hours old; half of the hashes are of a stock producer."""
    client.flushall()
    keys = Shedder(client, by="bench").keys
    hashes = min(jobs, HASHES)
    for first in range(0, hashes, 1_000):
        with client.pipeline(transaction=False) as ask:
            for number in range(first, min(first + 1_000, hashes)):
                at = (AT - timedelta(hours=10) * (hashes - number) / hashes).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                function, job = f"app.{KINDS[number % 4]}.send", str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))
                plain = {"created_at": at, "enqueued_at": at, "data": "x" * 300, "meta": "{}"}
                ask.hset(keys.engine.jobs + job, mapping={**plain, "shedder": function_field(function, at)}
                         if number % 2 else plain)  # fmt: skip
                ask.rpush(keys.engine.lists + "mail", *[job] * (jobs // hashes))
            ask.execute()
    client.sadd(keys.engine.queues, keys.engine.lists + "mail")


if __name__ == "__main__":
    main()
