"""Values as Redis keeps them: text, times, counts, versioned records, leases.

A record is JSON with a version. One of a newer version, or a damaged one, is refused and left as it
is: the scripts let no job of its lane start, because half a record would be obeyed wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from shedder.errors import InvalidInput, RecordUnreadable

if TYPE_CHECKING:
    from shedder.store.store import Store


T = TypeVar("T")

RECORD_VERSION = 1
"""The version that is read and written; the twin of the one in `lua/lib/controls.lua`."""

NO_TIME = _EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for no time: the beginning of the server's clock."""

LONGEST_LEASE_MS = 60_000
"""No lease is longer; the twin of the one in `lua/lib/lease.lua`, which says why."""


def is_held(left_ms: int) -> bool:
    """Whether a lease is in force that has `left_ms` milliseconds left, as PTTL tells them."""
    return 0 < left_ms <= LONGEST_LEASE_MS


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


def in_rows(flat: Sequence[T], width: int) -> Iterator[tuple[T, ...]]:
    """What stands one after the other in `flat`, in rows of `width`."""
    return zip(*(flat[first::width] for first in range(width)), strict=True)


def versioned_record(record: object, *, newest: int = RECORD_VERSION) -> dict[str, Any]:
    """The fields of `record`, which is of a version up to `newest`; raises ValueError otherwise."""
    fields = of_kind(dict, record)
    version = number_field(fields, "v")
    if not RECORD_VERSION <= version <= newest:
        raise ValueError(f"it is of version {version:g}; this shedder reads {newest}")
    return fields


def text_field(record: Mapping[str, Any], name: str) -> str:
    """The text in field `name`, empty when there is none; raises TypeError for another kind."""
    return of_kind(str, record.get(name, ""))


def number_field(record: Mapping[str, Any], name: str) -> float:
    """The number in field `name`; raises KeyError or TypeError."""
    number = record[name]
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} is no number")
    return number


def time_field(record: Mapping[str, Any], name: str) -> datetime | None:
    """The time in field `name`, None when there is none; raises OverflowError or TypeError."""
    return None if record.get(name) is None else time_from_ms(number_field(record, name))


def mapping_field(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The mapping in field `name`; an empty one where there is none, or something else."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def given_fields(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of the fields `names` that have a value."""
    return {name: record[name] for name in names if record.get(name) is not None}


def author_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """What each record of a control says: `by`, `why` and `since`; raises KeyError or TypeError."""
    return {
        "by": text_field(record, "by"),
        "why": text_field(record, "why"),
        "since": time_from_ms(number_field(record, "since")),
    }


@contextmanager
def reading_record(key: str) -> Iterator[None]:
    """Turn what goes wrong while a record is read into `RecordUnreadable`, which names `key`."""
    try:
        yield
    except KeyError as error:
        raise RecordUnreadable(key, reason=f"it has no {error}") from error
    except (AttributeError, InvalidInput, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise RecordUnreadable(key, reason=str(error)) from error
