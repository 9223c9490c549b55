"""How a job passes the gate, runs or is left, and how its start is reported.

Between the gate and the first line of the function lies a moment in which a process can be frozen.
`pause` waits for those who are in it, so each start must end it: one line on the wire, whose reply
is read when the function has returned.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import rq
from redis import Redis, exceptions
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException
from rq.utils import now, utcformat
from rq.worker import WorkerStatus

from shedder.engine.jobs import function_of, texts_of
from shedder.log_context import bind, clear
from shedder.queues.claims import CRASHES_FIELD, Gate, HeldClaim, start_job
from shedder.queues.outcomes import RETRIES_EXCEEDED, exception_in
from shedder.queues.skip import name_for_gate
from shedder.rq.lease import HoldingMixin
from shedder.store.store import Command, Pipeline

HELD_CLAIM_VARIABLE = "SHEDDER_HELD_CLAIM"
"""How the claim reaches a process that is not a fork of the worker (`SpawnWorker`)."""

CRASHES_BEFORE_PLAIN_START = 2
"""From this number of dead processes on, a job is started first and imported after, as by RQ."""

CRASHES_BEFORE_FAILURE = 3
"""At this number of dead processes a job fails, as with RQ at the first."""


class PerformingMixin(HoldingMixin):
    """Performs a claimed job: asks the gate, runs the job, and reports that it has started.

    A job that the gate refuses is left where the gate put it. One whose process died before it
    started goes back to its lane, and fails only when it has killed several.
    """

    _report: StartAck | None = None
    _has_crashed = False
    _preparation: Pipeline | None = None

    def execute_job(self, job: Job, queue: rq.Queue) -> None:
        """Run a job that this worker holds a claim for."""
        if self._stop_requested and self._held is not None:
            self.give_back()
            raise StopRequested
        self._lane = queue.name
        self._note_held(self._held)
        try:
            super().execute_job(job, queue)
        except BaseException:
            if not self.is_horse:
                self.give_back()
            raise
        finally:
            self._preparation = None
            clear()
        self.hold(None)

    def prepare_execution(self, job: Job) -> Execution:
        """RQ's record of a start.

        Where the job runs in this very process, it goes out with the question to the gate, in one
        round trip. Elsewhere others need it before: to stop a job whose import hangs.
        """
        if self._held is None or not isinstance(self, rq.SimpleWorker):
            return super().prepare_execution(job)
        seconds = self.get_heartbeat_ttl(job)
        pipeline = self._preparation = self.connection.pipeline()
        execution = Execution.create(job, seconds, pipeline, worker_name=self.name)
        self.executions[execution.id] = execution
        self.set_state(WorkerStatus.BUSY, pipeline=pipeline)
        return execution

    def main_work_horse(self, job: Job, queue: rq.Queue) -> None:
        """RQ's entry of the process of a job."""
        self._patience.stay_with(os.getppid())
        super().main_work_horse(job, queue)

    def perform_job(self, job: Job, queue: rq.Queue, execution: Execution) -> bool:
        """Let the job through the gate and run it; leave it where the gate put it otherwise."""
        held = self._held or _held_of_parent(job)
        if held is None:
            return super().perform_job(job, queue, execution)
        self._lane = held.lane
        self._note_held(held)
        bind(lane=held.lane, job=job.id)  # again, where this process is no fork
        gate = self._ask_gate(job, held, execution)
        self.hold(None)
        if not gate.is_open:
            self.log.debug("Worker %s: job %s does not start: %s", self.name, job.id, gate.verdict)
            self._forget(job, execution)
            return False
        self._has_crashed = held.crashes > 0
        self._report = StartAck(self.connection, self.keys.starting, held.token)
        return super().perform_job(job, queue, execution)

    def _ask_gate(self, job: Job, held: HeldClaim, execution: Execution) -> Gate:
        name = function_of(job)
        if held.crashes < CRASHES_BEFORE_PLAIN_START and self._import_function(job):
            name = name_for_gate(self.store, job, held.lane)
        job.started_at = job.last_heartbeat = now()
        pipeline, self._preparation = self._preparation or self.connection.pipeline(), None
        # in one transaction: a server that is full refuses it whole, and starts no job without it
        super().heartbeat(self.get_heartbeat_ttl(job), pipeline=pipeline)
        command = self._start(job, held, execution, function=name, meta=texts_of(job))
        return self.store.execute_last(pipeline, command)

    def _start(self, job: Job, held: HeldClaim, execution: Execution | None, **options: Any) -> Command[Gate]:
        """What lets `job`, whose `started_at` is set, through the gate."""
        return start_job(
            self.keys,
            held,
            timestamp=utcformat(job.started_at or now()),
            registry=job.started_job_registry.key,
            execution=execution.id if execution else "",
            work=self._work_of(job),
            **options,
        )

    def _import_function(self, job: Job) -> bool:
        """Import what the job will call, so that nothing slow stands between the gate and the call.

        False when it failed: RQ meets that again, and reports it, where it performs the job.
        """
        timeout = job.timeout or self.queue_class.DEFAULT_TIMEOUT
        try:
            with self.death_penalty_class(timeout, JobTimeoutException, job_id=job.id):
                _ = job.func, job.args
        except SystemExit:
            if self._shutdown_requested_date is not None:
                raise  # by a second signal, and not by a module that exits when it is imported
            return False
        except Exception as error:  # noqa: BLE001 - an import raises what it likes
            self.log.debug("Worker %s: job %s cannot be imported: %s", self.name, job.id, error)
            return False
        return True

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """RQ's bookkeeping before a job runs; the gate has done what concerns the job."""
        report = self._report
        if report is None:
            super().prepare_job_execution(job, remove_from_intermediate_queue)
            return
        job.worker_name = self.name
        job._status = JobStatus.STARTED
        report.send()
        self.procline(f"Processing {job.func_name} from {job.origin} since {time.time()}")

    def handle_execution_ended(self, job: Job, queue: rq.Queue, heartbeat_ttl: int) -> None:
        """Called when the function has returned or raised."""
        if self._report is not None:
            self._report.confirm()
            self._report = None
        if self._has_crashed:
            self._has_crashed = False
            self.connection.hdel(job.key, CRASHES_FIELD)
        super().handle_execution_ended(job, queue, heartbeat_ttl)

    def handle_job_failure(
        self,
        job: Job,
        queue: rq.Queue,
        started_job_registry: Any = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        """Fail or retry a job that ran; give one back whose process died before it started."""
        held = None if self.is_horse else self._held
        if held is not None and self._is_out_of_hand(job, held, execution):
            self._forget(job, execution)
            return
        is_stopped = self._stopped_job_id == job.id
        self._note_end(job, None if is_stopped else exception_in(exc_string))
        super().handle_job_failure(job, queue, started_job_registry, exc_string, execution)

    def handle_job_success(self, job: Job, queue: rq.Queue, started_job_registry: Any, execution: Execution) -> None:
        """RQ's bookkeeping of a job that ended well."""
        self._note_end(job, None)
        super().handle_job_success(job, queue, started_job_registry, execution)

    def handle_job_retry(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """RQ's bookkeeping of a job that asks to be repeated, and fails when it asks too often."""
        self._note_end(job, RETRIES_EXCEEDED)
        super().handle_job_retry(job, *args, **kwargs)

    def _is_out_of_hand(self, job: Job, held: HeldClaim, execution: Execution | None) -> bool:
        """Whether the job whose process died is not ours to fail: given back, or elsewhere."""
        is_stopped = self._stopped_job_id == job.id
        if not is_stopped and held.crashes + 1 < CRASHES_BEFORE_FAILURE:
            if self.give_back(is_crash=True):
                return True
        elif self._start_to_fail(job, held, execution):
            return False
        status, holder = self.connection.hmget(job.key, ("status", "worker_name"))
        return (status, holder) != (JobStatus.STARTED.value.encode(), self.name.encode())

    def _start_to_fail(self, job: Job, held: HeldClaim, execution: Execution | None) -> bool:
        """Make a claimed job one that runs, as RQ fails no other; False when it was not ours.

        Its claim must not end before: a worker that is killed in between would lose the job. So
        RQ's maintenance finds it instead, as it finds every job whose worker died.
        """
        self.hold(None)
        job.started_at = job.last_heartbeat = now()
        command = self._start(job, held, execution, function="", meta={}, to_fail=True)
        return self.store.execute(command).is_open

    def _forget(self, job: Job, execution: Execution | None) -> None:
        with self.connection.pipeline() as pipeline:
            self.cleanup_execution(job, pipeline=pipeline, execution=execution)
            pipeline.execute()


def tell_fresh_process(held: HeldClaim | None) -> None:
    """Let the next process that this one starts, and that is no fork of it, know its claim."""
    if held is not None:
        parts = (held.token.hex(), held.job_id, held.lane, held.crashes, held.running, held.drain)
        os.environ[HELD_CLAIM_VARIABLE] = json.dumps(parts)


def _held_of_parent(job: Job) -> HeldClaim | None:
    parts = json.loads(os.environ.get(HELD_CLAIM_VARIABLE, "[]"))
    if not parts or parts[1] != job.id:
        return None
    return HeldClaim(bytes.fromhex(parts[0]), *parts[1:])


SMALL_POOL = 8
"""A pool of no more connections is not short of one while a job runs, which may need it."""


class StartAck:
    """The report of one start, on a connection of its own out of the client's pool."""

    def __init__(self, client: Redis, starting: str, token: bytes) -> None:
        self._client = client
        self._starting = starting
        self._token = token
        self._connection: Any = None
        self._has_arrived = False

    def send(self) -> None:
        """Send the report, and do not wait.

        A server that cannot be reached now is met again when the job has ended; the start then
        stands as unconfirmed, which `pause` names and never hides.
        """
        try:
            self._connection = self._client.connection_pool.get_connection()
            self._connection.send_command("HDEL", self._starting, self._token)
        except (exceptions.RedisError, OSError):
            self._give_up()
            return
        if self._client.connection_pool.max_connections <= SMALL_POOL:
            self._collect()

    def confirm(self) -> None:
        """Read the replies, and return the connection; report again what has not arrived."""
        self._collect()
        if not self._has_arrived:
            self._client.hdel(self._starting, self._token)

    def _collect(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.read_response()
        except exceptions.ResponseError:
            pass
        except (exceptions.RedisError, OSError):
            self._give_up()
            return
        self._has_arrived = True
        self._client.connection_pool.release(self._connection)
        self._connection = None

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._client.connection_pool.release(self._connection)
            self._connection = None
