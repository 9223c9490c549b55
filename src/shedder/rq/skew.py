"""What if a worker's clock is wrong? RQ's bookkeeping must not suffer from it.

RQ writes into Redis until when a running job is thought alive, by the worker's own clock, and any
worker's maintenance fails or repeats the jobs whose time is over, by its own. A clock that is ahead
makes healthy jobs of others fail, one that is behind its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rq.utils import now
from rq.worker import BaseWorker

if TYPE_CHECKING:
    from rq.job import Job

TOLERATED_SECONDS = 10.0
"""RQ leaves at least 60 s between a sign of life and its end."""


class SkewMixin(BaseWorker):
    """A worker that knows by how much its clock is wrong."""

    _behind = 0.0

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """RQ's start of a worker."""
        self._look_at_clock()
        super().bootstrap(*args, **kwargs)

    def clean_registries(self) -> None:
        """RQ's search for abandoned jobs, which a worker whose clock is ahead leaves to others."""
        self._look_at_clock()
        if self._behind >= -TOLERATED_SECONDS:
            super().clean_registries()
            return
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ gives it no type
        self.log.warning(
            "Worker %s: this machine's clock is %.0f s ahead of the server's; other workers look"
            " for abandoned jobs",
            self.name,
            -self._behind,
        )

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds until the job is thought abandoned, longer where this clock is behind."""
        return super().get_heartbeat_ttl(job, working_time) + max(int(self._behind), 0)

    def _look_at_clock(self) -> None:
        reply: Any = self.connection.time()
        seconds, microseconds = reply
        behind = seconds + microseconds / 1e6 - time.time()
        self._behind = behind if abs(behind) > TOLERATED_SECONDS else 0.0
