"""How does a backlog get back into its lane, all at once?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import uuid4

from shedder.backlog import restore_lane
from shedder.keys import Keys
from shedder.records import Cause, RestoredLane
from shedder.rq.pausing import fold
from shedder.rq.progress import Progress
from shedder.store import Store

Backlog = tuple[str, str, int]
"""A lane, the id of the order, and the jobs in its backlog."""


def restore(
    store: Store,
    keys: Keys,
    backlogs: Sequence[Backlog],
    cause: Cause,
    *,
    undoes: str = "",
    set_by: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> tuple[tuple[str, ...], tuple[RestoredLane, ...]]:
    """Put `backlogs` back where their jobs were; the events, and what was done to each.

    With `set_by`, of each lane only an order that is as the event of that id has set it.
    """
    total = sum(jobs for _, _, jobs in backlogs)
    events, lanes, finished = [], [], 0
    for lane, order, _ in backlogs:
        known = set_by[lane] if set_by else ""
        event, restored = restore_one(store, keys, lane, order, cause, undoes=undoes, set_by=known)
        finished += restored
        if on_progress is not None:
            on_progress(min(finished, total), total)
        if event:
            events.append(event)
            lanes.append(RestoredLane(lane, order, restored))
    return tuple(events), tuple(lanes)


def restore_one(
    store: Store, keys: Keys, lane: str, order: str, cause: Cause, *, undoes: str = "",
    set_by: str = "",
) -> tuple[str, int]:  # fmt: skip
    """Put one backlog back, in bounded steps; its event (empty: no such order) and the jobs."""
    operation = uuid4().hex
    restored = step = 0
    while True:
        step += 1
        done = store.run(
            restore_lane(
                keys, lane, order, cause,
                operation=operation, step=step, undoes=undoes, set_by=set_by,
            )
        )  # fmt: skip
        restored += done.restored
        if done.state == "fold":
            fold(store, keys, lane)
        elif done.state != "more":
            fold(store, keys, lane)
            return done.event, restored
