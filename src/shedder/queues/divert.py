"""Divert and scan: commands, flow, receipts.

A divert of everything is one step. A subset takes a scan, in bounded steps, which anybody may
continue; what it has not reached the claim diverts, because the order stands from the first step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import uuid4

from shedder.engine.jobs import function_name, meta_texts
from shedder.engine.workers import WorkerSeen, workers_of
from shedder.events import Cause, event_head
from shedder.lanes import Lane
from shedder.queues.controls import LimitTerms, StartsLimit, rate_or_none, starts_limit_from
from shedder.queues.pause import fold
from shedder.selection import Selection
from shedder.store.codec import NO_TIME, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.operation import Progress, counter
from shedder.store.store import Command, Store
from shedder.units import Rate

SLOT_ROUNDS = 500
"""About half a second, where so many jobs wait one after the other for a slot of one limit."""

_OLD_ENOUGH = timedelta(days=36_500)


def divert(
    store: Store,
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
        divert_lanes(store.keys, lanes, selection, cause, order=order, terms=terms, undoes=undoes)
    )
    diverted = tuple(DivertedLane(*lane) for lane in done.lanes)
    if selection.is_whole:
        free_slots(store, [lane.lane for lane in diverted])
    else:
        total = sum(lane.waiting for lane in diverted)
        diverted = _scan_all(store, diverted, selection, cause, counter(on_progress, total))
    workers = workers_of(store, [lane.lane for lane in diverted])
    return DivertReceipt(
        done.event, done.at, selection, diverted, workers, rate=terms.rate if terms else None,
        most=terms.most if terms else None, replaced=done.replaced,
    )  # fmt: skip


def scan(
    store: Store,
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
    fold(store, lane)
    operation = uuid4().hex
    judged: list[tuple[str, bool]] = []
    moved = step = 0
    while True:
        step += 1
        done = store.run(
            scan_lane(store.keys, lane, order, cause, operation=operation, step=step, judged=judged)
        )
        moved += done.moved
        if on_step is not None:
            on_step(done.looked_at)
        if done.state != "more":
            fold(store, lane)
            return moved
        judged = [(job.job_id, judge(job, selection)) for job in done.undecided]


def judge(job: Undecided, selection: Selection) -> bool:
    """Whether `selection` takes a job of a stock producer; its age was judged by the script.

    A job whose data nobody can read here stays: the worker, which can, decides before it starts.
    """
    return selection.matches(
        function=function_name(job.data), meta=meta_texts(job.meta) or {}, age=_OLD_ENOUGH
    )


def free_slots(store: Store, lanes: Sequence[str]) -> None:
    """Free the slots of RQ's own rate limits that jobs hold which went to a backlog as a whole.

    For each slot RQ's next job of that limit is promoted, often into the same lane: so again, until
    a slot has gone elsewhere. What is left after `SLOT_ROUNDS` the upkeep goes on with.
    """
    for _ in range(SLOT_ROUNDS):
        held = _slots_held(store, lanes)
        if not sum(store.run(free_slot(store.keys, job, limit)) for job, limit in held):
            return


def _slots_held(store: Store, lanes: Sequence[str]) -> list[tuple[str, str]]:
    """The jobs of `lanes` that hold a slot, and the limit it is of."""
    limits = store.read(lambda ask: ask.smembers(store.keys.engine.limit_keys))[0]
    names = [text_of(name) for name in limits]
    if not names:
        return []
    allowed = store.read(
        lambda ask: [
            ask.zrange(f"{store.keys.engine.limits}{name}:allowed", 0, -1) for name in names
        ]
    )
    held = [(text_of(job), name) for name, jobs in zip(names, allowed, strict=True) for job in jobs]
    if not held:
        return []
    origins = store.read(
        lambda ask: [ask.hget(store.keys.engine.jobs + job, "origin") for job, _ in held]
    )
    return [
        each
        for each, origin in zip(held, origins, strict=True)
        if origin is not None and text_of(origin) in lanes
    ]


def _scan_all(
    store: Store,
    lanes: Sequence[DivertedLane],
    selection: Selection,
    cause: Cause,
    on_step: Callable[[int], None],
) -> tuple[DivertedLane, ...]:
    return tuple(
        _scanned(store, lane, selection, cause, on_step) if lane.waiting else lane for lane in lanes
    )


def _scanned(
    store: Store,
    lane: DivertedLane,
    selection: Selection,
    cause: Cause,
    on_step: Callable[[int], None],
) -> DivertedLane:
    before = _in_backlog(store, lane)
    counted = scan(store, lane.lane, lane.order, selection, cause, on_step=on_step)
    # the claims of workers divert too, and another operator may: the lists know better than we do
    moved = max(counted, _in_backlog(store, lane) - before)
    left = store.read(lambda ask: [ask.llen(part) for part in store.keys.lane(lane.lane)[:3]])
    return replace(lane, moved=moved, waiting=sum(left))


def _in_backlog(store: Store, lane: DivertedLane) -> int:
    parts = store.keys.backlog(lane.order, lane.lane)
    return sum(store.read(lambda ask: [ask.llen(part) for part in parts]))


JOBS_PER_STEP = 100
"""Jobs that one step of a scan looks at: about 0.3 ms of the server.

