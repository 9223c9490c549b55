"""Which claim does a worker hold, and how does it let go of the job?"""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

from rq.defaults import DEFAULT_FAILURE_TTL
from rq.job import JobStatus

from shedder.rq.bookkeeping import BookkeepingMixin
from shedder.rq.claims import HeldClaim, leave_lookout, release_claim
from shedder.rq.running import CLAIMS_PER_STEP, list_claims

if TYPE_CHECKING:
    from rq.queue import Queue as RQQueue

    from shedder.rq.heart import Heart
    from shedder.rq.patience import Patience
    from shedder.rq.upkeep import Upkeep
    from shedder.store import Store

NO_TEXT = "\ufffd"
"""Stands in an id for bytes that are no text."""


class HoldingMixin(BookkeepingMixin):
    """A worker with at most one claim in hand, which its heart keeps alive."""

    store: Store
    upkeep: Upkeep
    _heart: Heart
    _held: HeldClaim | None = None
    _looks_for: tuple[str, ...] = ()
    _patience: Patience

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

    def give_back_unheard(self) -> int:
        """Return what was claimed for this worker in replies that it never got; how many jobs.

        Nobody else would before the lease is over. A worker has no other claim than that in hand.
        """
        held = self._held.token if self._held is not None else b""
        latest = list_claims(self.keys, first=-CLAIMS_PER_STEP, starting=0)
        unheard = [
            claim.token
            for claim in self.store.execute(latest)
            if claim.worker == self.name and claim.token != held
        ]
        return sum(self.store.execute(release_claim(self.keys, token)) for token in unheard)

    def note_lookout(self, lanes: tuple[str, ...]) -> None:
        """Keep in mind for which lanes this worker may be put on lookout by its next claim."""
        self._looks_for = lanes

    def end_lookout(self) -> None:
        """Leave the lookout, on it or not: a claim whose end it never saw may have put it there."""
        if self._looks_for:
            lanes, self._looks_for = self._looks_for, ()
            self.store.execute(leave_lookout(self.keys, lanes, worker=self.name))

    def wait_while_suspended(self, burst: bool) -> None:
        """RQ's own waiting for `rq resume`."""
        super().check_for_suspension(burst)

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
