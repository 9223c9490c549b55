"""Is a pause exact?"""

from __future__ import annotations

import os
import time
from itertools import product
from typing import TYPE_CHECKING

import pytest
from rq import Queue as StockQueue
from rq import SimpleWorker as StockSimpleWorker
from rq import Worker as StockWorker
from rq.suspension import suspend

from shedder.rq import Queue, SimpleWorker, Worker
from tests import jobs
from tests.faults.pauses import Pauses
from tests.waiting import wait_until

if TYPE_CHECKING:
    from redis import Redis
    from rq.worker import BaseWorker

    from shedder.facade import Shedder
    from tests.workers import Yard

TRIALS = int(os.environ.get("SHEDDER_TRIALS", "8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("worker_class", "names", "is_busy"),
    list(product([Worker, SimpleWorker], [("mail",), ("mail", "reports", "sms")], [False, True])),
)
def test_nothing_starts_after_a_pause(
    redis: Redis,
    operator: Shedder,
    yard: Yard,
    marks: str,
    worker_class: type[BaseWorker],
    names: tuple[str, ...],
    is_busy: bool,
) -> None:
    """No job of a paused queue starts after `pause` has returned, whatever is going on."""
    queues: list[StockQueue] = [Queue(name, connection=redis) for name in names]
    for _ in range(2):
        yard.start(*names, worker_class=worker_class).wait_until_idle(redis)
    pauses = Pauses(operator, queues, marks, is_busy)
    leaks = [leak for _ in range(TRIALS) for leak in pauses.pause_once()]
    print(f"{TRIALS} pauses, {pauses.starts()} starts, {leaks}, {pauses.uncertain} uncertain")
    assert [] == leaks
    assert pauses.starts() > 0


@pytest.mark.parametrize("worker_class", [StockWorker, StockSimpleWorker])
def test_the_suspend_of_rq_fails_the_same_check(
    redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]
) -> None:
    """After `rq suspend` each idle stock worker starts one more job, so ours is no idle promise."""
    for _ in range(2):
        yard.start("mail", worker_class=worker_class).wait_until_idle(redis)
    suspend(redis)
    returned = time.monotonic()
    queue = StockQueue("mail", connection=redis)
    for number in range(6):
        queue.enqueue(jobs.mark, marks, str(number))
    wait_until(lambda: len(jobs.ended(marks)) == 2, what="the jobs that get through")
    assert all(mark.at > returned for mark in jobs.marks_in(marks))
