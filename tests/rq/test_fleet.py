"""Every live worker is seen, with what it serves and whether it obeys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rq import Queue as StockQueue
from rq.defaults import RQ_KEY_PREFIX
from rq.worker import SimpleWorker as StockWorker

from shedder.engine.names import rq_keys
from shedder.engine.workers import WorkerSeen, queues_of, workers_of
from shedder.rq import Queue, SimpleWorker
from shedder.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

LANES = ("mail.critical", "mail.high", "mail", "mail.low")


class CountingStore(Store):
    """Counts its round trips."""

    trips = 0

    def read(self, ask: Callable[[Any], Any]) -> list[Any]:
        self.trips += 1
        return super().read(ask)


def born(worker: StockWorker) -> StockWorker:
    worker.register_birth()
    worker.set_state("idle")
    return worker


def test_workers_are_told_with_what_they_serve(redis: Redis) -> None:
    """A worker of ours serves all lanes of its queues and obeys, a stock one only what it names."""
    ours = born(SimpleWorker(["mail"], name="ours", connection=redis))
    stock = born(StockWorker(["mail", "x"], name="stock", connection=redis))
    assert (
        WorkerSeen("ours", LANES, is_stock=False, state="idle", host=ours.hostname),
        WorkerSeen("stock", ("mail", "x"), is_stock=True, state="idle", host=stock.hostname),
    ) == workers_of(Store(redis, rq_keys()), ["mail"])


def test_a_comma_in_a_name_hides_no_worker(redis: Redis) -> None:
    """RQ writes a worker's queues with commas between them; who registered for one serves it."""
    born(SimpleWorker(["fr,en"], name="ours", connection=redis))
    (worker,) = workers_of(Store(redis, rq_keys()), ["fr,en"])
    assert "fr,en" in worker.lanes


def test_only_those_who_serve_the_lanes_are_told(redis: Redis) -> None:
    """Workers of other queues are left out, and nobody is told twice."""
    born(SimpleWorker(["mail"], name="ours", connection=redis))
    born(StockWorker(["mail"], name="stock", connection=redis))
    store = Store(redis, rq_keys())
    assert ["ours"] == [worker.name for worker in workers_of(store, ["mail.low"])]
    assert ["ours", "stock"] == [worker.name for worker in workers_of(store, LANES)]
    assert () == workers_of(store, ["reports"])


def test_dead_and_expired_workers_are_left_out(redis: Redis) -> None:
    """Who said that it ends, and whose record has run out, serves nothing."""
    for name in ("ended", "expired", "alive"):
        born(StockWorker(["mail"], name=name, connection=redis))
    redis.hset(f"{RQ_KEY_PREFIX}:worker:ended", "death", "2026-11-23T09:00:00.000000Z")
    redis.delete(f"{RQ_KEY_PREFIX}:worker:expired")
    assert ["alive"] == [worker.name for worker in workers_of(Store(redis, rq_keys()), ["mail"])]


def test_a_worker_that_thaws_after_its_record_expired_counts_as_stock(redis: Redis) -> None:
    """A record without queues proves nothing about its worker, so nothing is promised for it."""
    worker = born(SimpleWorker(["mail"], name="thawed", connection=redis))
    redis.delete(worker.key)
    redis.hset(worker.key, "state", "busy")
    (seen,) = workers_of(Store(redis, rq_keys()), ["mail", "mail.low"])
    assert WorkerSeen("thawed", ("mail", "mail.low"), is_stock=True, state="busy") == seen


def test_a_fleet_costs_two_round_trips(redis: Redis) -> None:
    """However many workers and lanes there are, Redis is asked twice."""
    for number in range(20):
        born(SimpleWorker(["mail", "reports"], name=f"w{number}", connection=redis))
    store = CountingStore(redis, rq_keys())
    assert 20 == len(workers_of(store, [*LANES, "reports"]))
    assert 2 == store.trips


def test_no_lanes_have_no_workers(redis: Redis) -> None:
    """Nothing is asked for nothing."""
    store = CountingStore(redis, rq_keys())
    assert ((), 0) == (workers_of(store, []), store.trips)


def test_all_queues_are_known_whoever_produced(redis: Redis) -> None:
    """Lanes of ours and queues of stock producers are listed by name."""
    Queue("mail", connection=redis).low.enqueue("app.send")
    StockQueue("reports", connection=redis).enqueue("app.report")
    assert ("mail.low", "reports") == queues_of(Store(redis, rq_keys()))
