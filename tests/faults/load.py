"""Something is always going on: workers, producers and an operator, while faults come and go.

On a stage of stock RQ it is RQ's workers and producers, without an operator; a worker that ends is
started again, as a supervisor does.
"""

from __future__ import annotations

import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from rq.worker import SimpleWorker as RQSimpleWorker
from rq.worker import Worker as RQWorker

from shedder.errors import ShedderError
from shedder.rq import SimpleWorker, Worker
from shedder.units import Rate
from tests import jobs
from tests.faults.accounting import Wrong
from tests.faults.producers import produce
from tests.faults.storms import settle_abandoned
from tests.faults.verbs import LANES, SOME, finish_begun
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shedder import Shedder
    from tests.faults.actors import Child
    from tests.faults.stage import Stage
    from tests.workers import WorkerProcess

FINISH_SECONDS = PATIENCE_SECONDS
WAYS = ("enqueue", "many", "unique", "stock", "other", "pipeline")
STOCK_WAYS = ("stock", "stock many", "stock other")
QUEUES = ("mail", "reports")


class Load:
    """Workers, producers and an operator at work on a stage.

    Args:
        stage: Where.
        workers_at, producer_at, operator_at: Where each role finds the server; at the server itself
            when not given.
        has_operator: Whether an operator is at work all the while.
        pause: Seconds between two batches of the producer; those of the stage when not given.
        orders: What an operator does for ever, in a process of its own; pauses, diverts and drains
            when not given.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        workers_at: Any = None,
        producer_at: Any = None,
        operator_at: Any = None,
        has_operator: bool = True,
        pause: float | None = None,
        ways: Sequence[str] = WAYS,
        orders: Callable[[Stage, Any, Random], object] | None = None,
    ) -> None:
        self.stage = stage
        self.faults: list[float] = []
        self._workers_at = workers_at
        self._kinds = (RQWorker, RQSimpleWorker) if stage.is_stock else (Worker, SimpleWorker)
        self._workers: list[WorkerProcess] = [self._start(kind) for kind in self._kinds]
        lanes = QUEUES if stage.is_stock else LANES
        ways = STOCK_WAYS if stage.is_stock else ways
        seed = stage.dice.random()
        client = (producer_at or stage.server).client()
        self._producer = stage.start(
            lambda: produce(
                client,
                lanes,
                name="p",
                ledger=str(stage.ledger_path),
                marks=stage.marks_path,
                dice=Random(seed),
                ways=ways,
                pause=pause or stage.pause_seconds,
            )
        )
        self._operator: Child | None = None
        if has_operator and not stage.is_stock:
            target = (operator_at or stage.server).client()
            self._operator = stage.start(partial(orders or command, stage, target, Random(seed + 1)))

    def _start(self, kind: Any) -> WorkerProcess:
        return self.stage.start_worker(QUEUES, kind, at=self._workers_at)

    def note_fault(self) -> None:
        """Something was done to them now."""
        self.faults.append(time.monotonic())
        self.stage.outcome.injected += 1

    def wait_for_progress(self, *, timeout: float = PATIENCE_SECONDS) -> None:
        """Return when a job has started after the last fault; the time it took is noted."""
        since = time.monotonic()
        started = self._starts()
        wait_until(lambda: self._has_started(started), timeout=timeout, what="a start")
        self.stage.outcome.recovered.append(time.monotonic() - since)

    def finish(self, *, also: Callable[[], object] = lambda: None) -> None:
        """End producers and operator, let all jobs run, and settle the accounts.

        `also` is done again and again until all is done.
        """
        for child in (self._producer, self._operator):
            if child is not None:
                if not child.is_alive():
                    raise RuntimeError(f"a process ended by itself: {child.said()}")
                child.kill()
        self.stage.book.read(self.stage.ledger_path)
        self._replace_ended()
        if not self.stage.is_stock:
            self._end_controls()
        end = time.monotonic() + FINISH_SECONDS
        while time.monotonic() < end:
            is_still = settle_abandoned(self.stage, LANES)
            also()
            if self.stage.wait_until_done(timeout=2.0) or (is_still and self.stage.is_stock):
                break
            self._replace_ended()
        self.stage.check_end({"*": self.faults})

    def _replace_ended(self) -> None:
        """Start those again that have ended: ours never do, and stock ones do at many a fault."""
        for number, worker in enumerate(self._workers):
            if worker.is_alive():
                continue
            self.stage.outcome.ended += 1
            if not self.stage.is_stock:
                self.stage.outcome.wrong.append(Wrong("worker ended", str(worker)[-600:]))
            self._workers[number] = self._start(self._kinds[number])

    def _has_started(self, before: int) -> bool:
        if self.stage.is_stock:
            self._replace_ended()
        return self._starts() > before

    def _end_controls(self) -> None:
        operator = self.stage.operator()
        finish_begun(operator)
        operator.resume(*LANES, reason="over")
        operator.lift_limit(*LANES, reason="over")
        operator.drain_at_once(*LANES, reason="over")

    def _starts(self) -> int:
        if self.stage.is_stock:
            return len(jobs.started(self.stage.marks_path))
        return sum(int(each or 0) for each in self._meters())

    def _meters(self) -> list[Any]:
        names = [f"{lane}:started" for lane in LANES]
        return list(self.stage.redis.hmget(f"{self.stage.keys.root}meters", names))


def command(stage: Stage, client: Any, dice: Random) -> None:
    """Give orders for ever, for a process of its own; what fails is given up."""
    operator = stage.operator(client)
    while True:
        try:
            _command_once(operator, dice)
        except ShedderError:
            time.sleep(0.05)


def _command_once(operator: Shedder, dice: Random) -> None:
    target = dice.choice(LANES)
    verb = dice.randrange(6)
    if verb == 0:
        operator.pause(target, reason="x")
        time.sleep(dice.uniform(0, 0.1))
        operator.resume(target, reason="x")
    elif verb == 1:
        operator.divert(target, reason="x")
    elif verb == 2:
        operator.divert(target, selection=SOME, reason="x")
    elif verb == 3:
        operator.drain(target, rate=Rate(200.0), reason="x")
    elif verb == 4:
        operator.drain_at_once(target, reason="x")
    else:
        operator.limit_starts(target, rate=Rate(100.0), reason="x")
        operator.lift_limit(target, reason="x")
    time.sleep(dice.uniform(0, 0.1))
