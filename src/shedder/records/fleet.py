"""Who works, and on what?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker that serves a lane.

    Attributes:
        name: Its name in RQ.
        lanes: Names of the lanes (RQ queues) that it serves.
        is_stock: It is a worker without shedder: it obeys no control.
        state: RQ's state of it (`busy`, `idle`, ...).
        host: Where it runs; empty when RQ does not say.
    """

    name: str
    lanes: tuple[str, ...]
    is_stock: bool
    state: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that runs now.

    Attributes:
        job_id: Its id.
        lane: The lane it came from.
        worker: Name of the worker that runs it; empty when RQ does not say.
        since: When it started (worker's clock, UTC); None when RQ does not say.
        function: What it runs; empty when its data cannot be read.
        is_certain: False when its process has passed the gate and has not been heard of since: it
            may have been frozen before the first line of the function.
    """

    job_id: str
    lane: str
    worker: str = ""
    since: datetime | None = None
    function: str = ""
    is_certain: bool = True