Whoever asks in the meantime waits for one step. A larger one is not much faster: a step and the
way to its caller and back cost what about fifty jobs cost.
"""

UNDECIDED_PER_STEP = 500
"""Jobs of stock producers whose data one step hands to the caller."""

Judge = Callable[[bytes, bytes], bool]
"""Says from a job's data (its first bytes) and its meta whether an order takes it."""


def divert_lanes(
    keys: Keys,
    lanes: Sequence[Lane],
    selection: Selection,
    cause: Cause,
    *,
    order: str,
    terms: LimitTerms | None = None,
    operation: str = "",
    undoes: str = "",
) -> Command[DivertSet]:
    """Set a divert, or a limit with `terms`; `order` is its operation unless that has an id."""
    names = tuple(lane.name for lane in lanes)
    record = record_of(selection)
    what = {"order": order, "selection": selection.describe(), "undoes": undoes}
    verb = "limit start" if terms else "divert"
    head = event_head(verb, cause, names, **what, **(terms.describe() if terms else {}))
    bucket = keys.limit_bucket(order)
    lane_keys = tuple(
        key
        for name in names
        for key in (
            *keys.lane(name),
            *keys.backlog(order, name),
            bucket if terms else keys.drain(order, name),
            keys.skipped(order, name),
            keys.running(order),
        )
    )
    return Command(
        "divert_lanes",
        (keys.diverts, keys.events, keys.operation(operation or order), *lane_keys),
        ("divert", head, order, cause.by, cause.why, record,
         terms.to_json() if terms else "", terms.duration_ms if terms else 0, *names),
        lambda reply: _divert_set(reply, names),
    )  # fmt: skip


def scan_lane(
    keys: Keys,
    lane: str,
    order: str,
    cause: Cause,
    *,
    operation: str,
    step: int,
    judged: Sequence[tuple[str, bool]] = (),
) -> Command[ScanStep]:
    """One step of the scan of `lane` for `order`."""
    head = head_of_step("scan", cause, lane, order, "")
    decisions = tuple(
        part for job, taken in judged for part in (job.encode("utf-8", _AS_IS), int(taken))
    )
    return Command(
        "scan_lane",
        (keys.pauses, keys.diverts, keys.events, keys.operation(operation), *keys.lane(lane),
         keys.engine.limit_keys, keys.lane_lease(lane)),
        (f"scan {lane} {step}", head, lane, order, JOBS_PER_STEP, UNDECIDED_PER_STEP,
         *keys.engine.script_prefixes, *decisions),
        _scan_step,
    )  # fmt: skip


def set_back_orders(
    keys: Keys,
    ways: Mapping[str, Mapping[str, Any]],
    head: str,
    *,
    operation: str,
) -> Command[OrdersSetBack]:
    """Give orders back what they said; `ways` has by lane and order what the script takes."""
    said = tuple(part for lane, way in ways.items() for part in (lane, json.dumps(way)))
    return Command(
        "set_back_orders",
        (keys.diverts, keys.events, keys.operation(operation),
         *(key for lane in ways for key in keys.lane(lane))),
        ("set back", head, *said),
        _orders_set_back,
    )  # fmt: skip


def free_slot(keys: Keys, job_id: str, limit: str) -> Command[bool]:
    """Free the slot of RQ's own rate limit `limit` that a diverted job holds."""
    return Command(
        "free_slot",
        (keys.diverts, keys.engine.jobs + job_id),
        (job_id, limit, *keys.engine.script_prefixes),
        bool,
    )


@lru_cache(maxsize=64)
def record_of(selection: Selection) -> str:
    """What the scripts take of a selection."""
    return json.dumps(selection.to_record(), sort_keys=True)


@lru_cache(maxsize=64)
def head_of_step(verb: str, cause: Cause, lane: str, order: str, undoes: str) -> str:
    """The head of the event that a step of a scan or a restore may write."""
    # the same for thousands of steps, and as much work as the rest of the command
    return event_head(verb, cause, (lane,), order=order, undoes=undoes)


def _divert_set(reply: list[Any], names: tuple[str, ...]) -> DivertSet:
    event, at, *rest = reply
    lanes = tuple(
        (name, text_of(order), int(moved), int(waiting))
        for name, order, moved, waiting in zip(
            names, rest[::4], rest[1::4], rest[2::4], strict=True
        )
    )
    replaced = tuple(
        starts_limit_from(name, json.loads(text))
        for name, text in zip(names, rest[3::4], strict=True)
        if text
    )
    return DivertSet(text_of(event), time_from_ms(int(at)), lanes, replaced)


