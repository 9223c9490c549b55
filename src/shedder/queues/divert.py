"""Divert and scan: commands, flow, receipts.

A divert of everything is one step. A part of the jobs takes a scan in bounded steps, which any
process may continue. A claim diverts what the scan has not reached, because the order stands from
the first step on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shedder.engine.workers import WorkerSeen, workers_of
from shedder.events import Cause, event_head, head_of_step
from shedder.lanes import Lane
from shedder.queues.controls import (
    LimitTerms,
    StartsLimit,
    in_one,
    in_steps,
    rate_or_none,
    standing_on,
    starts_limit_from,
)
from shedder.queues.pause import fold
from shedder.queues.windows import (
    AS_IS,
    PreviewWindow,
    Undecided,
    judge,
    preview_lane,
    selection_json,
    undecided_from,
    with_long_meta,
)  # fmt: skip
from shedder.selection import Selection
from shedder.store.ahead import Ahead
from shedder.store.codec import NO_TIME, in_rows, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Operation, Progress, Store, new_id
from shedder.units import Rate

JOBS_PER_STEP = 100
"""Jobs that one step of a scan looks at: about 0.3 ms of the server.

Other clients wait for one step. A larger one is not much faster: a step and the way to its caller
and back cost what about fifty jobs cost.
"""

UNDECIDED_PER_STEP = 500
"""Jobs of stock producers whose data one step hands to the caller."""

SLOT_ROUNDS = 500
"""About half a second, when 500 jobs wait one after the other for a slot of one limit."""


@dataclass(frozen=True, slots=True)
class DivertReceipt:
    """What `divert` or `limit_starts` did.

    Attributes:
        event: Id of its event; `undo` takes it.
        at: When it was in force (server's clock, UTC).
        selection: Which jobs it takes.
        lanes: The lanes, one by one.
        workers: The workers that serve these lanes, stock ones among them.
        rate: As a limit, the highest rate of starts; None without a rate.
        most: As a limit, how many jobs may run at once; None without such a bound.
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
class ScanStep:
    """What one step of a scan did.

    Attributes:
        state: `more`, `done` or `ended` (there is no such order any more, or its scan is over).
        moved: Jobs moved to the backlog.
        looked_at: Jobs looked at.
        undecided: Jobs that the next step needs a judgement of.
    """

    state: str
    moved: int
    looked_at: int
    undecided: tuple[Undecided, ...]


def divert(
    store: Store,
    lanes: Sequence[Lane],
    selection: Selection,
    cause: Cause,
    *,
    terms: LimitTerms | None = None,
    on_progress: Progress | None = None,
) -> DivertReceipt:
    """Set a divert (with `terms` a limit) on `lanes` and move what waits in them already."""
    names = [lane.name for lane in lanes]
    receipt = _set(store, lanes, selection, cause, terms)
    if selection.is_whole:
        free_slots(store, names)
    else:
        operation = Operation(on_progress, sum(lane.waiting for lane in receipt.lanes))
        scanned = [_scanned(store, lane, selection, cause, operation) for lane in receipt.lanes]
        receipt = replace(receipt, lanes=tuple(scanned))
    return replace(receipt, workers=workers_of(store, names))


def scan(
    store: Store, lane: str, order: str, selection: Selection, cause: Cause, operation: Operation | None = None
) -> int:
    """Move the waiting jobs of `lane` that `order` takes to its backlog; how many.

    Several processes may run it at once, and again after one that died: each step is whole.
    """
    fold(store, lane)
    with Ahead(store) as ahead:
        moved = _Scan(store, ahead, lane, order, selection, cause, operation or Operation()).run()
    fold(store, lane)
    return moved


@dataclass(slots=True)
class _Scan:
    """A scan by this process: the server carries out a step while the next jobs are judged here."""

    store: Store
    ahead: Ahead
    lane: str
    order: str
    selection: Selection
    cause: Cause
    operation: Operation
    moved: int = 0

    def run(self) -> int:
        """Go to the end of the lane; how many jobs were moved."""
        is_more = True
        while is_more:
            done = self._note(self.store.run(self._step([])))
            if done.undecided:
                done = self._go_ahead()
            is_more = done.state == "more"
        return self.moved

    def _go_ahead(self) -> ScanStep:
        """Goes on while most jobs have to be judged here; the last step.

        Where another process has taken jobs meanwhile, a step finds none that it knows, and is the last.
        """
        listed, _, parked, _ = self.store.keys.lane(self.lane)
        source = parked if self.store.read(lambda ask: ask.exists(parked))[0] else listed
        done: ScanStep
        window = self.store.run(self._look(source, 0))
        judged = self._judged(window)
        self.ahead.send(self._look(source, window.looked_at))
        following: PreviewWindow = self.ahead.receive()[0]
        while True:
            self.ahead.send(self._step(judged, jobs=window.looked_at), self._look(source, following.looked_at))
            window, judged = following, self._judged(following)
            done, following = self.ahead.receive()
            self._note(done)
            if done.state != "more" or not done.looked_at or not window.looked_at:
                return done

    def _step(self, judged: Sequence[tuple[str, bool]], *, jobs: int | None = None) -> Command[ScanStep]:
        return scan_lane(
            self.store.keys, self.lane, self.order, self.cause,
            operation=self.operation.id, step=self.operation.next_step(), judged=judged, jobs=jobs,
        )  # fmt: skip

    def _look(self, source: str, first: int) -> Command[PreviewWindow]:
        return preview_lane(self.store.keys, source, self.selection, (first, JOBS_PER_STEP))

    def _judged(self, window: PreviewWindow) -> list[tuple[str, bool]]:
        jobs = with_long_meta(self.store, window.undecided)
        return [(job.job_id, bool(judge(job, self.selection))) for job in jobs]

    def _note(self, done: ScanStep) -> ScanStep:
        self.moved += done.moved
        self.operation.count(done.looked_at)
        return done


def free_slots(store: Store, lanes: Sequence[str]) -> None:
    """Free the slots of RQ's own rate limits that jobs hold which went to a backlog as a whole.

    For each slot RQ's next job of that limit is promoted, often into the same lane: so again, until
    a slot has gone elsewhere. What is left after `SLOT_ROUNDS` is for the upkeep.
    """
    for _ in range(SLOT_ROUNDS):
        held = _slots_held(store, lanes)
        if not sum(store.run(free_slot(store.keys, job, limit)) for job, limit in held):
            return


def divert_lanes(
    keys: Keys,
    lanes: Sequence[Lane],
    selection: Selection,
    cause: Cause,
    *,
    order: str,
    terms: LimitTerms | None = None,
    operation: str = "",
) -> Command[DivertReceipt]:
    """Set a divert, or a limit with `terms`; `order` is its operation unless that has an id."""
    names = tuple(lane.name for lane in lanes)
    head = event_head(
        "limit start" if terms else "divert", cause, names, order=order,
        selection=selection.describe(), **(terms.describe() if terms else {}),
    )  # fmt: skip
    lane_keys = (key for name in names for key in _order_keys(keys, order, name, terms))
    return Command(
        "divert_lanes",
        (keys.diverts, keys.events, keys.operation(operation or order), *lane_keys),
        ("divert", head, order, cause.by, cause.why, selection_json(selection),
         terms.to_json() if terms else "", terms.duration_ms if terms else 0, *names),
        lambda reply: _diverted(reply, names, selection, terms or LimitTerms()),
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
    jobs: int | None = None,
) -> Command[ScanStep]:
    """One step of the scan of `lane` for `order`.

    It looks at those that are `judged` and at some more; at `jobs` in all, when it is told, and then
    returns none that is undecided.
    """
    limit = len(judged) + JOBS_PER_STEP if jobs is None else jobs
    decisions = (part for job, taken in judged for part in (job.encode("utf-8", AS_IS), int(taken)))
    return Command(
        "scan_lane",
        (keys.pauses, keys.diverts, keys.events, keys.operation(operation), *keys.lane(lane),
         keys.engine.limit_keys, keys.lane_lease(lane)),
        (f"scan {lane} {step}", head_of_step("scan", cause, lane, order), lane, order,
         limit, UNDECIDED_PER_STEP if jobs is None else 0, *keys.engine.script_prefixes, *decisions),
        _scan_step,
    )  # fmt: skip


def set_back_orders(
    keys: Keys, ways: Mapping[str, Mapping[str, Any]], head: str, *, operation: str = ""
) -> Command[OrdersSetBack]:
    """Give orders back what they said; `ways` has by lane and order what the script takes."""
    said = tuple(part for lane, way in ways.items() for part in (lane, json.dumps(way)))
    return Command(
        "set_back_orders",
        (keys.diverts, keys.events, keys.operation(operation or new_id()),
         *(key for lane in ways for key in keys.lane(lane))),
        ("set back", head, *said),
        _orders_set_back,
    )  # fmt: skip


def free_slot(keys: Keys, job_id: str, limit: str) -> Command[bool]:
    """Free the slot of RQ's own rate limit `limit` that a diverted job holds."""
    return Command(
        "free_slot", (keys.diverts, keys.engine.jobs + job_id), (job_id, limit, *keys.engine.script_prefixes), bool
    )


def _set(
    store: Store, lanes: Sequence[Lane], selection: Selection, cause: Cause, terms: LimitTerms | None
) -> DivertReceipt:
    steps, order = in_steps(lanes, cause, with_order=True), new_id()
    if len(steps) > 1:
        standing_on(store, [lane.name for lane in lanes])  # a record that nobody can read is met before the first step
    receipts = [
        store.run(divert_lanes(store.keys, *step, order=order, terms=terms, operation=f"{order} {number}"))
        for number, step in enumerate((part, selection, why) for part, why in steps)
    ]
    replaced = tuple(limit for receipt in receipts for limit in receipt.replaced)
    return replace(in_one(receipts), replaced=replaced)


def _scanned(
    store: Store, lane: DivertedLane, selection: Selection, cause: Cause, operation: Operation
) -> DivertedLane:
    if not lane.waiting:
        return lane
    parts = store.keys.backlog(lane.order, lane.lane)
    before = _lengths(store, parts)
    counted = scan(store, lane.lane, lane.order, selection, cause, operation)
    # the claims of workers divert too, and another operator may: the lists know better than we do
    moved = max(counted, _lengths(store, parts) - before)
    return replace(lane, moved=moved, waiting=_lengths(store, store.keys.lane(lane.lane)[:3]))


def _lengths(store: Store, lists: Sequence[str]) -> int:
    return sum(store.read(lambda ask: [ask.llen(each) for each in lists]))


def _slots_held(store: Store, lanes: Sequence[str]) -> list[tuple[str, str]]:
    """The jobs of `lanes` that hold a slot, and the limit it is of."""
    engine = store.keys.engine
    names = [text_of(name) for name in store.read(lambda ask: ask.smembers(engine.limit_keys))[0]]
    allowed = store.read(lambda ask: [ask.zrange(f"{engine.limits}{name}:allowed", 0, -1) for name in names])
    held = [(text_of(job), name) for name, jobs in zip(names, allowed, strict=True) for job in jobs]
    origins = store.read(lambda ask: [ask.hget(engine.jobs + job, "origin") for job, _ in held])
    found = zip(held, origins, strict=True)
    return [each for each, origin in found if text_of(origin or b"") in lanes]


def _order_keys(keys: Keys, order: str, lane: str, terms: LimitTerms | None) -> tuple[str, ...]:
    bucket = keys.limit_bucket(order) if terms else keys.drain(order, lane)
    own = (bucket, keys.skipped(order, lane), keys.running(order))
    return (*keys.lane(lane), *keys.backlog(order, lane), *own)


def _diverted(reply: list[Any], names: tuple[str, ...], selection: Selection, terms: LimitTerms) -> DivertReceipt:
    event, at, *rest = reply
    rows = list(zip(names, in_rows(rest, 4), strict=True))
    return DivertReceipt(
        text_of(event), time_from_ms(int(at)), selection,
        tuple(DivertedLane(name, text_of(order), int(moved), int(waiting))
              for name, (order, moved, waiting, _) in rows),
        rate=terms.rate, most=terms.most,
        replaced=tuple(starts_limit_from(name, json.loads(was)) for name, (*_, was) in rows if was),
    )  # fmt: skip


def _orders_set_back(reply: list[Any]) -> OrdersSetBack:
    state, *rest = reply
    if text_of(state) != "done":
        return OrdersSetBack(text_of(state), lane=text_of(rest[0]), by=text_of(rest[1]))
    event, at, *numbers = rest
    orders = tuple(
        OrderSetBack(
            text_of(lane), text_of(order), int(backlog), int(waiting), rate_or_none(float(rate)),
            limit=starts_limit_from(text_of(lane), json.loads(limit)) if limit else None,
        )
        for lane, order, backlog, waiting, rate, limit in in_rows(numbers, 6)
    )  # fmt: skip
    return OrdersSetBack("done", text_of(event), time_from_ms(int(at)), orders)


def _scan_step(reply: list[Any]) -> ScanStep:
    state, moved, looked_at, *rest = reply
    return ScanStep(text_of(state), int(moved), int(looked_at), tuple(map(undecided_from, in_rows(rest, 5))))
