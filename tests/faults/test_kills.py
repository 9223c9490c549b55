"""All jobs are still there when their workers have been killed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from rq import Queue as StockQueue
from rq import SimpleWorker as StockSimpleWorker
from rq import Worker as StockWorker

from shedder.engine.names import rq_keys
from shedder.rq import Queue, SimpleWorker, Worker
from tests.faults.kills import Kills, describe, kill_many

if TYPE_CHECKING:
    from redis import Redis
    from rq.worker import BaseWorker

    from tests.workers import Yard

TRIALS = int(os.environ.get("SHEDDER_TRIALS", "4"))
MANY_TRIALS = 5 * TRIALS
MOST_STOCK_TRIALS = 100
KEYS = rq_keys()


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the claim of a killed worker comes back soon."""
    monkeypatch.setattr("shedder.queues.claims.LEASE_MS", 300)


@pytest.mark.slow
@pytest.mark.parametrize("trials", [TRIALS, pytest.param(MANY_TRIALS, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("worker_class", "names", "and_children"),
    [
        (Worker, ("mail", "reports", "sms"), True),
        (SimpleWorker, ("mail", "reports", "sms"), False),
        pytest.param(Worker, ("mail", "reports", "sms"), False, marks=pytest.mark.long),
        pytest.param(Worker, ("mail",), True, marks=pytest.mark.long),
        pytest.param(Worker, ("mail",), False, marks=pytest.mark.long),
        pytest.param(SimpleWorker, ("mail",), False, marks=pytest.mark.long),
    ],
)
def test_nothing_is_lost_or_doubled(
    redis: Redis,
    yard: Yard,
    marks: str,
    worker_class: type[BaseWorker],
    names: tuple[str, ...],
    and_children: bool,
    trials: int,
) -> None:
    """No job of a worker that is killed at a random instant is lost, or runs twice by us."""
    queues: list[StockQueue] = [Queue(name, connection=redis).low for name in names]
    kills = Kills(redis, yard, marks, worker_class, queues, and_children)
    account = kill_many(kills, trials)
    print(describe(f"{worker_class.__name__} on {len(names)} queues", account))
    assert ((), ()) == (account.lost, account.doubled)
    assert 0 == redis.zcard(KEYS.claims)


@pytest.mark.slow
@pytest.mark.parametrize("worker_class", [StockSimpleWorker, StockWorker])
def test_stock_workers_lose_jobs(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]) -> None:
    """The same, done to RQ's own workers, finds jobs that are lost: so it would find ours."""
    queues = [StockQueue(name, connection=redis) for name in ("mail", "reports")]
    kills = Kills(redis, yard, marks, worker_class, queues, and_children=True)
    for _ in range(MOST_STOCK_TRIALS):
        kills.kill_one()
        if kills.is_any_nowhere():
            return
    pytest.fail(f"{MOST_STOCK_TRIALS} kills, and nothing lost")