def _orders_set_back(reply: list[Any]) -> OrdersSetBack:
    state, *rest = reply
    if text_of(state) != "done":
        return OrdersSetBack(text_of(state), lane=text_of(rest[0]), by=text_of(rest[1]))
    event, at, *numbers = rest
    orders = tuple(
        OrderSetBack(
            lane=text_of(lane),
            order=text_of(order),
            backlog=int(backlog),
            waiting=int(waiting),
            rate=rate_or_none(float(rate)),
            limit=starts_limit_from(text_of(lane), json.loads(limit)) if limit else None,
        )
        for lane, order, backlog, waiting, rate, limit in zip(
            *(numbers[first::6] for first in range(6)), strict=True
        )
    )
    return OrdersSetBack("done", text_of(event), time_from_ms(int(at)), orders)


_AS_IS = "surrogateescape"
"""An id that comes back as something else would be asked about for ever."""


def _scan_step(reply: list[Any]) -> ScanStep:
    state, moved, looked_at, *rest = reply
    undecided = tuple(
        Undecided(bytes(job).decode("utf-8", _AS_IS), bytes(data), bytes(meta))
        for job, data, meta in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    )
    return ScanStep(text_of(state), int(moved), int(looked_at), undecided)


@dataclass(frozen=True, slots=True)
class DivertSet:
    """A divert that is in force now.

    Attributes:
        event: Id of its event.
        at: Server's clock, UTC.
        lanes: For each lane its name, the id of the order in force, jobs moved, jobs left to scan.
        replaced: The limits that were changed.
    """

    event: str
    at: datetime
    lanes: tuple[tuple[str, str, int, int], ...]
    replaced: tuple[StartsLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderSetBack:
    """An order on one lane that says again what it said before.

    Attributes:
        lane: Name of the lane.
        order: Id of the order.
        backlog: Jobs in its backlog.
        waiting: Jobs that wait in the lane.
        rate: The rate of its drain until now; None when it did not drain.
        limit: As a limit, what it said until now.
    """

    lane: str
    order: str
    backlog: int
    waiting: int
    rate: Rate | None = None
    limit: StartsLimit | None = None


@dataclass(frozen=True, slots=True)
class OrdersSetBack:
    """Orders that are as they were before an event, or why they are not.

    Attributes:
        state: `done`, `changed` (somebody has changed one since), `over` (a limit would have ended
            by now) or `ended` (none of them stands any more).
        event: Id of its event; empty unless it is done.
        at: Server's clock, UTC.
        orders: What was done to each.
        lane: The lane that keeps it from being done.
        by: Who has changed that lane since, as far as it is known.
    """

    state: str
    event: str = ""
    at: datetime = NO_TIME
    orders: tuple[OrderSetBack, ...] = ()
    lane: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Undecided:
    """A job that a script cannot judge.

    Attributes:
        job_id: Its id; bytes that are no text stand in it as half characters.
        data: The first bytes of its serialized data.
        meta: Its serialized meta, `?` when that is too long.
        enqueued_at: When it was enqueued, as RQ writes it; empty when not asked for.
    """

    job_id: str
    data: bytes
    meta: bytes
    enqueued_at: str = ""


@dataclass(frozen=True, slots=True)
class ScanStep:
    """What one step of a scan did.

    Attributes:
        state: `more`, `done` or `ended` (there is no such order any more).
        moved: Jobs moved to the backlog.
        looked_at: Jobs looked at.
        undecided: Jobs that the next step needs a judgement of.
    """

    state: str
    moved: int
    looked_at: int
    undecided: tuple[Undecided, ...]


@dataclass(frozen=True, slots=True)
class DivertReceipt:
    """What `divert` or `limit_starts` did.

    Attributes:
        event: Id of its event; `undo` takes it.
        at: When it was in force (server's clock, UTC).
        selection: Which jobs it takes.
        lanes: The lanes, one by one.
        workers: The workers that serve these lanes, stock ones among them.
        rate: As a limit, at most so many starts; None without a pace.
        most: As a limit, at most so many jobs that run at once; None without such a bound.
        replaced: As a limit, what it said before, on the lanes where it stood already.
    """

    event: str
    at: datetime
    selection: Selection
    lanes: tuple[DivertedLane, ...]
    workers: tuple[WorkerSeen, ...] = ()
    rate: Rate | None = None
    most: int | None = None
    replaced: tuple[StartsLimit, ...] = ()

    @property
    def moved(self) -> int:
        """Jobs moved to backlogs in all."""
        return sum(lane.moved for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class DivertedLane:
    """What `divert` did to one lane.

    Attributes:
        lane: Its name.
        order: Id of the order in force: an older one when the same divert stood already.
        moved: Jobs moved to the backlog now.
        waiting: Jobs left in the lane.
    """

    lane: str
    order: str
    moved: int
    waiting: int
