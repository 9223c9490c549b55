"""What holds while old and new producers and workers share the queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import rq

from shedder import Selection, Shedder
from shedder.rq import Queue, SimpleWorker
from tests.cli.programs import end, environment, started
from tests.jobs import ended, hold, mark
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer

STOCK, OURS = rq.SimpleWorker, SimpleWorker


@pytest.fixture
def yard(server: EmbeddedServer, tmp_path: Path) -> Iterator[Yard]:
    """Starts workers, and ends them with the test."""
    with Yard(server, tmp_path) as workers:
        yield workers


@pytest.fixture
def marks(tmp_path: Path) -> str:
    """The file in which the test's jobs leave their marks."""
    return str(tmp_path / "marks")


@pytest.fixture
def operator(redis: Redis) -> Shedder:
    return Shedder(redis, by="oncall@ops")


def producers(redis: Redis) -> tuple[rq.Queue, Queue]:
    """One of RQ's own, one of ours."""
    return rq.Queue("mail", connection=redis), Queue("mail", connection=redis)


@pytest.mark.parametrize(
    "workers", [(OURS, OURS), (STOCK, OURS), (STOCK, STOCK)], ids=["ours", "half of each", "stock"]
)
def test_every_job_runs_once_whoever_enqueues_and_works(
    yard: Yard, redis: Redis, marks: str, workers: tuple[Any, ...]
) -> None:
    """Jobs of both producers, before and after the workers start, by workers of any mix."""
    both = producers(redis)
    for number in range(20):
        both[number % 2].enqueue(mark, marks, f"early {number}")
    fleet = [yard.start("mail", worker_class=kind) for kind in workers]
    for worker in fleet:
        wait_until(lambda each=worker: redis.exists(each.key), what="a worker")
    for number in range(20):
        both[number % 2].enqueue(mark, marks, f"late {number}")
    wait_until(lambda: len(ended(marks)) >= 40, what="all jobs")
    expected = {f"{when} {number}" for when in ("early", "late") for number in range(20)}
    assert (sorted(expected), 0) == (sorted(ended(marks)), len(both[0]))


def test_our_workers_obey_for_stock_producers(yard: Yard, redis: Redis, operator: Shedder, marks: str) -> None:
    """Step 2: a pause and a divert by function hold for jobs of producers that know nothing."""
    stock, _ = producers(redis)
    operator.pause("mail", reason="r")
    operator.divert("mail", selection=Selection.parse(functions=["*.hold"]), reason="r")
    yard.start("mail", worker_class=OURS).wait_until_idle(redis)
    stock.enqueue(hold, marks, "diverted", marks)
    stock.enqueue(mark, marks, "paused")
    assert () == operator.pause("mail", reason="again").stock_workers
    operator.resume("mail", reason="r")
    wait_until(lambda: ended(marks) == ["paused"], what="the job that is not diverted")
    wait_until(lambda: operator.status("mail").lanes[0].waiting == 0, what="the divert")
    (normal,) = [lane for lane in operator.status("mail").lanes if lane.lane == "mail"]
    assert (1, 0) == (normal.backlog, normal.waiting)


def test_stock_workers_reach_neither_what_waits_nor_what_our_producers_add(
    yard: Yard, redis: Redis, operator: Shedder, marks: str
) -> None:
    """What a stock producer adds afterwards they run: it is the one thing that is not promised."""
    stock, ours = producers(redis)
    ours.enqueue(mark, marks, "waits")
    yard.start("mail", worker_class=STOCK, with_scheduler=False)
    wait_until(lambda: "waits" in ended(marks), what="a stock worker")
    receipt = operator.pause("mail", reason="r")
    assert (1, "mail") == (len(receipt.stock_workers), receipt.stock_workers[0].lanes[0])
    ours.enqueue(mark, marks, "ours")
    stock.enqueue(mark, marks, "stock")
    wait_until(lambda: "stock" in ended(marks), what="the job of the stock producer")
    assert ["waits", "stock"] == ended(marks)
    warnings = [text for lane in operator.status("mail").lanes for text in lane.warnings]
    assert any("1 stock worker serves mail and obeys neither" in text for text in warnings)
    operator.resume("mail", reason="r")
    wait_until(lambda: "ours" in ended(marks), what="the job that was parked")


def test_a_fleet_that_is_replaced_one_by_one_runs_every_job(
    redis: Redis, operator: Shedder, marks: str, begun: Callable[..., Any]
) -> None:
    """Real `rq worker` processes, stock first, ours by the environment alone; then the way back."""
    stock, ours = producers(redis)
    old = begun("rq.cli", "worker", "mail", "--name", "old")
    wait_until(lambda: redis.hget("rq:worker:old", "state") == b"idle", what="old")
    stock.enqueue(mark, marks, "step 0")
    wait_until(lambda: ended(marks) == ["step 0"], what="step 0")
    begun("rq.cli", "worker", "mail", "--name", "new", classes=True)
    wait_until(lambda: redis.hget("rq:worker:new", "state") == b"idle", what="new")
    assert {"old": True, "new": False} == {each.name: each.is_stock for each in operator.workers("mail")}
    end(old)
    redis.delete("rq:worker:old")
    stock.enqueue(mark, marks, "step 2")
    ours.low.enqueue(mark, marks, "step 4, low")
    ours.enqueue(mark, marks, "step 4")
    wait_until(lambda: len(ended(marks)) == 4, what="step 4")
    assert () == operator.pause("mail", reason="r").stock_workers


def test_a_lane_that_only_a_stock_fleet_could_serve_is_warned_of(
    yard: Yard, redis: Redis, operator: Shedder, marks: str
) -> None:
    """A stock worker of `mail` leaves `mail.low` alone, and `status` says what to start."""
    worker = yard.start("mail", worker_class=STOCK)
    wait_until(lambda: redis.exists(worker.key), what="a worker")
    Queue("mail", connection=redis).low.enqueue(mark, marks, "low")
    (low,) = operator.status("mail.low").lanes
    expected = "mail.low has 1 job and no worker: start one that serves mail, or a stock one for it."
    assert (expected,) == low.warnings


@pytest.fixture
def begun(server: EmbeddedServer) -> Iterator[Callable[..., Any]]:
    """Starts programs of Python, which end with the test."""
    running: list[Any] = []

    def start(*words: str, classes: bool = False) -> Any:
        named = {"RQ_WORKER_CLASS": "shedder.rq.Worker", "RQ_QUEUE_CLASS": "shedder.rq.Queue"}
        env = environment(RQ_REDIS_URL=server.url, **(named if classes else {}))
        running.append(started(words, env=env))
        return running[-1]

    yield start
    for process in running:
        end(process)
