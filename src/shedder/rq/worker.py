"""A worker from its start to its end.

A worker claims a job (`lua/claim_job.lua`), prepares it, and asks the gate (`lua/start_job.lua`) in
the process that is about to run it (`rq/gate.py`). Until the gate is passed the job is nobody's but
the claim's, and a claim is given back: by its holder, or by any other worker once its lease has run
out.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import rq.job
import rq.worker
from redis.exceptions import ConnectionError  # noqa: A004 - redis-py's, not Python's

from shedder import __version__
from shedder.engine.names import check_worker, rq_keys
from shedder.lanes import serving_order
from shedder.log_context import Troubles, bind
from shedder.queues.maintenance import Upkeep
from shedder.rq.bookkeeping import SkewMixin
from shedder.rq.fetch import Fetch
from shedder.rq.gate import PerformingMixin, tell_fresh_process
from shedder.rq.lease import LeaseRenewer
from shedder.rq.outages import patient
from shedder.store.clients import look_up_driver_once
from shedder.store.store import Store, check_client, load_script
from shedder.units import format_duration

if TYPE_CHECKING:
    import redis


LAST_PATIENCE_SECONDS = 5.0
"""How long a worker that is to stop, and runs no job, waits for a Redis that is away."""

SILENCE_SECONDS = 30
"""A connection that is silent for this long is given up; none of ours waits for a third of it."""

COMMANDS_RETRY_SECONDS = 2.0
"""RQ's wait before a worker subscribes to its commands again."""

SAME_OUTAGE_SECONDS = 120.0
"""A failure to listen for commands that comes so soon after another is of the same outage."""

SCRIPTS_OF_A_JOB = ("claim_job", "start_job", "release_claim", "end_drained")


class WorkerMixin(PerformingMixin, SkewMixin):
    """Lanes, claims and controls for a class of RQ workers; put it first among the bases.

    ```python
    class OurWorker(WorkerMixin, TheirWorker): ...
    ```

    The worker serves all lanes of its queues in strict order of priority. It outlives a Redis that
    restarts, is busy, full or read-only. It loses no job, whatever kills it.
    """

    _commands_lost_at = -math.inf
    _is_listening = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_worker(self)
        self.keys = rq_keys()
        self.store = Store(self.connection, self.keys)
        self.troubles = Troubles(self.log)
        self.queues = self._lanes_of(self.queues)
        self._ordered_queues = self.queues[:]
        self._renewer = LeaseRenewer(self.connection, self.keys)
        self.upkeep = Upkeep(self.store, [queue.name for queue in self.queues])

    @property
    def connection_timeout(self) -> int:
        """Seconds; RQ must wait for as long as its BLPOP blocks, which is minutes."""
        return SILENCE_SECONDS

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        check_client(connection)
        client = patient(super()._set_connection(connection))
        look_up_driver_once(client.connection_pool)
        self._patience = client.patience
        return client

    def _lanes_of(self, queues: list[rq.Queue]) -> list[rq.Queue]:
        given = {queue.name: queue for queue in queues}
        return [self._lane_queue(given, name) for name in serving_order(given)]

    def _lane_queue(self, given: dict[str, rq.Queue], name: str) -> rq.Queue:
        model = given.get(name) or given[name.rpartition(".")[0]]
        lane = copy.copy(model)
        lane.name = name
        lane._key = f"{lane.redis_queue_namespace_prefix}{name}"
        lane.connection = self.connection
        return lane

    def serialize(self) -> dict[str, Any]:
        """What RQ stores of a worker, and that it is one of ours."""
        return {**super().serialize(), "shedder": __version__}

    # taking a job

    def check_for_suspension(self, burst: bool) -> None:
        """Nothing: the claim itself obeys `rq suspend`, so that none is taken after it."""

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[rq.job.Job, rq.Queue] | None:
        """The next job and its lane, or None when there is none and waiting is over."""
        self._held = None
        self.set_state(rq.worker.WorkerStatus.IDLE)
        found = Fetch(self, is_burst=timeout is None, max_idle_seconds=max_idle_time).next_job()
        if found is not None:
            job, lane = found
            self.reorder_queues(reference_queue=lane)
            job.redis_server_version = self.get_redis_server_version()
            what = job.description if self.log_job_description else ""
            bind(lane=lane.name, job=job.id)
            self.log.info("Worker %s: %s: %s (%s)", self.name, lane.name, what, job.id)
        return found

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Called by the signal that ends a worker politely."""
        # RQ logs and raises here, in the middle of whatever runs. Either may fail or be caught
        # there, as by a log line that is being written, and the worker would never stop: neither
        # between two looks for a job, nor while it tries to reach a Redis that is away.
        self._stop_requested = True
        if not self._is_busy:
            self._patience.end_in(LAST_PATIENCE_SECONDS)
        super().request_stop(signum, frame)

    def _shutdown(self) -> None:
        # A claim that is under way or in hand must not be lost sight of: `execute_job` gives it
        # back and stops.
        if self._renewer.is_claiming or (self._held is not None and not self._is_busy):
            return
        super()._shutdown()

    @property
    def _is_busy(self) -> bool:
        return bool(self.get_state() == rq.worker.WorkerStatus.BUSY)

    def register_birth(self) -> None:
        """RQ's record of a worker; a name that is taken is never taken over.

        Raises:
            ValueError: a worker of this name is on record, alive or killed lately; says until when.
        """
        seconds: Any = self.connection.ttl(self.key)
        if seconds > 0 and not self.connection.hexists(self.key, "death"):
            raise ValueError(
                f"There exists an active worker named {self.name!r} already. If it was killed, its record ends within "
                f"{format_duration(seconds)}; `shedder worker --name-prefix {self.name}` gives each start its own name."
            )
        super().register_birth()

    def subscribe(self) -> None:
        """Subscribe to this worker's channel, also when Redis goes away at this moment."""
        self._is_listening = True
        # a subscription is no command, which the client would send again
        self._patience.run(super().subscribe)

    def unsubscribe(self) -> None:
        """RQ's end of the subscription; the thread that listens is told first."""
        # else it often listens for more, and RQ waits for it, a second
        self._is_listening = False
        thread: Any = self.pubsub_thread
        if thread:
            thread.stop()
        super().unsubscribe()

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        # RQ closes the connection after a second; if this thread still reads from it, redis-py raises a TypeError
        if not self._is_listening:
            pubsub_thread.stop()
            return
        # RQ's writes a line every two seconds for as long as Redis is away
        before, self._commands_lost_at = self._commands_lost_at, time.monotonic()
        if isinstance(exc, ConnectionError) and self._commands_lost_at - before < SAME_OUTAGE_SECONDS:
            time.sleep(COMMANDS_RETRY_SECONDS)
        else:
            super()._pubsub_exception_handler(exc, pubsub, pubsub_thread)

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """RQ's start of a worker, and that of the thread that keeps claims alive."""
        self._patience.begin()
        super().bootstrap(*args, **kwargs)
        for name in SCRIPTS_OF_A_JOB:
            load_script(name)  # once here, and not in the process of every job
        self._renewer.start()

    def teardown(self) -> None:
        """RQ's end of a worker; a job that is still in hand goes back first."""
        if not self.is_horse:
            self._patience.end_in(LAST_PATIENCE_SECONDS)
            self._renewer.stop()
            self.give_back()
            self.stop_polling()
        super().teardown()


