"""What do the records say that shedder keeps in Redis?

A record is JSON with a version. One of a newer version, or a damaged one, is refused and left as it
is: the scripts let no job of its lane start, and who acts on half a record acts wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from shedder.errors import InvalidInput, RecordUnreadable
from shedder.rates import Rate
from shedder.records import Divert, Drain, Pause, StartsLimit
from shedder.selection import Selection

if TYPE_CHECKING:
    from shedder.store import Store

T = TypeVar("T")

RECORD_VERSION = 1
"""The version that is read and written; the twin of the one in `lua/lib/controls.lua`."""

NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""When what has not happened happened: the beginning of the server's clock."""

LONGEST_LEASE_MS = 60_000
"""Nobody asks for longer; the twin of the one in `lua/lib/lease.lua`, which says why."""


def is_held(left_ms: int) -> bool:
    """Whether a lease is in force that has so many milliseconds left, as PTTL tells them."""
    return 0 < left_ms <= LONGEST_LEASE_MS


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """A divert as it is stored: the order, and the keys of its backlog and of its drain.

    Attributes:
        divert: What it says, without the numbers (backlog, released, skipped): see `counted`.
        front: Key of the list of jobs that came back or stood in `kept`.
        rest: Key of the list that is read last, and that arrivals join.
        slot: Key of the list of jobs that wait for a slot of RQ's own rate limit; it is read first.
        bucket: Key of the hash with the drain's tokens and counts.
        skipped: Key of the list of the first jobs that the drain skipped.
        event: Id of the event that set it; empty when a shedder set it that noted none.
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
            numbers = {text_of(name): value for name, value in counts.items()}
            drain = replace(
                drain, released=_count(numbers.get("released")), skipped=_skipped(numbers)
            )
        return replace(self.divert, backlog=backlog, drain=drain)


def pause_from(lane: str, text: bytes | str | None) -> Pause | None:
    """The pause that the record `text` describes; None when there is no record.

    It may have run out: see `is_in_force`.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    if not text:
        return None
    with _reading(f"of the pause of {lane}"):
        record = _versioned(json.loads(text_of(text)))
        return Pause(
            lane=lane,
            by=_text(record, "by"),
            why=_text(record, "why"),
            since=time_from_ms(_number(record, "since")),
            until=None if record.get("until") is None else time_from_ms(_number(record, "until")),
            is_parked=record.get("parked") is True,
        )


def is_in_force(record: Pause, now_ms: float) -> bool:
    """Whether a pause holds at `now_ms` (milliseconds of the server's clock)."""
    return record.until is None or now_ms < ms_from_time(record.until)


def diverts_from(lane: str, text: bytes | str | None) -> tuple[StoredOrder, ...]:
    """The orders that the record `text` lists, oldest first; none when there is no record.

    Raises:
        RecordUnreadable: one is damaged or of a newer shedder.
    """
    if not text:
        return ()
    with _reading(f"of the diverts of {lane}"):
        records = json.loads(text_of(text))
        if records == {}:
            return ()  # so the scripts' encoder writes an empty array
        return tuple(_order(lane, _versioned(record)) for record in of_kind(list, records))


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


def time_from_ms(milliseconds: float) -> datetime:
    """The time that the server's clock tells in milliseconds since 1970, in UTC.

    Raises:
        OverflowError, ValueError: it is no time that Python knows.
    """
    return _EPOCH + timedelta(milliseconds=milliseconds)


def ms_from_time(when: datetime) -> int:
    """Milliseconds from 1970 to `when`, cut off."""
    return (when - _EPOCH) // timedelta(milliseconds=1)


def server_time(store: Store) -> datetime:
    """What time it is by the server's clock, in UTC."""
    return read_with_time(store, lambda _ask: None)[0]


def read_with_time(store: Store, ask_more: Callable[[Any], Any]) -> tuple[datetime, list[Any]]:
    """The time by the server's clock, in UTC, and the replies to what `ask_more` asks."""

    def ask_all(ask: Any) -> None:
        ask.time()
        ask_more(ask)

    (seconds, microseconds), *replies = store.read(ask_all)
    return _EPOCH + timedelta(seconds=seconds, microseconds=microseconds), replies


def of_kind(kind: type[T], value: object) -> T:
    """`value`, which a record holds.

    Raises:
        TypeError: it is of another kind.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.50} stands where a {kind.__name__} should")
    return value


def count_of(text: bytes | str | None) -> int:
    """A count as Redis keeps it; 0 for none, and for one that somebody has damaged by hand."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


def text_of(value: bytes | str) -> str:
    """What Redis returned, as text; bytes that are no UTF-8 are shown as U+FFFD."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


_EPOCH = NO_TIME


def _order(lane: str, record: dict[str, Any]) -> StoredOrder:
    drain = of_kind(dict, record.get("drain", {}))
    return StoredOrder(
        divert=Divert(
            lane=lane,
            order=of_kind(str, record["id"]),
            by=_text(record, "by"),
            why=_text(record, "why"),
            since=time_from_ms(_number(record, "since")),
            selection=Selection.from_record(json.loads(of_kind(str, record["selection"]))),
            # a limit of what runs at once has no pace, and so no drain to speak of
            drain=_drain(drain) if "rate" in drain else None,
            is_scanning=record.get("scanning") is True,
            is_restoring=record.get("restoring") is True,
            is_limit=record.get("limit") is True,
            most=int(_number(drain, "most")) if "most" in drain else None,
            until=None if record.get("until") is None else time_from_ms(_number(record, "until")),
        ),
        event=_text(record, "event"),
        **{
            part: of_kind(str, record[part])
            for part in ("front", "rest", "slot", "bucket", "skipped")
        },
    )


def _drain(record: dict[str, Any]) -> Drain:
    return Drain(
        rate=rate_from(_number(record, "rate")),
        by=_text(record, "by"),
        why=_text(record, "why"),
        since=time_from_ms(_number(record, "since")),
        stays=record.get("stay") is True,
    )


def starts_limit_from(lane: str, record: Mapping[str, Any]) -> StartsLimit:
    """What a limit on starts said, as an event has it.

    Raises:
        RecordUnreadable: it is damaged.
    """
    with _reading(f"of the limit on {lane}"):
        until = record.get("until")
        return StartsLimit(
            lane=lane,
            rate=rate_from(_number(record, "rate")) if "rate" in record else None,
            most=int(_number(record, "most")) if "most" in record else None,
            by=_text(record, "by"),
            why=_text(record, "why"),
            since=time_from_ms(_number(record, "since")),
            until=None if until is None else time_from_ms(_number(record, "until")),
        )


def _skipped(numbers: Mapping[str, bytes]) -> dict[str, int]:
    prefix = "skipped:"
    return {
        name.removeprefix(prefix): _count(value)
        for name, value in numbers.items()
        if name.startswith(prefix)
    }


def _count(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0


def _versioned(record: object) -> dict[str, Any]:
    fields = of_kind(dict, record)
    version = _number(fields, "v")
    if version != RECORD_VERSION:
        raise ValueError(f"it is of version {version:g}; this shedder reads {RECORD_VERSION}")
    return fields


def _text(record: Mapping[str, Any], name: str) -> str:
    return of_kind(str, record.get(name, ""))


def _number(record: Mapping[str, Any], name: str) -> float:
    number = record[name]
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} is no number")
    return number


@contextmanager
def _reading(key: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise RecordUnreadable(key, reason=f"it has no {error}") from error
    except (InvalidInput, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise RecordUnreadable(key, reason=str(error)) from error
