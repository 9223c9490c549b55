"""Queues are paused while jobs flow: nothing starts after the receipt.

Beside it stock RQ and its `rq suspend`, which a worker that waits for a job does not see.
"""

from __future__ import annotations

from dataclasses import dataclass

from rq import Queue as RQQueue
from rq.worker import SimpleWorker as RQSimpleWorker
from rq.worker import Worker as RQWorker

from shedder.rq import Queue, SimpleWorker, Worker
from tests.faults.accounting import Wrong
from tests.faults.pauses import Pauses, Suspensions
from tests.faults.schedule import Fault
from tests.faults.stage import Stage

QUEUES = ("mail", "reports")
WORKERS = 2

_KINDS = {"fork": (Worker, RQWorker), "simple": (SimpleWorker, RQSimpleWorker)}


@dataclass(frozen=True, slots=True)
class Paused:
    """Two workers on two queues, and a pause at random instants.

    Attributes:
        kind: Class of worker: `fork` or `simple`.
        is_busy: Whether jobs wait in the queues, or the workers wait for jobs.
    """

    kind: str
    is_busy: bool

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        for _ in range(WORKERS):
            worker = stage.start_worker(QUEUES, _KINDS[self.kind][stage.is_stock])
            worker.wait_until_idle(stage.redis)
        queues = [(RQQueue if stage.is_stock else Queue)(n, connection=stage.redis) for n in QUEUES]
        play = Suspensions if stage.is_stock else Pauses
        seed = stage.dice.randrange(10**6)
        pauses = play(stage.operator(), queues, stage.marks_path, self.is_busy, seed)
        for _ in range(stage.size):
            stage.outcome.injected += 1
            late = pauses.pause_once()
            stage.outcome.wrong += [Wrong("paused", f"{each.key} started") for each in late]
        stage.outcome.jobs += pauses.starts()


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault(
            f"pause while jobs flow: {'busy' if is_busy else 'idle'} ({kind})",
            "pause",
            Paused(kind, is_busy),
            Paused(kind, is_busy),
            is_short=kind == "fork",
        )
        for kind in _KINDS
        for is_busy in (False, True)
    ]
