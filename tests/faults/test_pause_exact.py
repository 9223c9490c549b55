"""A pause is exact."""

from __future__ import annotations

import os
import signal
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    from shedder.api.shedder import Shedder
    from tests.workers import Yard

TRIALS = int(os.environ.get("SHEDDER_TRIALS", "2"))
MANY_TRIALS = 5 * TRIALS


@pytest.mark.slow
@pytest.mark.parametrize("trials", [TRIALS, pytest.param(MANY_TRIALS, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("worker_class", "names", "is_busy"),
    [
        pytest.param(kind, names, is_busy, marks=() if len(names) > 1 else pytest.mark.long)
        for kind, names, is_busy in product(
            [Worker, SimpleWorker], [("mail",), ("mail", "reports", "sms")], [False, True]
        )
    ],
)
def test_nothing_starts_after_a_pause(
    redis: Redis,
    operator: Shedder,
    yard: Yard,
    marks: str,
    worker_class: type[BaseWorker],
    names: tuple[str, ...],
    is_busy: bool,
    trials: int,
) -> None:
    """No job of a paused queue starts after `pause` has returned, whatever is going on."""
    queues: list[StockQueue] = [Queue(name, connection=redis) for name in names]
    for _ in range(2):
        yard.start(*names, worker_class=worker_class).wait_until_idle(redis)
    pauses = Pauses(operator, queues, marks, is_busy)
    leaks = [leak for _ in range(trials) for leak in pauses.pause_once()]
    print(f"{trials} pauses, {pauses.starts()} starts, {leaks}, {pauses.uncertain} uncertain")
    assert [] == leaks
    assert pauses.starts() > 0


class FreezesPastTheGate(SimpleWorker):
    """Is halted between the gate and the first line of the function."""

    def prepare_job_execution(self, *args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        super().prepare_job_execution(*args, **kwargs)


def test_a_process_that_is_frozen_past_the_gate(redis: Redis, operator: Shedder, yard: Yard, marks: str) -> None:
    """A process that may begin a job after the pause, because it is frozen, is named in time."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    worker = yard.start("mail", worker_class=FreezesPastTheGate, max_jobs=1)
    wait_until(lambda: redis.hget(job.key, "status") == b"started", what="the gate")
    receipt = operator.pause("mail", reason="a test")
    assert [(job.id, worker.name, False)] == [(each.job_id, each.worker, each.is_certain) for each in receipt.running]
    assert [] == jobs.started(marks)
    wait_until(lambda: _is_halted(worker.pid), what="the frozen worker")
    worker.send(signal.SIGCONT)
    assert 0 == worker.wait()
    assert ["a"] == jobs.ended(marks)
    assert () == operator.running("mail")


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


def _is_halted(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "T"
