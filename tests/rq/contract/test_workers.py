"""What we take from RQ's workers, and from what starts and connects them, is still as it was.

A new release of RQ that fails here needs a look at the part of `shedder.rq` that the test names.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import redis.client
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
from rq import SimpleWorker as StockSimpleWorker
from rq import Worker as StockWorker
from rq.exceptions import StopRequested
from rq.worker import BaseWorker, SpawnWorker, WorkerStatus

from tests.rq.contract.sources import parameters, source

if TYPE_CHECKING:
    from redis import Redis


# workers


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("perform_job", ["self", "job", "queue", "execution"]),
        ("execute_job", ["self", "job", "queue"]),
        ("prepare_job_execution", ["self", "job", "remove_from_intermediate_queue"]),
        ("handle_execution_ended", ["self", "job", "queue", "heartbeat_ttl"]),
        ("handle_job_failure", ["self", "job", "queue", "started_job_registry", "exc_string", "execution"]),
        ("increment_failed_job_count", ["self", "pipeline"]),
        ("increment_successful_job_count", ["self", "pipeline"]),
        ("dequeue_job_and_maintain_ttl", ["self", "timeout", "max_idle_time"]),
        ("check_for_suspension", ["self", "burst"]),
        ("_set_connection", ["self", "connection"]),
        ("set_state", ["self", "state", "pipeline"]),
        ("heartbeat", ["self", "timeout", "pipeline"]),
        ("serialize", ["self"]),
        ("request_stop", ["self", "signum", "frame"]),
        ("_shutdown", ["self"]),
        ("bootstrap", ["self", "logging_level", "date_format", "log_format"]),
        ("teardown", ["self"]),
        ("cleanup_execution", ["self", "job", "pipeline", "execution"]),
        ("reorder_queues", ["self", "reference_queue"]),
        ("get_heartbeat_ttl", ["self", "job", "working_time"]),
        ("get_redis_server_version", ["self"]),
        ("run_maintenance_tasks", ["self"]),
        ("procline", ["self", "message"]),
        ("get_state", ["self"]),
    ],
)
def test_methods_of_a_worker(name: str, wanted: list[str]) -> None:
    """The methods of RQ's worker that ours overrides or calls have these parameters."""
    assert wanted == parameters(getattr(BaseWorker, name))


def test_methods_of_kinds_of_workers() -> None:
    """RQ's kinds of workers have the methods that ours overrides."""
    assert ["self", "job", "queue"] == parameters(SpawnWorker.fork_work_horse)
    assert ["self", "job", "queue"] == parameters(StockWorker.execute_job)
    assert ["self", "job", "queue"] == parameters(StockSimpleWorker.execute_job)


def test_attributes_of_a_worker(redis: Redis) -> None:
    """A worker has the attributes that we read and set."""
    worker = StockSimpleWorker(["mail"], connection=redis)
    for name in (
        "_ordered_queues",
        "_state",
        "_stop_requested",
        "_stopped_job_id",
        "_shutdown_requested_date",
        "connection",
        "death_penalty_class",
        "executions",
        "is_horse",
        "job_class",
        "log",
        "log_job_description",
        "name",
        "queue_class",
        "queues",
        "serializer",
        "should_run_maintenance_tasks",
    ):
        assert hasattr(worker, name), name
    assert {"started", "suspended", "busy", "idle"} == {state.value for state in WorkerStatus}


def test_who_calls_the_methods_of_a_worker() -> None:
    """RQ still calls the methods that ours overrides, where we count on it."""
    work = source(BaseWorker.work)
    for call in (
        "self.bootstrap(",
        "self.check_for_suspension(burst)",
        "if self._stop_requested:",
        "self.dequeue_job_and_maintain_ttl(timeout, max_idle_time)",
        "self.execute_job(job, queue)",
        "except StopRequested:",
        "self.teardown()",
    ):
        assert call in work, call
    assert "connection = self._set_connection(connection)" in source(BaseWorker.__init__)
    assert "self._shutdown()" in source(BaseWorker.request_stop)
    assert "raise StopRequested()" in source(BaseWorker._shutdown)
    assert "self.get_state() == WorkerStatus.BUSY" in source(BaseWorker._shutdown)
    assert "self.set_state(WorkerStatus.STARTED)" in source(BaseWorker.bootstrap)
    assert "mapping=self.serialize()" in source(BaseWorker.register_birth)
    assert "self.perform_job(job, queue, self.execution)" in source(BaseWorker.main_work_horse)
    assert "self.perform_job(job, queue, execution)" in source(StockSimpleWorker.execute_job)
    assert issubclass(StopRequested, Exception)


# the rest


def test_what_the_command_line_reads() -> None:
    """RQ's command line has the helpers that ours uses to find Redis."""
    assert ["module"] == parameters(rq.cli.helpers.read_config_file)
    assert "settings" in parameters(rq.cli.helpers.get_redis_from_config)


def test_loggers() -> None:
    """RQ's worker logs under the name that the command line expects."""
    assert rq.worker.base.logger is logging.getLogger("rq.worker")


def test_what_a_patient_client_overrides() -> None:
    """redis-py's client and pipeline send everything through the methods that ours overrides."""
    pipeline = redis.client.Pipeline
    assert ["self", "args", "options"] == parameters(redis.client.Redis.execute_command)
    assert ["self", "transaction", "shard_hint"] == parameters(redis.client.Redis.pipeline)
    assert ["self", "raise_on_error"] == parameters(pipeline.execute)
    assert ["self", "args", "options"] == parameters(pipeline.immediate_execute_command)
    assert "self.immediate_execute_command(" in source(pipeline.execute_command)
    assert "self.scripts = set()" in source(pipeline.reset)
    assert "self.command_stack = []" in source(pipeline.reset)
