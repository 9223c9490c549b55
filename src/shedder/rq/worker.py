"""How does a worker take jobs, and how does a job start?

A worker claims a job (`lua/claim_job.lua`), prepares it, and asks the gate (`lua/start_job.lua`) in
the process that is about to run it. Until the gate is passed the job is nobody's but the claim's,
and a claim is given back: by its holder, or by any other worker once its lease has run out.
"""

from __future__ import annotations

import copy
import json
import os
import time
import zlib
from typing import TYPE_CHECKING, Any

from rq.defaults import DEFAULT_FAILURE_TTL
from rq.exceptions import StopRequested
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException
from rq.utils import now, utcformat
from rq.worker import BaseWorker, WorkerStatus
from rq.worker import SimpleWorker as RQSimpleWorker
from rq.worker import SpawnWorker as RQSpawnWorker
from rq.worker import Worker as RQWorker

from shedder.lanes import serving_order
from shedder.rq.claims import CRASHES_FIELD, Gate, HeldClaim, release_claim, start_job
from shedder.rq.heart import Heart
from shedder.rq.layout import rq_keys
from shedder.rq.notes import function_of, texts_of
from shedder.rq.patience import patient
from shedder.rq.pickup import Pickup
from shedder.rq.reports import StartReport
from shedder.rq.skew import SkewMixin
from shedder.rq.skipping import name_for_gate
from shedder.rq.upkeep import Upkeep
from shedder.scripts import load_script
from shedder.store import Store
from shedder.version import VERSION

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline
    from rq.executions import Execution
    from rq.queue import Queue as RQQueue

HELD_CLAIM_VARIABLE = "SHEDDER_HELD_CLAIM"
"""How the claim reaches a process that is not a fork of the worker (`SpawnWorker`)."""

CRASHES_BEFORE_PLAIN_START = 2
"""A job in whose hands so many processes died is started first and imported after, as RQ does."""

CRASHES_BEFORE_FAILURE = 3
"""A job in whose hands so many processes died fails, as with RQ at the first."""

HEARTBEAT_SECONDS = 1.0

LAST_PATIENCE_SECONDS = 5.0
"""A worker that is to stop, and runs no job, waits so long for a Redis that is away."""

NO_TEXT = "\ufffd"
"""Stands in an id for bytes that are no text."""

SILENCE_SECONDS = 30
"""A connection that says nothing for so long is given up; no command of ours waits a second."""

SCRIPTS_OF_A_JOB = ("claim_job", "start_job", "release_claim")


