"""How is a divert carried out, when some of it takes several steps?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from shedder.backlog import LimitTerms, divert_lanes, free_slot, scan_lane
from shedder.backlog_steps import Undecided
from shedder.keys import Keys
from shedder.lanes import Lane
from shedder.records import Cause, DivertedLane, DivertReceipt
from shedder.rq.fleet import workers_of
from shedder.rq.pausing import fold
from shedder.rq.payload import function_name, meta_texts
from shedder.rq.progress import Progress, counter
from shedder.selection import Selection
from shedder.store import Store
from shedder.stored import text_of

SLOT_ROUNDS = 500
"""About half a second, where so many jobs wait one after the other for a slot of one limit."""

_OLD_ENOUGH = timedelta(days=36_500)


def divert(
    store: Store,
    keys: Keys,
    lanes: Sequence[Lane],
    selection: Selection,
    cause: Cause,
    *,
    order: str,
    terms: LimitTerms | None = None,
    undoes: str = "",
    on_progress: Progress | None = None,
) -> DivertReceipt:
    """Set a divert (with `terms` a limit) on `lanes` and move what waits in them already."""
    done = store.run(
        divert_lanes(keys, lanes, selection, cause, order=order, terms=terms, undoes=undoes)
    )
    diverted = tuple(DivertedLane(*lane) for lane in done.lanes)
    if selection.is_whole:
        free_slots(store, keys, [lane.lane for lane in diverted])
    else:
        total = sum(lane.waiting for lane in diverted)
        diverted = _scan_all(store, keys, diverted, selection, cause, counter(on_progress, total))
    workers = workers_of(store, keys, [lane.lane for lane in diverted])
    return DivertReceipt(
        done.event, done.at, selection, diverted, workers, rate=terms.rate if terms else None,
        most=terms.most if terms else None, replaced=done.replaced,
    )  # fmt: skip


def scan(
    store: Store,
    keys: Keys,
    lane: str,
    order: str,
    selection: Selection,
    cause: Cause,
    *,
    on_step: Callable[[int], None] | None = None,
) -> int:
    """Move the waiting jobs of `lane` that `order` takes to its backlog; how many.

    It may be run by several at once, and again after one that died: each step is whole.
    """
    fold(store, keys, lane)
    operation = uuid4().hex
    judged: list[tuple[str, bool]] = []
    moved = step = 0
    while True:
        step += 1
        done = store.run(
            scan_lane(keys, lane, order, cause, operation=operation, step=step, judged=judged)
        )
        moved += done.moved
        if on_step is not None:
            on_step(done.looked_at)
        if done.state != "more":
            fold(store, keys, lane)
            return moved
        judged = [(job.job_id, judge(job, selection)) for job in done.undecided]


def judge(job: Undecided, selection: Selection) -> bool:
    """Whether `selection` takes a job of a stock producer; its age was judged by the script.

    A job whose data nobody can read here stays: the worker, which can, decides before it starts.
    """
    return selection.matches(
        function=function_name(job.data), meta=meta_texts(job.meta) or {}, age=_OLD_ENOUGH
    )


def free_slots(store: Store, keys: Keys, lanes: Sequence[str]) -> None:
    """Free the slots of RQ's own rate limits that jobs hold which went to a backlog as a whole.

    For each slot RQ's next job of that limit is promoted, often into the same lane: so again, until
    a slot has gone elsewhere. What is left after `SLOT_ROUNDS` the upkeep goes on with.
    """
    for _ in range(SLOT_ROUNDS):
        held = _slots_held(store, keys, lanes)
        if not sum(store.run(free_slot(keys, job, limit)) for job, limit in held):
            return


def _slots_held(store: Store, keys: Keys, lanes: Sequence[str]) -> list[tuple[str, str]]:
    """The jobs of `lanes` that hold a slot, and the limit it is of."""
    limits = store.read(lambda ask: ask.smembers(keys.engine.limit_keys))[0]
    names = [text_of(name) for name in limits]
    if not names:
        return []
    allowed = store.read(
        lambda ask: [ask.zrange(f"{keys.engine.limits}{name}:allowed", 0, -1) for name in names]
    )
    held = [(text_of(job), name) for name, jobs in zip(names, allowed, strict=True) for job in jobs]
    if not held:
        return []
    origins = store.read(
        lambda ask: [ask.hget(keys.engine.jobs + job, "origin") for job, _ in held]
    )
    return [
        each
        for each, origin in zip(held, origins, strict=True)
        if origin is not None and text_of(origin) in lanes
    ]


def _scan_all(
    store: Store,
    keys: Keys,
    lanes: Sequence[DivertedLane],
    selection: Selection,
    cause: Cause,
    on_step: Callable[[int], None],
) -> tuple[DivertedLane, ...]:
    return tuple(
        _scanned(store, keys, lane, selection, cause, on_step) if lane.waiting else lane
        for lane in lanes
    )


def _scanned(
    store: Store,
    keys: Keys,
    lane: DivertedLane,
    selection: Selection,
    cause: Cause,
    on_step: Callable[[int], None],
) -> DivertedLane:
    before = _in_backlog(store, keys, lane)
    counted = scan(store, keys, lane.lane, lane.order, selection, cause, on_step=on_step)
    # the claims of workers divert too, and another operator may: the lists know better than we do
    moved = max(counted, _in_backlog(store, keys, lane) - before)
    left = store.read(lambda ask: [ask.llen(part) for part in keys.lane(lane.lane)[:3]])
    return replace(lane, moved=moved, waiting=sum(left))


def _in_backlog(store: Store, keys: Keys, lane: DivertedLane) -> int:
    parts = keys.backlog(lane.order, lane.lane)
    return sum(store.read(lambda ask: [ask.llen(part) for part in parts]))
