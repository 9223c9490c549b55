"""A backlog back at a pace: commands, flow, receipts.

A drain is an order in Redis: the claims of our workers take from the backlog as fast as a bucket of
tokens allows. For lanes that only stock workers serve, some process releases jobs into the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shedder.engine.workers import WorkerSeen, workers_of
from shedder.errors import InvalidInput
from shedder.events import Cause, event_head
from shedder.lanes import Lane
from shedder.policy.model import HALT_AT, Defaults
from shedder.queues.controls import (
    Drain,
    HaltedDrain,
    diverts_from,
    in_one,
    in_steps,
    rate_or_none,
    skipped_of,
    standing_on,
)
from shedder.queues.outcomes import EndsOfStock, ask_ends_of_stock, ends_of_stock_from, exception_of_last
from shedder.store.codec import count_of, in_rows, read_with_time, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Pipeline, Store, load_script, new_id
from shedder.units import Rate, burst_of

ENDS_LOOKED_AT = 50
"""The last ends that decide whether a drain halts; the twin of the one in `lua/end_drained.lua`."""

STARTS_AHEAD_SECONDS = 2.0
"""Stock workers get at most what the rate allows in this time, before any of it has started."""

LEAST_RELEASED = 2
"""For each stock worker: one that it runs, and one that it finds next."""

RELEASES_PER_STEP = 500
"""Jobs that one step of a release looks at: well below 5 ms of the server."""


@dataclass(frozen=True, slots=True)
class DrainReceipt:
    """What a drain order did.

    Attributes:
        event: Id of its event; empty when there is no backlog.
        at: When it was in force (server's clock, UTC).
        rate: The rate for each backlog; None when the drain was stopped.
        lanes: The backlogs, one by one.
        workers: The workers that serve these lanes, stock ones among them.
        halt_at: It halts when this share of the last 50 jobs that it released failed, 0 to 1; None
            when it never does, and when the drain was stopped.
    """

    event: str
    at: datetime
    rate: Rate | None
    lanes: tuple[DrainingLane, ...]
    workers: tuple[WorkerSeen, ...] = ()
    halt_at: float | None = None

    @property
    def backlog(self) -> int:
        """Jobs in these backlogs in all."""
        return sum(lane.backlog for lane in self.lanes)

    @property
    def starts_after_halt(self) -> int:
        """The most jobs that stock workers start after a halt, from their list; 0 where it does not halt."""
        if not self.rate or not self.halt_at:
            return 0
        served = stock_only(self.workers)
        return sum(stock_cap(served[each.lane], self.rate.per_second) for each in self.lanes if each.lane in served)


@dataclass(frozen=True, slots=True)
class DrainingLane:
    """What a drain order did to one backlog.

    Attributes:
        lane: Name of its lane.
        order: Id of the divert whose backlog it is.
        backlog: Jobs in it.
        rate_before: The rate until now; None when it did not drain.
    """

    lane: str
    order: str
    backlog: int
    rate_before: Rate | None


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far the drain of one backlog is.

    Attributes:
        lane: Name of its lane.
        order: Id of the divert whose backlog it is.
        backlog: Jobs left in it.
        released: Jobs released so far.
        skipped: Jobs that could not run any more, by cause.
        skipped_names: The first of them, `<id> <cause>` each.
        is_done: The backlog is empty and the divert has ended, or the drain was stopped.
        failed: Jobs among those that were released that have failed so far; of a lane that stock
            workers serve, jobs of the lane that failed since the drain began.
        exception: The most frequent exception of the lane's last failures; empty when none is known.
        halted: Why the drain was halted; None when it was not.
    """

    lane: str
    order: str
    backlog: int
    released: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_names: tuple[str, ...] = ()
    is_done: bool = False
    failed: int = 0
    exception: str = ""
    halted: HaltedDrain | None = None


def drain(
    store: Store,
    lanes: Sequence[Lane],
    rate: Rate | None,
    cause: Cause,
    *,
    stays: bool = False,
    halt_at: float = HALT_AT,
    order: str = "",
) -> DrainReceipt:
    """Drain the backlogs of `lanes` at `rate` each, or stop when it is None; with `order` only those of that order.

    It halts when the share `halt_at` of its last 50 jobs failed, of the last 20 at least; 0 for never.
    """
    steps = in_steps(lanes, cause, with_order=True)
    if len(steps) > 1:
        standing_on(store, [lane.name for lane in lanes])  # a record that nobody can read is met before the first step
    receipt = in_one(
        [
            store.run(order_drain(store.keys, part, rate, why, stays=stays, halt_at=halt_at, order=order))
            for part, why in steps
        ]
    )
    return replace(receipt, workers=workers_of(store, [lane.name for lane in lanes]))


def pace_of(defaults: Defaults, rate: Rate | None, halt_at: float | None) -> tuple[Rate, float]:
    """The rate of a drain, and the share at which it halts, as said, else as the policy has them.

    Raises:
        InvalidInput: there is no rate, or `halt_at` is no share.
    """
    rate = rate or defaults.drain_rate
    halt_at = defaults.share_that_halts if halt_at is None else halt_at
    if rate is None:
        accepted = "a rate such as 200/second, here or as drain_rate in the policy"
        raise InvalidInput(name="rate", value=None, accepted=accepted)
    if not 0 <= halt_at <= 1:
        raise InvalidInput(name="halt_at", value=halt_at, accepted="a share from 0 (never) to 1")
    return rate, halt_at


def drain_progress(store: Store, backlogs: Sequence[tuple[str, str]]) -> tuple[DrainProgress, ...]:
    """How far the drains of `backlogs` (lane and order each) are, in one round trip."""

    def ask_all(ask: Pipeline) -> None:
        for lane, order in backlogs:
            for part in store.keys.backlog(order, lane):
                ask.llen(part)
            ask.hgetall(store.keys.drain(order, lane))
            ask.lrange(store.keys.skipped(order, lane), 0, 99)
            ask.hget(store.keys.diverts, lane)
            ask.lrange(store.keys.failures(lane), 0, ENDS_LOOKED_AT - 1)

    rows = in_rows(store.read(ask_all), 7)
    return tuple(_progress(*each, row) for each, row in zip(backlogs, rows, strict=True))


def release_for_stock_workers(store: Store, backlogs: Sequence[tuple[str, str, float]]) -> None:
    """One step for each of `backlogs` (lane, order, jobs a second) without a worker of ours.

    Before it, a drain is halted when too many of the jobs that ended since it began failed.
    """
    served = stock_only(workers_of(store, [lane for lane, _, _ in backlogs]))
    for lane, order, per_second in backlogs:
        if lane in served and not _halt_of_stock(store, lane, order):
            store.run(release_backlog(store.keys, lane, order, cap=stock_cap(served[lane], per_second)))


def stock_only(workers: Sequence[WorkerSeen]) -> dict[str, int]:
    """The lanes that only stock workers serve, and how many."""
    ours = {lane for worker in workers if not worker.is_stock for lane in worker.lanes}
    stock = Counter(lane for worker in workers if worker.is_stock for lane in worker.lanes)
    return {lane: count for lane, count in stock.items() if lane not in ours}


def stock_cap(workers: int, per_second: float) -> int:
    """How many jobs may be released to `workers` stock workers and not started: what starts after a halt."""
    return max(LEAST_RELEASED * workers, int(per_second * STARTS_AHEAD_SECONDS))


def _halt_of_stock(store: Store, lane: str, order: str) -> str:
    """The event that halts the drain of a lane of stock workers, as RQ's registries say; empty for none."""
    now, [record] = read_with_time(store, lambda ask: ask.hget(store.keys.diverts, lane))
    drain = next((each.divert.drain for each in diverts_from(lane, record) if each.divert.order == order), None)
    if drain is None:
        return ""
    found = _ends_since(store, lane, drain, now)
    return store.run(end_drained(store.keys, lane, order, found)) if found.ended else ""


def _ends_since(store: Store, lane: str, drain: Drain, now: datetime) -> EndsOfStock:
    replies = store.read(lambda ask: ask_ends_of_stock(ask, lane, drain.since, now, most=ENDS_LOOKED_AT))
    return ends_of_stock_from(replies, most=ENDS_LOOKED_AT)


def order_drain(
    keys: Keys,
    lanes: Sequence[Lane],
    rate: Rate | None,
    cause: Cause,
    *,
    operation: str = "",
    stays: bool = False,
    halt_at: float = HALT_AT,
    order: str = "",
) -> Command[DrainReceipt]:
    """Drain the backlogs of `lanes`, or of their `order`, as `drain` says."""
    names = tuple(lane.name for lane in lanes)
    verb = "drain stopped" if rate is None else "drain"
    head = event_head(verb, cause, names, order=order, rate=rate and str(rate), retry=bool(order) or None)
    per_ms = rate.per_second / 1000 if rate else 0
    return Command(
        "order_drain",
        (keys.diverts, keys.events, keys.operation(operation or new_id()), *keys.lanes(lanes)),
        ("drain", head, order, repr(float(per_ms)), burst_of(rate) if rate else 0, int(stays),
         halt_at, cause.by, cause.why, *names),
        lambda reply: _drain_ordered(reply, rate, halt_at),
    )  # fmt: skip


def count_end_of_drained(ask: Any, keys: Keys, lane: str, drain: str, *, is_failed: bool) -> None:
    """Count the end of a job that a drain released, and let it halt the drain; `ask` may be a pipeline."""
    command = end_drained(keys, lane, drain, "f" if is_failed else "w")
    # its text, since within a transaction nobody could send it again to a server that has lost it
    ask.eval(load_script(command.script).text, len(command.keys), *command.keys, *command.args)


def end_drained(keys: Keys, lane: str, drain: str, end: str | EndsOfStock) -> Command[str]:
    """Count the end of a job that a drain released, `w` or `f`; or what RQ tells of all its ends, and no others.

    `drain` is what the claim says; the id of the divert alone stands for the drain of now.
    Its reply: the event of the halt; empty when the drain goes on.
    """
    prefix = keys.drain_ends("")
    told = ("add", end, prefix) if isinstance(end, str) else ("set", end.last, prefix, end.failed)
    return Command("end_drained", (keys.diverts, keys.events), (lane, drain, *told), text_of)


def release_backlog(keys: Keys, lane: str, order: str, *, cap: int) -> Command[tuple[str, int]]:
    """One step of releasing a backlog into its lane's list, with at most `cap` not started.

    Its reply: `draining`, `waiting` or `ended`, and the jobs left.
    """
    return Command(
        "release_backlog",
        (keys.pauses, keys.diverts, keys.events, *keys.lane(lane),
         keys.policy, keys.stale(lane), keys.unseen(lane), keys.meters),
        (lane, order, cap, RELEASES_PER_STEP, *keys.engine.script_prefixes),
        lambda reply: (text_of(reply[0]), int(reply[3])),
    )  # fmt: skip


def _progress(lane: str, order: str, row: Sequence[Any]) -> DrainProgress:
    *parts, counts, names, record, failures = row
    standing = [each.divert for each in diverts_from(lane, record) if each.divert.order == order]
    failed = count_of(counts.get(b"failed"))
    return DrainProgress(
        lane, order, backlog=sum(parts), released=count_of(counts.get(b"released")), skipped=skipped_of(counts),
        skipped_names=tuple(map(text_of, names)), is_done=not standing or standing[0].drain is None,
        failed=failed, exception=exception_of_last(failures, min(failed, ENDS_LOOKED_AT)),
        halted=standing[0].halted if standing else None,
    )  # fmt: skip


def _drain_ordered(reply: list[Any], rate: Rate | None, halt_at: float) -> DrainReceipt:
    event, at, *rest = reply
    lanes = tuple(
        DrainingLane(text_of(lane), text_of(order), int(backlog), rate_or_none(float(before)))
        for lane, order, backlog, before in in_rows(rest, 4)
    )
    halt = halt_at or None if rate else None
    return DrainReceipt(text_of(event), time_from_ms(int(at)), rate, lanes, halt_at=halt)
