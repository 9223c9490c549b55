"""The claim that a worker holds, and the thread that renews its lease.

A claim has a lease, and an import may take longer. A thread renews the lease for as long as the
process lives; it is silent while no claim is in hand. A frozen process is silent too: its claim
goes to another worker, and the gate refuses it when it thaws.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rq.defaults
import rq.job
from redis import Redis, exceptions

from shedder.log_context import Troubles, ids_of
from shedder.queues.claims import CLAIMS_PER_STEP, HeldClaim, hand_over_polling, list_claims, release_claim, renew_claim
from shedder.queues.maintenance import Upkeep
from shedder.queues.outcomes import UNREADABLE
from shedder.rq.bookkeeping import BookkeepingMixin
from shedder.rq.outages import RetryPolicy
from shedder.store.keys import Keys
from shedder.store.store import Store, load_script

RENEW_SECONDS = 5.0
"""A live worker that still prepares its job gives a sign of life this often."""

NO_TEXT = "\ufffd"
"""Stands in an id for bytes that are no text."""


class HoldingMixin(BookkeepingMixin):
    """Holds the one claim of a worker: keeps its lease alive, and gives its job back unused.

    The worker's `LeaseRenewer` renews the lease for as long as a claim is held.
    """

    store: Store
    upkeep: Upkeep
    _renewer: LeaseRenewer
    _held: HeldClaim | None = None
    _polled: tuple[str, ...] = ()
    _patience: RetryPolicy

    def hold(self, held: HeldClaim | None) -> None:
        """Note the claim that this worker must use or give back; None for none."""
        self._held = held
        self._renewer.hold(held)

    def give_back(self, *, is_crash: bool = False) -> bool:
        """Return the job in hand to the front of its lane; False when it was not ours any more."""
        held, self._held = self._held, None
        self._renewer.hold(None)
        if held is None:
            return False
        return self.store.execute(release_claim(self.keys, held.token, is_crash=is_crash))

    def give_back_unheard(self) -> int:
        """Return what was claimed for this worker in replies that it never got; how many jobs.

        Nobody else would before the lease is over. A worker has no other claim than that in hand.
        """
        held = self._held.token if self._held is not None else b""
        latest = list_claims(self.keys, first=-CLAIMS_PER_STEP, starting=0)
        unheard = [
            claim.token for claim in self.store.execute(latest) if claim.worker == self.name and claim.token != held
        ]
        return sum(self.store.execute(release_claim(self.keys, token)) for token in unheard)

    def note_polled(self, lanes: tuple[str, ...]) -> None:
        """Note the lanes whose poller this worker may become by its next claim."""
        self._polled = lanes

    def stop_polling(self) -> None:
        """Hand the polling over, also when no claim said that this worker is the poller.

        A claim whose reply it never read may have made it so.
        """
        if self._polled:
            lanes, self._polled = self._polled, ()
            self.store.execute(hand_over_polling(self.keys, lanes, worker=self.name))

    def wait_while_suspended(self, burst: bool) -> None:
        """RQ's own waiting for `rq resume`."""
        super().check_for_suspension(burst)

    def fail_unreadable(self, job_id: str, lane: rq.Queue, error: Exception) -> None:
        """Fail a job that cannot be read, so that a person finds it among the failed ones."""
        held, self._held = self._held, None
        self._renewer.hold(None)
        sentence = f"shedder could not read this job: {error}"
        fields: dict[Any, Any] = {
            "status": rq.job.JobStatus.FAILED,
            "exc_info": zlib.compress(sentence.encode("utf-8", "replace")),
        }
        with self.connection.pipeline() as pipeline:
            if NO_TEXT not in job_id:  # an id that is no text has no name to write it under
                pipeline.hset(self.keys.engine.jobs + job_id, mapping=fields)
                pipeline.zadd(lane.failed_job_registry.key, {job_id: time.time() + rq.defaults.DEFAULT_FAILURE_TTL})
                self._count_failure(pipeline, lane.name, None, UNREADABLE)
            if held is not None:
                pipeline.zrem(self.keys.claims, held.token)
            pipeline.execute()


logger = logging.getLogger("shedder.worker")


class LeaseRenewer:
    """Renews the lease of a worker's claim every few seconds, from a thread of its own.

    The thread has a connection of its own, and is silent while no claim is held.
    """

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._held: HeldClaim | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_claiming = False
        self._troubles = Troubles(logger)

    def hold(self, held: HeldClaim | None) -> None:
        """Keep this claim alive from now on, or none."""
        self._held = held

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """While a claim is under way, a signal must wait for its reply."""
        self.is_claiming = True
        try:
            yield
        finally:
            self.is_claiming = False

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="shedder-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def _run(self) -> None:
        # A connection of its own: a fork in the middle of a renewal must not copy a pool's held
        # lock, and a pool that is just large enough for RQ has none to give.
        pool = self._client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        while not self._ended.wait(RENEW_SECONDS):
            held = self._held
            if held is not None:
                self._renew(connection, held)
        connection.disconnect()

    def _renew(self, connection: Any, held: HeldClaim) -> None:
        command = renew_claim(self._keys, held.token)
        text = load_script(command.script).text
        try:
            connection.send_command("EVAL", text, len(command.keys), *command.keys, *command.args)
            connection.read_response()
        except (exceptions.RedisError, OSError) as error:
            connection.disconnect()
            ids = ids_of(lane=held.lane, job=held.job_id)
            self._troubles.meet("claims", "the claim of job %s was not renewed: %s", held.job_id, error, extra=ids)
        else:
            self._troubles.end("claims", "claims are renewed again")
