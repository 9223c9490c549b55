"""How does a backlog drain?

The drain is an order in Redis: claims of our workers take from the backlog as fast as a bucket of
tokens allows. For lanes that only stock workers serve somebody releases jobs into the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shedder.journal import event_head
from shedder.keys import Keys
from shedder.lanes import Lane
from shedder.rates import Rate, burst_of
from shedder.records import Cause, DrainingLane, DrainProgress
from shedder.store import Command
from shedder.stored import count_of, rate_or_none, text_of, time_from_ms

RELEASES_PER_STEP = 500
"""Jobs that one step of a release looks at: well below 5 ms of the server."""


@dataclass(frozen=True, slots=True)
class DrainSet:
    """A drain that is in force (or stopped) now.

    Attributes:
        event: Id of its event; empty when there is no backlog.
        at: Server's clock, UTC.
        lanes: The backlogs.
    """

    event: str
    at: datetime
    lanes: tuple[DrainingLane, ...]


def order_drain(
    keys: Keys,
    lanes: Sequence[Lane],
    rate: Rate | None,
    cause: Cause,
    *,
    operation: str,
    only_order: str = "",
    stays: bool = False,
    undoes: str = "",
) -> Command[DrainSet]:
    """Drain the backlogs of `lanes` at `rate` each, or stop when `rate` is None."""
    names = tuple(lane.name for lane in lanes)
    verb = "drain stopped" if rate is None else "drain"
    head = event_head(verb, cause, names, order=only_order, undoes=undoes, rate=rate and str(rate))
    per_ms = rate.per_second / 1000 if rate else 0
    return Command(
        "order_drain",
        (keys.diverts, keys.events, keys.operation(operation), *keys.lanes(tuple(lanes))),
        ("drain", head, only_order, repr(float(per_ms)), burst_of(rate) if rate else 0, int(stays),
         cause.by, cause.why, *names),
        _drain_set,
    )  # fmt: skip


def release_backlog(keys: Keys, lane: str, order: str, *, cap: int) -> Command[tuple[str, int]]:
    """One step of releasing a backlog into its lane's list, with at most `cap` not started.

    Its reply: `draining`, `waiting` or `ended`, and the jobs left.
    """
    return Command(
        "release_backlog",
        (keys.pauses, keys.diverts, keys.events, *keys.lane(lane), keys.policy, keys.stale(lane),
         keys.unseen(lane)),
        (lane, order, cap, RELEASES_PER_STEP, *keys.engine.script_prefixes),
        lambda reply: (text_of(reply[0]), int(reply[3])),
    )  # fmt: skip


def progress_from(
    lane: str, order: str, parts: Sequence[int], counts: dict[bytes, bytes], names: Sequence[bytes],
    *, is_done: bool,
) -> DrainProgress:  # fmt: skip
    """The progress that plain reads of a backlog's keys tell."""
    skipped = {
        text_of(field).removeprefix("skipped:"): count_of(count)
        for field, count in counts.items()
        if field.startswith(b"skipped:")
    }
    return DrainProgress(
        lane=lane,
        order=order,
        backlog=sum(parts),
        released=count_of(counts.get(b"released")),
        skipped=skipped,
        skipped_names=tuple(text_of(name) for name in names),
        is_done=is_done,
    )


def _drain_set(reply: list[Any]) -> DrainSet:
    event, at, *rest = reply
    lanes = tuple(
        DrainingLane(text_of(lane), text_of(order), int(backlog), rate_or_none(float(before)))
        for lane, order, backlog, before in zip(
            rest[::4], rest[1::4], rest[2::4], rest[3::4], strict=True
        )
    )
    return DrainSet(text_of(event), time_from_ms(int(at)), lanes)
