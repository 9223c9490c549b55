"""Controls of a lane as they are stored: pause, diverts, drain, limits on starts; all backlogs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from shedder.engine.workers import queue_names
from shedder.errors import InvalidInput, RecordUnreadable
from shedder.events import Cause
from shedder.lanes import PRIORITIES, Lane, queues_in
from shedder.selection import Selection
from shedder.store import codec
from shedder.store.store import Store, new_id
from shedder.units import Rate, burst_of, milliseconds_of


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force.

    Attributes:
        lane: Name of the lane.
        by: Who paused it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it expires; None when it stands until an operator ends it.
        is_parked: Its list was taken out of the reach of stock workers.
    """

    lane: str
    by: str
    why: str
    since: datetime
    until: datetime | None = None
    is_parked: bool = False

    def holds_at(self, now: datetime) -> bool:
        """Whether it is in force at `now` (server's clock)."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Divert:
    """A divert in force: an order on one lane.

    Attributes:
        lane: Name of the lane.
        order: Id of the order, one for all lanes that were diverted together.
        by: Who diverted it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        selection: Which jobs it takes.
        backlog: Jobs in its backlog.
        drain: The drain under way, if there is one.
        is_scanning: Its first pass through the waiting jobs is not finished.
        is_restoring: Its backlog is on the way back into the lane.
        is_limit: It is a limit on starts: what it takes starts at its rate, from its backlog.
        most: As a limit, how many of its jobs may run at once; None without such a bound.
        until: As a limit, when it expires; None when it stands until an operator ends it.
        halted: Its drain was halted, since too many of the jobs failed; None when it was not.
        is_retry: It holds failed jobs that come back, and takes none that wait or arrive.
    """

    lane: str
    order: str
    by: str
    why: str
    since: datetime
    selection: Selection
    backlog: int = 0
    drain: Drain | None = None
    is_scanning: bool = False
    is_restoring: bool = False
    is_limit: bool = False
    most: int | None = None
    until: datetime | None = None
    halted: HaltedDrain | None = None
    is_retry: bool = False


@dataclass(frozen=True, slots=True)
class HaltedDrain:
    """A drain that was halted, since too many of the jobs that it had released failed.

    Attributes:
        event: Id of the event that says so.
        since: When (server's clock, UTC).
        failed: Jobs that failed among the last ones.
        ended: How many these last ones are, at most 50.
        halt_at: The share of them at which it was to halt, 0 to 1.
        rate: The rate that it had.
        by: Who had ordered it.
        why: For which reason.
        drain: Id of the event that had ordered it.
    """

    event: str
    since: datetime
    failed: int
    ended: int
    halt_at: float
    rate: Rate
    by: str
    why: str
    drain: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """A drain under way.

    Attributes:
        rate: The highest rate at which jobs start from the backlog.
        by: Who ordered it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        stays: The divert stays in force after its backlog is empty.
        released: Jobs that it has released so far.
        skipped: Jobs that could not run any more, by cause (`gone`, `canceled`, ...).
        halt_at: It halts when this share of its last jobs failed, 0 to 1; None when it never does.
        failed: Jobs among those that it released that have failed so far; of a lane that stock
            workers serve, jobs of the lane that failed since it began.
    """

    rate: Rate
    by: str
    why: str
    since: datetime
    stays: bool = False
    released: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    halt_at: float | None = None
    failed: int = 0


@dataclass(frozen=True, slots=True)
class StartsLimit:
    """What a limit on the starts of jobs said before it was changed.

    Attributes:
        lane: The lane that it stands on.
        rate: The highest rate of starts; None without a rate.
        most: How many jobs may run at once; None without such a bound.
        by: Who set it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it would have expired; None when it stood until an operator ended it.
    """

    lane: str
    rate: Rate | None
    most: int | None
    by: str
    why: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class LimitTerms:
    """What a limit on the starts of jobs allows.

    Attributes:
        rate: The highest rate of starts; None without a rate.
        most: How many jobs may run at once; None without such a bound.
        expires_in: How long it stands; None until somebody ends it.
    """

    rate: Rate | None = None
    most: int | None = None
    expires_in: timedelta | None = None

    def checked(self) -> LimitTerms:
        """These terms.

        Raises:
            InvalidInput: they have neither a rate nor a positive number of jobs.
        """
        if (self.rate is None and self.most is None) or (self.most is not None and self.most < 1):
            accepted = "a rate, or a number of jobs that run at once"
            raise InvalidInput(name="limit", value=self.most, accepted=accepted)
        return self

    @property
    def duration_ms(self) -> int:
        """How long it stands, in milliseconds; 0 until somebody ends it."""
        return milliseconds_of(self.expires_in)

    def describe(self) -> dict[str, Any]:
        """What its event says."""
        return {"rate": self.rate and str(self.rate), "most": self.most, "duration_ms": self.duration_ms or None}

    def to_json(self) -> str:
        """What the script takes."""
        rate, most = self.rate, {"most": self.most} if self.most else {}
        pace = {"rate": rate.per_second / 1000, "burst": burst_of(rate)} if rate else {}
        return json.dumps({**pace, **most})


@dataclass(frozen=True, slots=True)
class StoredDivert:
    """A divert as it is stored: the order, and the keys of its backlog and of its drain.

    Attributes:
        divert: What it says, without the numbers (backlog, released, skipped): see `counted`.
        front: Key of the list of jobs that came back or stood in `kept`.
        rest: Key of the list that is read last, and that arrivals join.
        slot: Key of the list of jobs that wait for a slot of RQ's own rate limit; it is read first.
        bucket: Key of the hash with the drain's tokens and counts.
        skipped: Key of the list of the first jobs that the drain skipped.
        event: Id of the event that set it; empty when an earlier shedder set it.
    """

    divert: Divert
    front: str
    rest: str
    slot: str
    bucket: str
    skipped: str
    event: str = ""

    @property
    def backlog_keys(self) -> tuple[str, str, str]:
        """The keys of the lists that the backlog consists of, in reading order."""
        return self.slot, self.front, self.rest

    def counted(self, *, backlog: int, counts: Mapping[bytes, bytes]) -> Divert:
        """The divert with its numbers: jobs in the backlog, and the hash under `bucket`."""
        drain = self.divert.drain
        if drain is not None:
            released, failed = (codec.count_of(counts.get(name)) for name in (b"released", b"failed"))
            drain = replace(drain, released=released, failed=failed, skipped=skipped_of(counts))
        return replace(self.divert, backlog=backlog, drain=drain)


ORDER_VERSION = 2
"""The newest version of an order's record: the twin of the one in `lua/lib/controls.lua`."""

LANES_PER_STEP = 60
"""Lanes that one step pauses or resumes: 1.5 ms of the server, and 3 when it is undone."""

ORDERED_PER_STEP = 24
"""Lanes on which one step sets a divert or a limit, or orders a drain: 2.5 to 3.5 ms of the server."""

Backlog = tuple[str, str, int]
"""A lane, the id of the order, and the jobs in its backlog."""

Receipt = TypeVar("Receipt", bound=Any)
"""What an order on lanes did: it has an `event`, a time, and `lanes`."""

Standing = Mapping[str, Sequence[StoredDivert]]
"""The orders that stand on each lane."""

_KEYS_OF_ORDER = ("front", "rest", "slot", "bucket", "skipped")


def pause_from(lane: str, text: bytes | str | None) -> Pause | None:
    """The pause that the record `text` describes; None when there is no record.

    It may have run out: see `Pause.holds_at`.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    if not text:
        return None
    with codec.reading_record(f"of the pause of {lane}"):
        record = codec.versioned_record(json.loads(codec.text_of(text)))
        return Pause(
            lane=lane,
            **codec.author_fields(record),
            until=codec.time_field(record, "until"),
            is_parked=record.get("parked") is True,
        )


def diverts_from(lane: str, text: bytes | str | None) -> tuple[StoredDivert, ...]:
    """The orders that the record `text` lists, oldest first; none when there is no record.

    Raises:
        RecordUnreadable: one is damaged or of a newer shedder.
    """
    if not text:
        return ()
    with codec.reading_record(f"of the diverts of {lane}"):
        records = json.loads(codec.text_of(text))
        if records == {}:
            return ()  # so the scripts' encoder writes an empty array
        return tuple(
            _order(lane, codec.versioned_record(record, newest=ORDER_VERSION))
            for record in codec.of_kind(list, records)
        )


def rate_from(jobs_per_ms: float) -> Rate:
    """The rate that a record keeps as jobs per millisecond, in the unit that gives a whole number.

    Raises:
        InvalidInput: it is not positive.
    """
    for per in (1.0, 60.0, 3600.0, 86400.0):
        amount = jobs_per_ms * 1000 * per
        # the scripts' encoder keeps 14 digits of 100/60000
        if round(amount) >= 1 and abs(amount - round(amount)) < 1e-11 * amount:
            return Rate(float(round(amount)), per)
    return Rate(float(f"{jobs_per_ms * 1000:.12g}"))


def rate_or_none(jobs_per_ms: float) -> Rate | None:
    """The rate that a record tells as jobs per millisecond; None for none."""
    return rate_from(jobs_per_ms) if jobs_per_ms > 0 else None


def starts_limit_from(lane: str, record: Mapping[str, Any]) -> StartsLimit:
    """What a limit on starts said, as an event has it.

    Raises:
        RecordUnreadable: it is damaged.
    """
    with codec.reading_record(f"of the limit on {lane}"):
        return StartsLimit(
            lane=lane,
            rate=rate_from(codec.number_field(record, "rate")) if "rate" in record else None,
            most=int(codec.number_field(record, "most")) if "most" in record else None,
            **codec.author_fields(record),
            until=codec.time_field(record, "until"),
        )


def skipped_of(counts: Mapping[bytes, bytes]) -> dict[str, int]:
    """The jobs that a drain skipped, by cause, as the hash of its counts has them."""
    known = {codec.text_of(name): codec.count_of(value) for name, value in counts.items()}
    return {name.removeprefix("skipped:"): jobs for name, jobs in known.items() if name.startswith("skipped:")}


def all_lanes(store: Store, *, origins: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of all lanes of the queues that RQ knows, that have a control, or in `origins`."""
    keys = store.keys
    queues, paused, diverted = store.read(
        lambda ask: (ask.smembers(keys.engine.queues), ask.hkeys(keys.pauses), ask.hkeys(keys.diverts))
    )
    names = {*queue_names(keys, queues), *map(codec.text_of, [*paused, *diverted]), *origins}
    of_queues = {Lane(queue, each).name for queue in queues_in(names) for each in PRIORITIES}
    return tuple(sorted(names | of_queues))


def backlogs_of(store: Store, lanes: Sequence[str], *, are_limits: bool = False) -> list[Backlog]:
    """The backlogs of diverts of `lanes`, of limits with `are_limits`."""
    orders = [
        (lane, each)
        for lane, found in standing_on(store, lanes).items()
        for each in found
        if each.divert.is_limit == are_limits
    ]
    return with_lengths(store, orders)


def in_steps(lanes: Sequence[Lane], cause: Cause, *, with_order: bool = False) -> list[tuple[Sequence[Lane], Cause]]:
    """The lanes of each step of a change, and its cause: the events of several steps name the operation.

    A step takes fewer lanes `with_order`: where it reads and writes orders, not pauses alone.
    """
    width = ORDERED_PER_STEP if with_order else LANES_PER_STEP
    if len(lanes) <= width:
        return [(lanes, cause)]
    cause = replace(cause, operation=cause.operation or new_id())
    return [(lanes[first : first + width], cause) for first in range(0, len(lanes), width)]


def in_one(receipts: Sequence[Receipt]) -> Receipt:
    """The receipt of all steps, by the last one's event and time."""
    event = next((each.event for each in reversed(receipts) if each.event), "")
    return replace(receipts[-1], event=event, lanes=tuple(lane for each in receipts for lane in each.lanes))


def with_lengths(store: Store, orders: Sequence[tuple[str, StoredDivert]]) -> list[Backlog]:
    """Each of `orders` with the number of jobs in its backlog, in one round trip."""
    lengths = store.read(lambda ask: [ask.llen(part) for _, each in orders for part in each.backlog_keys])
    rows = zip(orders, codec.in_rows(lengths, 3), strict=True)
    return [(lane, each.divert.order, sum(parts)) for (lane, each), parts in rows]


def standing_on(store: Store, lanes: Sequence[str]) -> Standing:
    """The orders on `lanes`, as they are now."""
    if not lanes:
        return {}
    records = store.read(lambda ask: ask.hmget(store.keys.diverts, list(lanes)))[0]
    return {lane: diverts_from(lane, record) for lane, record in zip(lanes, records, strict=True)}


def readable_on(store: Store, lanes: Sequence[str]) -> tuple[Standing, tuple[RecordUnreadable, ...]]:
    """The orders on those of `lanes` whose record can be read, and why the others cannot."""
    records = store.read(lambda ask: ask.hmget(store.keys.diverts, list(lanes)))[0] if lanes else []
    return readable(dict(zip(lanes, records, strict=True)))


def readable(records: Mapping[str, bytes | None]) -> tuple[Standing, tuple[RecordUnreadable, ...]]:
    """The orders that `records`, by lane, list, and why some of the records cannot be read."""
    found: dict[str, Sequence[StoredDivert]] = {}
    unreadable = []
    for lane, record in records.items():
        try:
            found[lane] = diverts_from(lane, record)
        except RecordUnreadable as error:
            unreadable.append(error)
    return found, tuple(unreadable)


def _order(lane: str, record: dict[str, Any]) -> StoredDivert:
    drain = codec.of_kind(dict, record.get("drain", {}))
    return StoredDivert(
        divert=Divert(
            lane=lane,
            order=codec.of_kind(str, record["id"]),
            **codec.author_fields(record),
            selection=_selection_from(record),
            # a limit of what runs at once has no pace, and so no drain to speak of
            drain=_drain_from(drain) if "rate" in drain else None,
            is_scanning=record.get("scanning") is True,
            is_restoring=record.get("restoring") is True,
            is_limit=record.get("limit") is True,
            most=int(codec.number_field(drain, "most")) if "most" in drain else None,
            until=codec.time_field(record, "until"),
            halted=_halted_from(record.get("halted")),
            is_retry=record.get("retry") is True,
        ),
        event=codec.text_field(record, "event"),
        **{part: codec.of_kind(str, record[part]) for part in _KEYS_OF_ORDER},
    )


def _selection_from(record: dict[str, Any]) -> Selection:
    select = record.get("select")
    # else from the text, since the scripts' encoder makes an array of an empty object
    is_long = isinstance(select, dict) and "any" in select
    return Selection.from_record(select if is_long else json.loads(codec.of_kind(str, record["selection"])))  # type: ignore[arg-type]


def _drain_from(record: dict[str, Any]) -> Drain:
    rate = rate_from(codec.number_field(record, "rate"))
    halt_at = codec.number_field(record, "halt") if "halt" in record else None
    return Drain(rate, **codec.author_fields(record), stays=record.get("stay") is True, halt_at=halt_at)


def _halted_from(record: Any) -> HaltedDrain | None:
    if not isinstance(record, dict):
        return None
    return HaltedDrain(
        event=codec.text_field(record, "event"),
        **codec.author_fields(record),
        failed=int(codec.number_field(record, "failed")),
        ended=int(codec.number_field(record, "ended")),
        halt_at=codec.number_field(record, "halt_at"),
        drain=codec.text_field(record, "drain"),
        rate=rate_from(codec.number_field(record, "rate")),
    )
