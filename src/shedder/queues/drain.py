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
from shedder.events import Cause, event_head
from shedder.lanes import Lane
from shedder.policy.model import HALT_AT
from shedder.queues.controls import diverts_from, rate_or_none, skipped_of
from shedder.store.codec import count_of, in_rows, text_of, time_from_ms
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
    """

    event: str
    at: datetime
    rate: Rate | None
    lanes: tuple[DrainingLane, ...]
    workers: tuple[WorkerSeen, ...] = ()

    @property
    def backlog(self) -> int:
        """Jobs in these backlogs in all."""
        return sum(lane.backlog for lane in self.lanes)


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
    """

    lane: str
    order: str
    backlog: int
    released: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_names: tuple[str, ...] = ()
    is_done: bool = False


def drain(
    store: Store,
    lanes: Sequence[Lane],
    rate: Rate | None,
    cause: Cause,
    *,
    stays: bool = False,
    halt_at: float = HALT_AT,
) -> DrainReceipt:
    """Drain the backlogs of `lanes` at `rate` each, or stop when it is None.

    It halts when the share `halt_at` of its last 50 jobs failed, of the last 20 at least; 0 for never.
    """
    receipt = store.run(order_drain(store.keys, lanes, rate, cause, stays=stays, halt_at=halt_at))
    return replace(receipt, workers=workers_of(store, [lane.name for lane in lanes]))


def drain_progress(store: Store, backlogs: Sequence[tuple[str, str]]) -> tuple[DrainProgress, ...]:
    """How far the drains of `backlogs` (lane and order each) are, in one round trip."""

    def ask_all(ask: Pipeline) -> None:
        for lane, order in backlogs:
            for part in store.keys.backlog(order, lane):
                ask.llen(part)
            ask.hgetall(store.keys.drain(order, lane))
            ask.lrange(store.keys.skipped(order, lane), 0, 99)
            ask.hget(store.keys.diverts, lane)

    rows = in_rows(store.read(ask_all), 6)
    return tuple(_progress(*each, row) for each, row in zip(backlogs, rows, strict=True))


def release_for_stock_workers(store: Store, backlogs: Sequence[tuple[str, str, float]]) -> None:
    """One step for each of `backlogs` (lane, order, jobs a second) without a worker of ours."""
    workers = workers_of(store, [lane for lane, _, _ in backlogs])
    ours = {lane for worker in workers if not worker.is_stock for lane in worker.lanes}
    stock = Counter(lane for worker in workers if worker.is_stock for lane in worker.lanes)
    for lane, order, per_second in backlogs:
        if stock[lane] and lane not in ours:
            cap = max(LEAST_RELEASED * stock[lane], int(per_second * STARTS_AHEAD_SECONDS))
            store.run(release_backlog(store.keys, lane, order, cap=cap))


def order_drain(
    keys: Keys,
    lanes: Sequence[Lane],
    rate: Rate | None,
    cause: Cause,
    *,
    operation: str = "",
    stays: bool = False,
    halt_at: float = HALT_AT,
) -> Command[DrainReceipt]:
    """Drain the backlogs of `lanes` at `rate` each, or stop when `rate` is None; halt as `drain` says."""
    names = tuple(lane.name for lane in lanes)
    verb = "drain stopped" if rate is None else "drain"
    head = event_head(verb, cause, names, rate=rate and str(rate))
    per_ms = rate.per_second / 1000 if rate else 0
    return Command(
        "order_drain",
        (keys.diverts, keys.events, keys.operation(operation or new_id()), *keys.lanes(lanes)),
        ("drain", head, "", repr(float(per_ms)), burst_of(rate) if rate else 0, int(stays),
         halt_at,         cause.by, cause.why, *names),
        lambda reply: _drain_ordered(reply, rate),
    )  # fmt: skip


def count_end_of_drained(ask: Any, keys: Keys, lane: str, order: str, *, is_failed: bool) -> None:
    """Count the end of a job that a drain released, and let it halt the drain; `ask` may be a pipeline."""
    command = end_drained(keys, lane, order, "f" if is_failed else "w")
    # its text, since within a transaction nobody could send it again to a server that has lost it
    ask.eval(load_script(command.script).text, len(command.keys), *command.keys, *command.args)


def end_drained(keys: Keys, lane: str, order: str, ends: str, *, is_all: bool = False) -> Command[str]:
    """Count `ends` of jobs that a drain released, a letter each, or with `is_all` count nothing else.

    Its reply: the event of the halt; empty when the drain goes on.
    """
    how = "set" if is_all else "add"
    return Command("end_drained", (keys.diverts, keys.events), (lane, order, how, ends, keys.drain_ends("")), text_of)


def release_backlog(keys: Keys, lane: str, order: str, *, cap: int) -> Command[tuple[str, int]]:
    """One step of releasing a backlog into its lane's list, with at most `cap` not started.

    Its reply: `draining`, `waiting` or `ended`, and the jobs left.
    """
    return Command(
        "release_backlog",
        (keys.pauses, keys.diverts, keys.events, *keys.lane(lane), keys.policy, keys.stale(lane), keys.unseen(lane)),
        (lane, order, cap, RELEASES_PER_STEP, *keys.engine.script_prefixes),
        lambda reply: (text_of(reply[0]), int(reply[3])),
    )


def _progress(lane: str, order: str, row: Sequence[Any]) -> DrainProgress:
    *parts, counts, names, record = row
    standing = [each.divert for each in diverts_from(lane, record) if each.divert.order == order]
    return DrainProgress(
        lane, order, backlog=sum(parts), released=count_of(counts.get(b"released")), skipped=skipped_of(counts),
        skipped_names=tuple(map(text_of, names)), is_done=not standing or standing[0].drain is None,
    )  # fmt: skip


def _drain_ordered(reply: list[Any], rate: Rate | None) -> DrainReceipt:
    event, at, *rest = reply
    lanes = tuple(
        DrainingLane(text_of(lane), text_of(order), int(backlog), rate_or_none(float(before)))
        for lane, order, backlog, before in in_rows(rest, 4)
    )
    return DrainReceipt(text_of(event), time_from_ms(int(at)), rate, lanes)
