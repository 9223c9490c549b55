"""How is a drain followed to its end, and helped along where only stock workers serve?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shedder.cli.progress import DrainBar
from shedder.errors import RedisUnreachable, ServerBusy

if TYPE_CHECKING:
    from shedder.cli.run import Run
    from shedder.records import DrainProgress, DrainReceipt

STEP_SECONDS = 0.2
SETTLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DrainEnd:
    """How far a drain was when nobody looked any more.

    Attributes:
        progress: Its backlogs, one by one.
        took: How long it was watched.
        is_done: All backlogs are empty, or their drains were stopped.
    """

    progress: tuple[DrainProgress, ...]
    took: timedelta
    is_done: bool


def watch_drain(run: Run, receipt: DrainReceipt, *, limit: timedelta | None) -> DrainEnd:
    """Show the drain until it is done or `limit` is over; a Redis that is away is waited for.

    It is done as well when the backlogs have been empty for a while and the order still stands:
    it was told to stay, or no worker serves the lane and so nobody ends it.
    """
    began = empty_at = time.monotonic()
    progress: tuple[DrainProgress, ...] = ()
    with DrainBar(run.screen, backlog=receipt.backlog, rate=_pace_of_all(receipt)) as bar:
        while True:
            progress = _step(run, receipt, bar) or progress
            now = time.monotonic()
            if not progress or any(each.backlog for each in progress):
                empty_at = now
            is_done = bool(progress) and all(each.is_done for each in progress)
            is_done = is_done or now - empty_at >= SETTLE_SECONDS
            if is_done or (limit is not None and now - began >= limit.total_seconds()):
                return DrainEnd(progress, timedelta(seconds=now - began), is_done)
            time.sleep(STEP_SECONDS)


def _pace_of_all(receipt: DrainReceipt) -> float:
    filled = sum(lane.backlog > 0 for lane in receipt.lanes)
    return receipt.rate.per_second * max(filled, 1) if receipt.rate else 0.0


def _step(run: Run, receipt: DrainReceipt, bar: DrainBar) -> tuple[DrainProgress, ...]:
    try:
        if any(worker.is_stock for worker in receipt.workers):
            run.shedder.release_for_stock_workers(receipt)
        progress = run.shedder.drain_progress(receipt)
    except RedisUnreachable as error:
        what = "busy" if isinstance(error, ServerBusy) else "away"
        bar.say(f"Redis is {what}, trying again; the order stands")
        return ()
    bar.show(progress)
    return progress
