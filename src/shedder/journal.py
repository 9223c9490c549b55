"""What happened, who did it and why: how is the journal written and read?

Scripts append an event in the same step as the change that it tells of. It has three fields of
JSON: `head`, made here, `before` and `after`. The id that Redis gives it is its time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from shedder.errors import EventNotFound
from shedder.records import Cause, Event
from shedder.stored import text_of, time_from_ms

if TYPE_CHECKING:
    from shedder.keys import Keys
    from shedder.store import Store

HEAD_VERSION = 1

UNREADABLE = "unreadable"
"""The verb of an event that is damaged or of a newer shedder; its details hold what is stored."""

EVENTS_PER_PAGE = 200
LONGEST_BLOCK_SECONDS = 1.0


def event_head(
    verb: str,
    cause: Cause,
    lanes: Iterable[str],
    *,
    order: str = "",
    undoes: str = "",
    **details: Any,
) -> str:
    """What an event says beside numbers, as JSON for a script.

    `details` are values that JSON can hold; those that are None are left out. Half a character of
    UTF-16, which neither Redis nor a terminal takes, becomes a question mark.
    """
    head = {
        **details,
        "order": order or None,
        "undoes": undoes or None,
        "incident": cause.incident or None,
        "role": cause.role or None,
        "readings": cause.readings or None,
    }
    known = {name: value for name, value in head.items() if value is not None}
    fixed = {"v": HEAD_VERSION, "verb": verb, "by": cause.by, "why": cause.why}
    return json.dumps(_clean({**known, **fixed, "lanes": list(lanes)}), allow_nan=False)


def head_of(event: Event) -> dict[str, Any]:
    """The head that `event` was read from."""
    names = ("order", "undoes", "incident", "role")
    known = {name: getattr(event, name) for name in names if getattr(event, name)}
    fixed = {"v": HEAD_VERSION, "verb": event.verb, "by": event.by, "why": event.why}
    return {**event.details, **known, **fixed, "lanes": list(event.lanes)}


def read_copies(store: Store, stream: str, *, limit: int) -> tuple[Event, ...]:
    """The first `limit` events of another `stream` than the journal, oldest first."""
    entries = store.read(lambda ask: ask.xrange(stream, count=max(limit, 1)))[0]
    return tuple(map(_event, entries))


def read_events(
    store: Store, keys: Keys, *, limit: int, after: str | None = None, lanes: Sequence[str] = ()
) -> tuple[Event, ...]:
    """The last `limit` events, or the first `limit` after the id `after`; oldest first.

    With `lanes` only those that concern one of them.

    Raises:
        EventNotFound: `after` is no id.
    """
    page = min(limit, EVENTS_PER_PAGE) if not lanes else EVENTS_PER_PAGE
    if after is None:
        pages = _pages_back(store, keys, page)
    else:
        pages = _pages_on(store, keys, _checked_id(after, _POSITION), page)
    events = (event for entries in pages for event in map(_event, entries))
    concerned = frozenset(lanes)
    wanted = [*islice((event for event in events if _concerns(event, concerned)), max(limit, 0))]
    return tuple(wanted if after is not None else reversed(wanted))


def events_back(store: Store, keys: Keys) -> Iterator[Event]:
    """All events of the journal, the newest first, read page by page."""
    return (_event(entry) for page in _pages_back(store, keys, EVENTS_PER_PAGE) for entry in page)


def find_event(store: Store, keys: Keys, event_id: str) -> Event:
    """The event with this id.

    Raises:
        EventNotFound: there is none; what is no id at all is refused without asking Redis.
    """
    identifier = _checked_id(event_id, _ID)
    found = store.read(lambda ask: ask.xrange(keys.events, identifier, identifier, count=1))[0]
    if not found:
        raise EventNotFound(event_id)
    return _event(found[0])


def follow(
    store: Store, keys: Keys, *, after: str = "$", until: Callable[[], bool]
) -> Iterator[Event]:
    """The events after the id `after`, as they come; `$` stands for those after this call.

    Returns when `until` gives true, which is asked at least once a second.

    Raises:
        EventNotFound: `after` is no id.
    """
    if after == "$":
        newest = store.read(lambda ask: ask.xrevrange(keys.events, count=1))[0]
        last = text_of(newest[0][0]) if newest else "0-0"
    else:
        last = _checked_id(after, _POSITION)
    return _following(store, keys, last, until)


_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_POSITION = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_LARGEST_PART = 2**64 - 1

_Entry = tuple[bytes, Mapping[bytes, bytes]]


def _following(store: Store, keys: Keys, last: str, until: Callable[[], bool]) -> Iterator[Event]:
    block = int(1000 * _block_seconds(store))

    def ask_next(ask: Any) -> None:
        ask.xread({keys.events: last}, count=1, block=block)
        ask.xrange(keys.events, f"({last}", count=EVENTS_PER_PAGE)

    while not until():
        _, entries = store.read(ask_next)
        for event in map(_event, entries):
            last = event.id
            yield event


def _block_seconds(store: Store) -> float:
    # The client of the user gives up on an answer after its own time, and stays as it is.
    patience = store.connection.connection_pool.connection_kwargs.get("socket_timeout")
    return min(LONGEST_BLOCK_SECONDS, patience / 2) if patience else LONGEST_BLOCK_SECONDS


def _pages_back(store: Store, keys: Keys, page: int) -> Iterator[list[_Entry]]:
    newest = "+"

    def ask_page(ask: Any) -> None:
        ask.xrevrange(keys.events, newest, count=page)

    while newest:
        entries = store.read(ask_page)[0]
        yield entries
        newest = f"({text_of(entries[-1][0])}" if len(entries) == page else ""


def _pages_on(store: Store, keys: Keys, after: str, page: int) -> Iterator[list[_Entry]]:
    def ask_page(ask: Any) -> None:
        ask.xrange(keys.events, f"({after}", count=page)

    while after:
        entries = store.read(ask_page)[0]
        yield entries
        after = text_of(entries[-1][0]) if len(entries) == page else ""


def _checked_id(text: str, pattern: re.Pattern[str]) -> str:
    found = pattern.fullmatch(text)
    if found is None or any(int(part) > _LARGEST_PART for part in found.groups(default="0")):
        raise EventNotFound(text)
    return text


def _concerns(event: Event, lanes: frozenset[str]) -> bool:
    return not lanes or not lanes.isdisjoint(event.lanes)


def _event(entry: _Entry) -> Event:
    identifier = text_of(entry[0])
    fields = {text_of(name): text_of(value) for name, value in entry[1].items()}
    try:
        return _readable_event(identifier, fields)
    except (KeyError, RecursionError, TypeError, ValueError):
        at = _time_of(identifier)
        return Event(identifier, at, UNREADABLE, by="", why="", lanes=(), details=fields)


def _readable_event(identifier: str, fields: Mapping[str, str]) -> Event:
    head = _mapping(fields["head"])
    if head.pop("v") != HEAD_VERSION:
        raise ValueError("of a newer shedder")
    lanes = head.pop("lanes") or []  # the scripts' encoder writes an empty array as {}
    if not isinstance(lanes, list):
        raise TypeError("lanes are no list")
    return Event(
        id=identifier,
        at=_time_of(identifier),
        verb=_string(head.pop("verb")),
        by=_string(head.pop("by", "")),
        why=_string(head.pop("why", "")),
        lanes=tuple(_string(lane) for lane in lanes),
        order=_string(head.pop("order", "")),
        undoes=_string(head.pop("undoes", "")),
        before=_mapping(fields["before"]),
        after=_mapping(fields["after"]),
        incident=_string(head.pop("incident", "")),
        role=_string(head.pop("role", "")),
        details=head,
    )


def _time_of(identifier: str) -> datetime:
    try:
        return time_from_ms(int(identifier.partition("-")[0]))
    except OverflowError:  # somebody wrote an id of his own
        return datetime.max.replace(tzinfo=UTC)


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_clean(str(name)): _clean(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value
