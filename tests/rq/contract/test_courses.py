"""What we take from how RQ's workers run a job is still as we took it.

A new release of RQ that fails here needs a look at the part of `shedder.rq` that the test names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rq.cli.helpers
import rq.defaults
import rq.executions
import rq.queue
import rq.rate_limit
import rq.scripts
import rq.suspension
import rq.timeouts
import rq.utils
import rq.worker
import rq.worker_registration
from rq import Queue as StockQueue
from rq import Worker as StockWorker
from rq.registry import StartedJobRegistry
from rq.worker import BaseWorker

from shedder.rq import SimpleWorker
from tests import jobs
from tests.rq.contract.sources import parameters, source
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis


def test_the_course_of_a_job() -> None:
    """RQ prepares, performs and finishes a job through the methods that ours overrides."""
    text = source(BaseWorker.perform_job)
    order = ["self.prepare_job_execution(", "job.perform()", "self._finalize_success("]
    assert sorted(text.index(call) for call in order) == [text.index(call) for call in order]
    assert "self._finalize_failure(" in text
    for finish in (BaseWorker._finalize_success, BaseWorker._finalize_failure):
        assert "self.handle_execution_ended(" in source(finish)
    assert "self.handle_job_failure(" in source(BaseWorker._finalize_failure)
    assert "self.increment_failed_job_count(" in source(BaseWorker.handle_job_failure)
    assert "self.increment_failed_job_count(" in source(BaseWorker.handle_job_retry)
    assert "self.increment_successful_job_count(" in source(BaseWorker.handle_job_success)


def test_the_course_of_a_child_that_dies() -> None:
    """RQ's worker fails the job of a child that died, in the one method that ours overrides."""
    text = source(StockWorker.monitor_work_horse)
    assert "if ret_val == os.EX_OK:" in text
    assert "job_status not in [JobStatus.FINISHED, JobStatus.FAILED]" in text
    assert "self.handle_job_failure(job, queue=queue, exc_string=exc_string" in text
    assert "self.handle_job_failure(" in source(StockWorker._handle_stopped_job)
    assert "execution = self.prepare_execution(job)" in source(StockWorker.execute_job)


def test_what_is_set_before_a_job_runs() -> None:
    """RQ makes a worker busy in the transaction that registers the execution, before the gate."""
    text = source(rq.executions.prepare_execution)
    assert "Execution.create(" in text
    assert "worker.set_state(WorkerStatus.BUSY, pipeline=pipeline)" in text
    assert ["timeout", "exception", "kwargs"] == parameters(rq.timeouts.BaseDeathPenalty)


def test_what_rq_takes_for_abandoned() -> None:
    """RQ fails or repeats a started job when any of its executions has expired."""
    text = source(StartedJobRegistry.cleanup)
    assert "job.get_status(refresh=False) != JobStatus.STARTED" in text
    assert "pipeline.zremrangebyscore(self.key, 0, score)" in text


def test_the_overridden_methods_run(redis: Redis, marks: str) -> None:
    """A worker of ours that runs a job goes through every method that we override."""
    StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    StockQueue("mail", connection=redis).enqueue(jobs.fail, marks, "b")
    called = set()
    names = [
        "_set_connection",
        "bootstrap",
        "check_for_suspension",
        "dequeue_job_and_maintain_ttl",
        "execute_job",
        "handle_execution_ended",
        "handle_job_failure",
        "heartbeat",
        "increment_failed_job_count",
        "increment_successful_job_count",
        "perform_job",
        "prepare_job_execution",
        "serialize",
        "set_state",
        "teardown",
    ]

    def recorded(name: str) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return getattr(super(Recording, self), name)(*args, **kwargs)

        return method

    body = {name: recorded(name) for name in names}
    Recording: Any = type("Recording", (SimpleWorker,), body)  # noqa: N806
    run_burst(Recording(["mail"], connection=redis))
    assert set(names) == called
