"""How do jobs get into a backlog, and back to where they were?

A divert of everything is one step. A subset takes a scan, in bounded steps, which anybody may
continue; what it has not reached the claim diverts, because the order stands from the first step.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from shedder.backlog_steps import (
    DivertSet,
    OrderSetBack,
    OrdersSetBack,
    PreviewWindow,
    RestoreStep,
    ScanStep,
    Undecided,
)
from shedder.journal import event_head
from shedder.keys import Keys
from shedder.lanes import Lane
from shedder.rates import Rate, burst_of
from shedder.records import Cause
from shedder.selection import Selection
from shedder.store import Command
from shedder.stored import rate_or_none, starts_limit_from, text_of, time_from_ms

JOBS_PER_STEP = 100
"""Jobs that one step of a scan looks at: about 0.3 ms of the server.

Whoever asks in the meantime waits for one step. A larger one is not much faster: a step and the
way to its caller and back cost what about fifty jobs cost.
"""

RESTORED_PER_STEP = 125
"""Jobs that one step of a restore looks at: it reads one field less of each than a scan."""

JOBS_PER_LOOK = 125
"""Jobs that one window of a dry run looks at: it moves none, and holds the server as long."""

UNDECIDED_PER_STEP = 500
"""Jobs of stock producers whose data one step hands to the caller."""

Judge = Callable[[bytes, bytes], bool]
"""Says from a job's data (its first bytes) and its meta whether an order takes it."""


@dataclass(frozen=True, slots=True)
class LimitTerms:
    """What a limit on the starts of jobs allows.

    Attributes:
        rate: At most so many starts; None without a pace.
        most: At most so many jobs that run at once; None without such a bound.
        expires_in: How long it stands; None until somebody ends it.
    """

    rate: Rate | None = None
    most: int | None = None
    expires_in: timedelta | None = None

    @property
    def duration_ms(self) -> int:
        """How long it stands, in milliseconds; 0 until somebody ends it."""
        return int(self.expires_in.total_seconds() * 1000) if self.expires_in else 0

    def describe(self) -> dict[str, Any]:
        """What its event says."""
        return {
            "rate": str(self.rate) if self.rate else None,
            "most": self.most,
            "duration_ms": self.duration_ms or None,
        }

    def to_json(self) -> str:
        """What the script takes."""
        pace = (
            {"rate": self.rate.per_second / 1000, "burst": burst_of(self.rate)} if self.rate else {}
        )
        return json.dumps({**pace, **({"most": self.most} if self.most else {})})


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
         keys.engine.limit_keys, keys.at_work(lane)),
        (f"scan {lane} {step}", head, lane, order, JOBS_PER_STEP, UNDECIDED_PER_STEP,
         *keys.engine.script_prefixes, *decisions),
        _scan_step,
    )  # fmt: skip


def restore_lane(
    keys: Keys,
    lane: str,
    order: str,
    cause: Cause,
    *,
    operation: str,
    step: int,
    undoes: str = "",
    set_by: str = "",
) -> Command[RestoreStep]:
    """One step of putting the backlog of `order` back into `lane`.

    With `set_by`, only while the order is as the event of this id has set it.
    """
    head = head_of_step("restore", cause, lane, order, undoes)
    return Command(
        "restore_lane",
        (
            keys.pauses,
            keys.diverts,
            keys.events,
            keys.operation(operation),
            *keys.lane(lane),
            keys.at_work(lane),
        ),
        (f"restore {lane} {step}", head, lane, order, RESTORED_PER_STEP, keys.engine.jobs, set_by),
        lambda reply: RestoreStep(
            text_of(reply[0]), text_of(reply[1]), int(reply[2]), int(reply[3])
        ),
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


def preview_lane(
    keys: Keys, source: str, selection: Selection, *, first: int
) -> Command[PreviewWindow]:
    """What `selection` would take from the jobs of one list, from index `first` on."""
    return Command(
        "preview_lane",
        (source,),
        (record_of(selection), first, JOBS_PER_LOOK, keys.engine.jobs),
        _preview_window,
    )


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


def _preview_window(reply: list[Any]) -> PreviewWindow:
    looked_at, taken, oldest, functions, rest = reply
    counts = {
        text_of(name): int(count)
        for name, count in zip(functions[::2], functions[1::2], strict=True)
    }
    undecided = tuple(
        Undecided(text_of(job), bytes(data), bytes(meta), text_of(enqueued_at))
        for job, data, meta, enqueued_at in zip(
            rest[::4], rest[1::4], rest[2::4], rest[3::4], strict=True
        )
    )
    since = time_from_ms(int(oldest)) if int(oldest) else None
    return PreviewWindow(int(looked_at), int(taken), since, Counter(counts), undecided)
