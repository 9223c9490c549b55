"""No job is lost when workers are told to stop at any instant."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rq import Queue as StockQueue
from rq import SimpleWorker as StockSimpleWorker
from rq import Worker as StockWorker

from shedder.rq import Queue, SimpleWorker, Worker, WorkerMixin
from tests import jobs
from tests.rq.patience.troubles import KEYS
from tests.waiting import wait_until
from tests.workers import WorkerProcess, Yard

if TYPE_CHECKING:
    from redis import Redis
    from rq.worker import BaseWorker

    from shedder.embedded import EmbeddedServer


class PoliteEnds:
    """Tells workers to stop at random instants while jobs are enqueued, and looks for lost ones."""

    def __init__(self, client: Redis, yard: Yard, path: str, kinds: list[type[BaseWorker]], queue_class: Any) -> None:
        self._client = client
        self._yard = yard
        self._path = path
        self._kinds = kinds
        self._queues = [queue_class(name, connection=client) for name in ("mail", "reports")]
        self._chance = random.Random(11)
        self._ids: dict[str, str] = {}

    def try_once(self) -> set[str]:
        """The jobs that have not started and are nowhere any more, after one more worker."""
        self._kinds.append(self._kinds.pop(0))
        worker = self._yard.start("mail", "reports", worker_class=self._kinds[0])
        wait_until(lambda: self._client.hget(worker.key, "state") is not None)
        instant = time.monotonic() + self._chance.uniform(0, 0.05)
        while time.monotonic() < instant:
            key = str(len(self._ids))
            queue = self._queues[len(self._ids) % 2]
            self._ids[queue.enqueue(jobs.mark, self._path, key).id] = key
        worker.send(signal.SIGTERM)
        self._wait_for_the_end(worker)
        worker.kill()  # it only waits for its subscription to end, for a second at times
        waiting = {self._ids[each] for queue in self._queues for each in queue.job_ids}
        return set(self._ids.values()) - set(jobs.started(self._path)) - waiting

    def _wait_for_the_end(self, worker: WorkerProcess) -> None:
        def has_ended() -> bool:
            return not worker.is_alive() or self._client.hexists(worker.key, "death")

        if not issubclass(self._kinds[0], WorkerMixin):
            # RQ's own at times do not hear: they are told again
            with suppress(AssertionError):
                wait_until(has_ended, timeout=2)
            worker.send(signal.SIGTERM)
        wait_until(has_ended, what=f"the end of {worker}")


def test_polite_ends_lose_nothing(server: EmbeddedServer, tmp_path: Path, marks: str) -> None:
    """Workers that are told to stop at random instants lose no job and run none twice."""
    with server.client() as client, Yard(server, tmp_path) as yard:
        ends = PoliteEnds(client, yard, marks, [Worker, SimpleWorker], Queue)
        for _ in range(24):
            assert set() == ends.try_once()
            assert 0 == client.zcard(KEYS.claims)
    starts = Counter(jobs.started(marks))
    assert [] == [key for key, times in starts.items() if times > 1]


def test_polite_ends_of_stock_workers_lose_jobs(server: EmbeddedServer, tmp_path: Path, marks: str) -> None:
    """The same, done to RQ's own workers, finds jobs that are lost: so it would find ours."""
    with server.client() as client, Yard(server, tmp_path) as yard:
        ends = PoliteEnds(client, yard, marks, [StockSimpleWorker, StockWorker], StockQueue)
        assert any(ends.try_once() for _ in range(150))
