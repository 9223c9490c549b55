"""What does a worker write down of itself and of its lanes, beside RQ's own?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rq.worker import BaseWorker

if TYPE_CHECKING:
    from redis.client import Pipeline

    from shedder.keys import Keys
    from shedder.rq.claims import HeldClaim

HEARTBEAT_SECONDS = 1.0


class BookkeepingMixin(BaseWorker):
    """RQ's bookkeeping with fewer round trips, and counts for each lane."""

    keys: Keys
    _lane = ""
    _under_limit: HeldClaim | None = None
    _last_beat = (0.0, 0)
    _stored_state = ""

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
