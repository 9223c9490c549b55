"""What it costs that a script is run once in a while, and not in a loop.

`python -m benchmarks.cold_scripts` prints the server's time of the scripts that a job meets, and
that of RQ's own first command, in a loop ("hot") and with a rest of 30 ms before each ("cold"). A
server that did something else meanwhile, or slept, has none of them in the caches of its core.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.ground import Ground
from benchmarks.samples import median
from benchmarks.work import nothing
from shedder.engine.names import rq_keys
from shedder.lanes import serving_order
from shedder.queues.claims import Claimed, HeldClaim, claim_job, start_job
from shedder.rq import Queue
from shedder.store.store import Store

if TYPE_CHECKING:
    import redis

ROUNDS = 200
REST_SECONDS = 0.03
KEYS = rq_keys()


def main() -> None:
    """Print one line for each number of queues and each rest."""
    logging.disable(logging.WARNING)
    for queues in (["first"], ["first", "second", "third"]):
        for name, rest in (("hot", 0.0), ("cold", REST_SECONDS)):
            with Ground() as ground:
                costs = _costs(ground.client(), queues, rest)
            told = ", ".join(f"{deed} {median(each):.0f} µs" for deed, each in costs.items())
            print(f"{len(queues)} queue{'s' * (len(queues) > 1)}, {name}: {told}", flush=True)


def _costs(client: redis.Redis, queues: Sequence[str], rest: float) -> dict[str, list[float]]:
    """Microseconds of the server for each deed, one for each round."""
    costs: dict[str, list[float]] = defaultdict(list)
    lanes = serving_order(queues)
    store, queue = Store(client, rq_keys()), Queue(queues[-1], connection=client)

    def spend(name: str, deed: Callable[[], Any], *, command: str = "evalsha") -> Any:
        before = _server_us(client, command)
        time.sleep(rest)
        found = deed()
        costs[name].append(_server_us(client, command) - before)
        return found

    for number in range(ROUNDS):
        job = spend("enqueue", lambda number=number: queue.enqueue(nothing, number))
        claimed = spend("claim", lambda: store.execute(claim_job(KEYS, lanes, worker="w")))
        assert isinstance(claimed, Claimed)
        held = HeldClaim(claimed.token, claimed.job_id, claimed.lane)
        gate = start_job(KEYS, held, timestamp="now", function="nothing", meta={})
        spend("start", lambda gate=gate: store.execute(gate))
        spend("RQ's HGETALL", lambda job=job: client.hgetall(job.key), command="hgetall")
    return costs


def _server_us(client: redis.Redis, command: str) -> float:
    found: Any = client.info("commandstats")
    return float(found.get(f"cmdstat_{command}", {"usec": 0})["usec"])


if __name__ == "__main__":
    main()
