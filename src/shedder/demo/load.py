"""How do 200,000 jobs get into the queue within half a minute?

By RQ's own `enqueue_many`, from two producer processes, as an application with a campaign would do.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shedder.demo.interrupts import held_back
from shedder.demo.mix import QUEUE, Planned, lane_list, lane_names, planned
from shedder.demo.trouble import DemoFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.process import BaseProcess

    import redis

    from shedder.embedded import EmbeddedServer

PRODUCERS = 2
_BATCH = 1000
_GLANCE_SECONDS = 0.2


def load_jobs(server: EmbeddedServer, jobs: int, *, on_progress: Callable[[int], None]) -> float:
    """Enqueue the first `jobs` of the mix; the seconds it took.

    Args:
        server: where to.
        jobs: how many.
        on_progress: is told, several times a second, how many are in.

    Raises:
        DemoFailed: a producer ended early.
    """
    began = time.monotonic()
    # Forked, so that they need not import everything again. The listener's thread only waits yet.
    fork = multiprocessing.get_context("fork")
    producers = [
        fork.Process(target=_produce, args=(server, first, jobs), daemon=True)
        for first in range(PRODUCERS)
    ]
    try:
        with held_back():
            for producer in producers:
                producer.start()
        _watch(producers, server.client(), on_progress)
    finally:
        _end(producers)
    on_progress(jobs)
    return time.monotonic() - began


def _watch(
    producers: Sequence[BaseProcess], client: redis.Redis, on_progress: Callable[[int], None]
) -> None:
    with client:
        for producer in producers:
            while producer.is_alive():
                producer.join(_GLANCE_SECONDS)
                on_progress(_waiting(client))
    if any(producer.exitcode for producer in producers):
        raise DemoFailed("a producer process ended before all jobs were enqueued")


def _waiting(client: redis.Redis) -> int:
    lengths: list[Any] = [client.llen(lane_list(lane)) for lane in lane_names()]
    return sum(lengths)


def _produce(server: EmbeddedServer, first: int, jobs: int) -> None:
    """One producer: every second batch, in the order of their numbers."""
    from shedder.rq import Queue

    queue = Queue(QUEUE, connection=server.client())
    for start in range(first * _BATCH, jobs, PRODUCERS * _BATCH):
        _enqueue(queue, [planned(number) for number in range(start, min(start + _BATCH, jobs))])


def _enqueue(queue: Any, batch: list[Planned]) -> None:
    lanes: dict[str, list[Planned]] = defaultdict(list)
    for job in batch:
        lanes[job.kind.priority].append(job)
    for priority, jobs in lanes.items():
        queue.lane(priority).enqueue_many(
            queue.prepare_data(
                job.kind.path, (job.number,), job_id=job.id, meta={"tenant": job.tenant}
            )
            for job in jobs
        )


def _end(producers: Sequence[BaseProcess]) -> None:
    for producer in producers:
        if producer.pid is not None:
            producer.kill()
            producer.join()
