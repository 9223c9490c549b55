"""What a worker that is told to stop leaves behind."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rq.defaults import RQ_KEY_PREFIX
from rq.job import JobStatus

from shedder.engine.names import rq_keys
from shedder.queues.claims import CRASHES_FIELD
from shedder.rq import Queue, SimpleWorker, Worker
from tests import jobs
from tests.rq.claims.kinds import FORKS_AND_NOT, status_of, waiting
from tests.waiting import wait_until
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from redis import Redis
    from rq.worker import BaseWorker


KEYS = rq_keys()


class IsToldToStop(Worker):
    """Gets a signal with a job in hand."""

    def reorder_queues(self, reference_queue: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        super().reorder_queues(reference_queue)


class IsToldToStopWhileItClaims(SimpleWorker):
    """Gets a signal between the server's decision and the worker's knowledge of it."""

    def hold(self, held: Any) -> None:
        if held is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        super().hold(held)


class IsToldToStopTwice(SimpleWorker):
    """Gets a second signal, which ends it at once, with a job in hand."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        self._shutdown_requested_date = datetime(2020, 1, 1, tzinfo=UTC)
        os.kill(os.getpid(), signal.SIGTERM)
        return super()._ask_gate(*args)


class IsToldToStopWhereItIsCaught(SimpleWorker):
    """Gets a signal in a place that catches all, such as a log line that is being written."""

    def check_for_suspension(self, burst: bool) -> None:
        with suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    "worker_class", [IsToldToStop, IsToldToStopWhileItClaims, IsToldToStopTwice, IsToldToStopWhereItIsCaught]
)
def test_told_to_stop_with_a_job_in_hand(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]) -> None:
    """A worker that is told to stop gives the job in its hands back, and loses nothing."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "abc"]
    assert 0 == yard.start("mail", worker_class=worker_class).wait()
    assert ([], [job.id for job in many]) == (jobs.started(marks), waiting(redis))
    assert 0 == redis.zcard(KEYS.claims)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a", "b", "c"] == jobs.started(marks)
    assert None is redis.hget(many[0].key, CRASHES_FIELD)


class IsToldToStopWhileItRests(SimpleWorker):
    """Gets a signal that is caught while another worker looks for both."""

    def is_silent_for(self, seconds: float) -> bool:
        if not self._stop_requested:
            with suppress(Exception):
                os.kill(os.getpid(), signal.SIGTERM)
        return super().is_silent_for(seconds)


def test_told_to_stop_while_another_one_looks(redis: Redis, yard: Yard) -> None:
    """A worker that rests ends when it is told to, though nobody calls it to poll."""
    yard.start("mail").wait_until_idle(redis)
    wait_until(lambda: list(redis.scan_iter("*lookout*")), what="a poller")
    assert 0 == yard.start("mail", worker_class=IsToldToStopWhileItRests).wait()


@FORKS_AND_NOT
def test_told_to_stop_while_a_job_runs(
    redis: Redis, yard: Yard, marks: str, tmp_path: Path, worker_class: type[BaseWorker]
) -> None:
    """A worker that is told to stop finishes the job that it runs and takes no other."""
    hold = str(tmp_path / "go")
    queue = Queue("mail", connection=redis)
    first = queue.enqueue(jobs.hold, marks, "first", hold)
    last = queue.enqueue(jobs.mark, marks, "last")
    worker = yard.start("mail", worker_class=worker_class)
    wait_until(lambda: jobs.started(marks) == ["first"])
    worker.send(signal.SIGTERM)
    wait_until(lambda: redis.hexists(worker.key, "shutdown_requested_date"))
    Path(hold).touch()
    assert 0 == worker.wait()
    assert (["first"], [last.id]) == (jobs.started(marks), waiting(redis))
    assert JobStatus.FINISHED == status_of(first)


@FORKS_AND_NOT
def test_told_to_stop_while_idle(redis: Redis, yard: Yard, worker_class: type[BaseWorker]) -> None:
    """An idle worker that is told to stop ends at once and is registered no more."""
    worker = yard.start("mail", worker_class=worker_class).wait_until_idle(redis)
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()
    assert set() == redis.smembers(f"{RQ_KEY_PREFIX}:workers")