class Worker(WorkerMixin, rq.worker.Worker):
    """`rq.Worker` (a fork for each job) that loses no job and obeys controls."""


class SimpleWorker(WorkerMixin, rq.worker.SimpleWorker):
    """`rq.SimpleWorker` (jobs run in the worker's own process) that obeys controls."""


class FreshProcessMixin(WorkerMixin):
    """`WorkerMixin` for a class of workers whose jobs run in processes that are no forks."""

    def fork_work_horse(self, job: rq.job.Job, queue: rq.Queue) -> None:
        """Start the fresh process, which learns its claim, and how it introduces itself, from the environment."""
        tell_fresh_process(self._held)
        with _told_by_environment(self.connection.connection_pool.connection_kwargs):
            super().fork_work_horse(job, queue)  # type: ignore[misc]  # of the class beside it


@contextmanager
def _told_by_environment(settings: dict[str, Any]) -> Iterator[None]:
    """Let RQ write the passwords of `settings` into the command line of a process as names of variables.

    RQ starts the process with the text of the program that it runs, with the settings of the
    connection in it. Everybody on the machine may read a command line (`ps`), nobody but the user
    an environment.
    """
    hidden = {name: settings[name] for name in _SECRETS if type(settings.get(name)) is str}
    for name, secret in hidden.items():
        os.environ[_VARIABLE + name] = secret
        settings[name] = _FromEnvironment(secret, name)
    try:
        yield
    finally:
        settings.update(hidden)
        for name in hidden:
            os.environ.pop(_VARIABLE + name, None)


_SECRETS = ("username", "password", "ssl_password")
_VARIABLE = "_SHEDDER_REDIS_"


class _FromEnvironment(str):
    """A text that is written into a program as the variable from which it is read there."""

    _name: str

    def __new__(cls, value: str, name: str) -> Self:
        found = super().__new__(cls, value)
        found._name = name
        return found

    def __repr__(self) -> str:
        return f"os.environ.pop({_VARIABLE + self._name!r})"


class SpawnWorker(FreshProcessMixin, rq.worker.SpawnWorker):
    """`rq.SpawnWorker` (a fresh process for each job) that loses no job and obeys controls."""
