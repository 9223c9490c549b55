"""Heartbeats, counts and clocks beside RQ's own.

RQ writes into Redis until when a running job is thought alive, by the worker's own clock, and any
worker's maintenance fails or repeats the jobs whose time is over, by its own. A clock that is ahead
makes healthy jobs of others fail, one that is behind its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rq.exceptions import AbandonedJobError
from rq.utils import now
from rq.worker import BaseWorker

from shedder.engine.jobs import function_of, texts_of
from shedder.engine.workers import TOLERATED_SECONDS
from shedder.lanes import lane_of
from shedder.log_context import Troubles
from shedder.policy.applied import policy_copy
from shedder.queues.drain import count_end_of_drained
from shedder.queues.outcomes import ABANDONED, count_failed, count_well
from shedder.units import SHORTEST

if TYPE_CHECKING:
    from redis.client import Pipeline
    from rq.job import Job

    from shedder.policy.model import Rule
    from shedder.queues.claims import HeldClaim
    from shedder.store.keys import Keys


HEARTBEAT_SECONDS = 1.0


class BookkeepingMixin(BaseWorker):
    """RQ's bookkeeping with fewer round trips, and counts for each lane."""

    keys: Keys
    troubles: Troubles
    _lane = ""
    _under_limit: HeldClaim | None = None
    _drain = ""
    _ending: Job | None = None
    _exception: str | None = None
    _behind = 0.0
    _last_beat = (0.0, 0)
    _stored_state = ""

    def increment_successful_job_count(self, pipeline: Pipeline | None = None) -> None:
        """RQ's count, and those of the lane and of the label."""
        super().increment_successful_job_count(pipeline)
        ask = pipeline if pipeline is not None else self.connection
        if self._lane:
            count_well(ask, self.keys, self._lane, self._label_of(self._ending))
            self._settle(ask)

    def increment_failed_job_count(self, pipeline: Pipeline | None = None) -> None:
        """RQ's count, and those of the lane and of the label; a job that a person stopped has not failed."""
        super().increment_failed_job_count(pipeline)
        ask = pipeline if pipeline is not None else self.connection
        if self._lane:
            if self._exception is None:
                count_well(ask, self.keys, self._lane, self._label_of(self._ending))
            else:
                self._count_failure(ask, self._lane, self._ending, self._exception)
            self._settle(ask)

    def _note_end(self, job: Job, exception: str | None) -> None:
        """Say of which job the next end is, and which exception ended it; None when none did."""
        self._ending, self._exception = job, exception

    def _count_failure(self, ask: Any, lane: str, job: Job | None, exception: str) -> None:
        function = function_of(job) if job is not None else ""
        at_ms = int((time.time() + self._behind) * 1000)
        count_failed(ask, self.keys, lane, self._label_of(job), at_ms=at_ms, function=function, exception=exception)

    def _label_of(self, job: Job | None) -> str:
        """What the policy that this process knows calls `job`; empty when it does not say."""
        found = self._rule_for("label", job)
        return found.label if found is not None else ""

    def _work_of(self, job: Job) -> tuple[str, int]:
        """What that policy calls `job` and the milliseconds that it may wait; ("", 0) unless it says both."""
        label, rule = self._label_of(job), self._rule_for("tolerance", job)
        if not label or rule is None or rule.tolerance is None:
            return "", 0
        return label, rule.tolerance // SHORTEST

    def _rule_for(self, saying: str, job: Job | None) -> Rule | None:
        policy = policy_copy(self.connection).known[1]
        if job is None or not any(rule.label for rule in policy.rules):
            return None
        queue = lane_of(job.origin).queue
        found = policy.rule_for(saying, queue=queue, function=function_of(job), meta=texts_of(job))
        return found[1] if found is not None else None

    def _note_held(self, held: HeldClaim | None) -> None:
        """Note the claim with which the next job starts, for its end."""
        self._under_limit = held if held and held.running else None
        self._drain = held.drain if held else ""

    def _settle(self, ask: Any) -> None:
        """What the end of a job means for the limit and the drain under which it ran."""
        if self._under_limit is not None:
            ask.zrem(self._under_limit.running, self._under_limit.token)
        if self._drain:
            count_end_of_drained(ask, self.keys, self._lane, self._drain, is_failed=self._exception is not None)

    def is_silent_for(self, seconds: float) -> bool:
        """Whether the last heartbeat is at least `seconds` old."""
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


class SkewMixin(BookkeepingMixin):
    """A worker that knows by how much its clock is wrong."""

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """RQ's start of a worker."""
        self._look_at_clock()
        super().bootstrap(*args, **kwargs)

    def clean_registries(self) -> None:
        """RQ's search for abandoned jobs, which a worker whose clock is ahead leaves to others."""
        self._look_at_clock()
        if self._behind >= -TOLERATED_SECONDS:
            handlers = self._exc_handlers
            self._exc_handlers = [self._count_abandoned, *handlers]
            try:
                super().clean_registries()
            finally:
                self._exc_handlers = handlers
            self.troubles.end("clock", "Worker %s: this machine's clock is right again", self.name)
            return
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ gives it no type
        self.troubles.meet(
            "clock",
            "Worker %s: this machine's clock is %.0f s ahead of the server's; other workers look for abandoned jobs",
            self.name,
            -self._behind,
        )

    def _count_abandoned(self, job: Job, kind: type[BaseException], *_: object) -> None:
        """Called by RQ for each job whose worker died, before it fails or repeats the job."""
        if issubclass(kind, AbandonedJobError):
            with self.connection.pipeline() as pipeline:
                self._count_failure(pipeline, job.origin, job, ABANDONED)
                pipeline.execute()

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds until the job is thought abandoned, longer where this clock is behind."""
        return super().get_heartbeat_ttl(job, working_time) + max(int(self._behind), 0)

    def _look_at_clock(self) -> None:
        reply: Any = self.connection.time()
        seconds, microseconds = reply
        behind = seconds + microseconds / 1e6 - time.time()
        self._behind = behind if abs(behind) > TOLERATED_SECONDS else 0.0
