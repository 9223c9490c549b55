"""How does `pause --wait` wait, and what does it show meanwhile?"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shedder.cli.failures import trouble
from shedder.cli.progress import live_line, still_running_line
from shedder.errors import RedisUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shedder.cli.run import Run
    from shedder.records import RunningJob

RETRY_SECONDS = 0.5


def wait_for_running(
    run: Run, targets: Sequence[str], *, limit: timedelta | None
) -> tuple[RunningJob, ...]:
    """The jobs of `targets` that still run when `limit` is over; waits for a Redis that is away.

    Raises:
        RedisUnreachable: it is still away when `limit` is over.
    """
    deadline = time.monotonic() + limit.total_seconds() if limit else None
    with live_line(run.screen) as show:
        while True:
            try:
                return run.shedder.wait_until_idle(
                    *targets, timeout=_left(deadline), on_change=_shower(show)
                )
            except RedisUnreachable as error:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
                show(f"{trouble(error, run)}, trying again; {run.state}")
                time.sleep(RETRY_SECONDS)


def _left(deadline: float | None) -> timedelta | None:
    # Nothing left is no time limit to the facade, so there is always a little.
    return timedelta(seconds=max(deadline - time.monotonic(), 0.001)) if deadline else None


def _shower(show: Callable[[str], None]) -> Callable[[tuple[RunningJob, ...]], None]:
    def show_running(jobs: tuple[RunningJob, ...]) -> None:
        if jobs:
            show(still_running_line(jobs, datetime.now(UTC)))

    return show_running