class WorkerMixin(SkewMixin, BaseWorker):
    """Lanes, claims and controls for a class of RQ workers; put it first among the bases.

    ```python
    class OurWorker(WorkerMixin, TheirWorker): ...
    ```

    The worker serves all lanes of its queues in strict order of priority. It outlives a Redis that
    restarts, is busy, full or read-only. It loses no job, whatever kills it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held: HeldClaim | None = None
        self._report: StartReport | None = None
        self._has_crashed = False
        self._lane = ""
        self._under_limit: HeldClaim | None = None
        self._last_beat = (0.0, 0)
        self._stored_state = ""
        super().__init__(*args, **kwargs)
        self.keys = rq_keys()
        self.store = Store(self.connection)
        self.queues = self._lanes_of(self.queues)
        self._ordered_queues = self.queues[:]
        self._heart = Heart(self)
        self.upkeep = Upkeep(self.store, self.keys, [queue.name for queue in self.queues])

    @property
    def connection_timeout(self) -> int:
        """Seconds; RQ must wait for as long as its BLPOP blocks, which is minutes."""
        return SILENCE_SECONDS

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        client = patient(super()._set_connection(connection))
        self._patience = client.patience
        return client

    def _lanes_of(self, queues: list[RQQueue]) -> list[RQQueue]:
        given = {queue.name: queue for queue in queues}
        return [self._lane_queue(given, name) for name in serving_order(given)]

    def _lane_queue(self, given: dict[str, RQQueue], name: str) -> RQQueue:
        model = given.get(name) or given[name.rpartition(".")[0]]
        lane = copy.copy(model)
        lane.name = name
        lane._key = f"{lane.redis_queue_namespace_prefix}{name}"
        lane.connection = self.connection
        return lane

    def serialize(self) -> dict[str, Any]:
        """What RQ stores of a worker, and that it is one of ours."""
        return {**super().serialize(), "shedder": VERSION}

    # taking a job

    def check_for_suspension(self, burst: bool) -> None:
        """Nothing: the claim itself obeys `rq suspend`, so that none is taken after it."""

    def wait_while_suspended(self, burst: bool) -> None:
        """RQ's own waiting for `rq resume`."""
        super().check_for_suspension(burst)

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, RQQueue] | None:
        """The next job and its lane, or None when there is none and waiting is over."""
        self._held = None
        self.set_state(WorkerStatus.IDLE)
        found = Pickup(self, is_burst=timeout is None, max_idle_seconds=max_idle_time).next_job()
        if found is not None:
            job, lane = found
            self.reorder_queues(reference_queue=lane)
            job.redis_server_version = self.get_redis_server_version()
            what = job.description if self.log_job_description else ""
            self.log.info("Worker %s: %s: %s (%s)", self.name, lane.name, what, job.id)
        return found

    def hold(self, held: HeldClaim | None) -> None:
        """Keep in mind which claim this worker must use or give back."""
        self._held = held
        self._heart.hold(held)

    def give_back(self, *, is_crash: bool = False) -> bool:
        """Return the job in hand to the front of its lane; False when it was not ours any more."""
        held, self._held = self._held, None
        self._heart.hold(None)
        if held is None:
            return False
        return self.store.execute(release_claim(self.keys, held.token, is_crash=is_crash))

    def set_aside(self, job_id: str, lane: RQQueue, error: Exception) -> None:
        """Put a job that cannot be read among the failed ones, where a person finds it."""
        held, self._held = self._held, None
        self._heart.hold(None)
        sentence = f"shedder could not read this job: {error}"
        fields: dict[Any, Any] = {
            "status": JobStatus.FAILED,
            "exc_info": zlib.compress(sentence.encode("utf-8", "replace")),
        }
        with self.connection.pipeline() as pipeline:
            if NO_TEXT not in job_id:  # an id that is no text has no name to write it under
                pipeline.hset(self.keys.engine.jobs + job_id, mapping=fields)
                until = time.time() + DEFAULT_FAILURE_TTL
                pipeline.zadd(lane.failed_job_registry.key, {job_id: until})
            if held is not None:
                pipeline.zrem(self.keys.claims, held.token)
            pipeline.execute()

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Called by the signal that ends a worker politely."""
        # RQ logs and raises here, in the middle of whatever runs. Either may fail or be caught
        # there, as by a log line that is being written, and the worker would never stop.
        self._stop_requested = True
        super().request_stop(signum, frame)

    def _shutdown(self) -> None:
        # A claim that is under way or in hand must not be lost sight of: `execute_job` gives it
        # back and stops.
        if self._heart.is_claiming or (self._held is not None and not self._is_busy):
            self._patience.end_in(LAST_PATIENCE_SECONDS)
            return
        super()._shutdown()

    @property
    def _is_busy(self) -> bool:
        return bool(self.get_state() == WorkerStatus.BUSY)

    # running it

    def execute_job(self, job: Job, queue: RQQueue) -> None:
        """Run a job that this worker holds a claim for."""
        if self._stop_requested and self._held is not None:
            self.give_back()
            raise StopRequested
        self._lane = queue.name
        self._under_limit = self._held if self._held and self._held.running else None
        try:
            super().execute_job(job, queue)
        except BaseException:
            if not self.is_horse:
                self.give_back()
            raise
        self.hold(None)

    def main_work_horse(self, job: Job, queue: RQQueue) -> None:
        """RQ's entry of the process of a job."""
        self._patience.stay_with(os.getppid())
        super().main_work_horse(job, queue)

    def perform_job(self, job: Job, queue: RQQueue, execution: Execution) -> bool:
        """Let the job through the gate and run it; leave it where the gate put it otherwise."""
        held = self._held or _held_of_parent(job)
        if held is None:
            return super().perform_job(job, queue, execution)
        self._lane = held.lane
        self._under_limit = held if held.running else None
        gate = self._ask_gate(job, held, execution)
        if not gate.is_open:
            self._leave(job, execution, gate)
            return False
        self.hold(None)
        self._has_crashed = held.crashes > 0
        self._report = StartReport(self.connection, self.keys.starting, held.token)
        return super().perform_job(job, queue, execution)

    def _ask_gate(self, job: Job, held: HeldClaim, execution: Execution) -> Gate:
        name = function_of(job)
        if held.crashes < CRASHES_BEFORE_PLAIN_START and self._import_function(job):
            name = name_for_gate(self.store, self.keys, job, held.lane)
        job.started_at = job.last_heartbeat = now()
        return self.store.execute(
            start_job(
                self.keys,
                held,
                timestamp=utcformat(job.started_at),
                function=name,
                meta=texts_of(job),
                registry=job.started_job_registry.key,
                execution=execution.id,
            )
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

    def _leave(self, job: Job, execution: Execution, gate: Gate) -> None:
        self.log.debug("Worker %s: job %s does not start: %s", self.name, job.id, gate.verdict)
        self.hold(None)
        self._forget(job, execution)

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """RQ's bookkeeping before a job runs; the gate has done what concerns the job."""
        report = self._report
        if report is None:
            super().prepare_job_execution(job, remove_from_intermediate_queue)
            return
        job.worker_name = self.name
        job._status = JobStatus.STARTED
        with report.pipeline() as pipeline:
            super().heartbeat(self.get_heartbeat_ttl(job), pipeline=pipeline)
            report.send(pipeline)
        self.procline(f"Processing {job.func_name} from {job.origin} since {time.time()}")

    def handle_execution_ended(self, job: Job, queue: RQQueue, heartbeat_ttl: int) -> None:
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
        queue: RQQueue,
        started_job_registry: Any = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        """Fail or retry a job that ran; give one back whose process died before it started."""
        held = None if self.is_horse else self._held
        if held is not None and self._is_out_of_hand(job, held, execution):
            self._forget(job, execution)
            return
        super().handle_job_failure(job, queue, started_job_registry, exc_string, execution)

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
        gate = self.store.execute(
            start_job(
                self.keys,
                held,
                timestamp=utcformat(job.started_at),
                function="",
                meta={},
                registry=job.started_job_registry.key,
                execution=execution.id if execution else "",
                to_fail=True,
            )
        )
        return gate.is_open

    def _forget(self, job: Job, execution: Execution | None) -> None:
        with self.connection.pipeline() as pipeline:
            self.cleanup_execution(job, pipeline=pipeline, execution=execution)
            pipeline.execute()

    # bookkeeping

    def increment_successful_job_count(self, pipeline: Pipeline | None = None) -> None:
        """RQ's count, and that of the lane."""
        super().increment_successful_job_count(pipeline)
        self._count_end(pipeline)

    def increment_failed_job_count(self, pipeline: Pipeline | None = None) -> None:
        """RQ's count, and that of the lane."""
        super().increment_failed_job_count(pipeline)
        self._count_end(pipeline)

    def _count_end(self, pipeline: Pipeline | None) -> None:
        if self._lane:
            counter = pipeline if pipeline is not None else self.connection
            counter.hincrby(self.keys.meters, f"{self._lane}:ended", 1)
            if self._under_limit is not None:
                counter.zrem(self._under_limit.running, self._under_limit.token)

    def is_silent_for(self, seconds: float) -> bool:
        """Whether the last heartbeat was so long ago."""
        return time.monotonic() - self._last_beat[0] >= seconds

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """RQ's heartbeat, in one round trip and not more than once a second."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline=pipeline)
            return
        last, last_timeout = self._last_beat
        if time.monotonic() - last < HEARTBEAT_SECONDS and (timeout or 0) == last_timeout:
            return
        with self.connection.pipeline(transaction=False) as beats:
            super().heartbeat(timeout, pipeline=beats)
            beats.execute()
        self._last_beat = (time.monotonic(), timeout or 0)

    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Store the worker's state, unless it is stored already."""
        if pipeline is None and state == self._stored_state:
            self._state = state
            return
        super().set_state(state, pipeline=pipeline)
        self._stored_state = state

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """RQ's start of a worker, and that of the thread that keeps claims alive."""
        self._patience.begin()
        super().bootstrap(*args, **kwargs)
        for name in SCRIPTS_OF_A_JOB:
            load_script(name)  # once here, and not in the process of every job
        self._heart.start()

    def teardown(self) -> None:
        """RQ's end of a worker; a job that is still in hand goes back first."""
        if not self.is_horse:
            self._patience.end_in(LAST_PATIENCE_SECONDS)
            self._heart.stop()
            self.give_back()
        super().teardown()


class Worker(WorkerMixin, RQWorker):
    """`rq.Worker` (a fork for each job) that loses no job and obeys controls."""


class SimpleWorker(WorkerMixin, RQSimpleWorker):
    """`rq.SimpleWorker` (jobs run in the worker's own process) that obeys controls."""


class SpawnWorker(WorkerMixin, RQSpawnWorker):
    """`rq.SpawnWorker` (a fresh process for each job) that loses no job and obeys controls."""

    def fork_work_horse(self, job: Job, queue: RQQueue) -> None:
        """Start the fresh process, which learns its claim from the environment."""
        held = self._held
        if held is not None:
            parts = (held.token.hex(), held.job_id, held.lane, held.crashes, held.running)
            os.environ[HELD_CLAIM_VARIABLE] = json.dumps(parts)
        super().fork_work_horse(job, queue)


def _held_of_parent(job: Job) -> HeldClaim | None:
    parts = json.loads(os.environ.get(HELD_CLAIM_VARIABLE, "[]"))
    if not parts or parts[1] != job.id:
        return None
    return HeldClaim(bytes.fromhex(parts[0]), *parts[1:])
