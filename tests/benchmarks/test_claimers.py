"""The claimers, with which the pace of a drain is measured, do what a worker does."""

from __future__ import annotations

from benchmarks.claimers import Claimers
from benchmarks.ground import Ground
from benchmarks.load import QUEUE
from benchmarks.work import nothing
from shedder.engine.names import rq_keys
from shedder.rq import Queue
from shedder.store.store import load_script
from tests.waiting import wait_until

KEYS = rq_keys()


def test_claimers_claim_and_start_whatever_comes() -> None:
    """All jobs leave the lane and pass the gate, those too that come while nothing is there."""
    with Ground() as ground:
        ground.near.script_load(load_script("start_job").text)
        queue = Queue(QUEUE, connection=ground.client())
        with Claimers(ground, QUEUE, number=2) as claimers:
            for jobs in (20, 40):
                wait_until(lambda: 2 == ground.near.info("clients")["blocked_clients"])
                for _ in range(20):
                    queue.enqueue(nothing)
                wait_until(lambda jobs=jobs: jobs == len(claimers.moments()))
                wait_until(lambda: 0 == ground.near.zcard(KEYS.claims))
