"""How far is a drain, and who releases jobs where only stock workers serve?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from shedder.drain import progress_from, release_backlog
from shedder.keys import Keys
from shedder.records import DrainProgress
from shedder.rq.fleet import workers_of
from shedder.store import Store
from shedder.stored import diverts_from

STARTS_AHEAD_SECONDS = 2.0
"""Stock workers get at most what the rate allows in so long, before any of it has started."""

LEAST_RELEASED = 2
"""For each stock worker: one that it runs, and one that it finds next."""


def drain_progress(
    store: Store, keys: Keys, backlogs: Sequence[tuple[str, str]]
) -> tuple[DrainProgress, ...]:
    """How far the drains of `backlogs` (lane and order each) are, in one round trip."""
    if not backlogs:
        return ()

    def ask_all(ask: Any) -> None:
        for lane, order in backlogs:
            _ask_progress(ask, keys, lane, order)

    replies = store.read(ask_all)
    rows = [replies[first : first + 6] for first in range(0, len(replies), 6)]
    return tuple(_progress(*each, row) for each, row in zip(backlogs, rows, strict=True))


def release_for_stock_workers(
    store: Store, keys: Keys, backlogs: Sequence[tuple[str, str, float]]
) -> None:
    """One step for each of `backlogs` (lane, order, jobs a second) without a worker of ours."""
    workers = workers_of(store, keys, [lane for lane, _, _ in backlogs])
    ours = {lane for worker in workers if not worker.is_stock for lane in worker.lanes}
    stock = Counter(lane for worker in workers if worker.is_stock for lane in worker.lanes)
    for lane, order, per_second in backlogs:
        if stock[lane] and lane not in ours:
            cap = max(LEAST_RELEASED * stock[lane], int(per_second * STARTS_AHEAD_SECONDS))
            store.run(release_backlog(keys, lane, order, cap=cap))


def _ask_progress(ask: Any, keys: Keys, lane: str, order: str) -> None:
    for part in keys.backlog(order, lane):
        ask.llen(part)
    ask.hgetall(keys.drain(order, lane))
    ask.lrange(keys.skipped(order, lane), 0, 99)
    ask.hget(keys.diverts, lane)


def _progress(lane: str, order: str, row: Sequence[Any]) -> DrainProgress:
    *parts, counts, names, record = row
    standing = [each for each in diverts_from(lane, record) if each.divert.order == order]
    is_done = not standing or standing[0].divert.drain is None
    return progress_from(lane, order, parts, counts, names, is_done=is_done)
