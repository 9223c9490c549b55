"""What happened, who did it and why: how is the journal written and read?

Scripts append an event in the same step as the change that it tells of. It has three fields of
JSON: `head`, made here, `before` and `after`. The id that Redis gives it is its time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from shedder.errors import EventNotFound
from shedder.records import Cause, Event
from shedder.records.events import position_of
from shedder.store import Command
from shedder.stored import ms_from_time, read_with_time, text_of, time_from_ms

if TYPE_CHECKING:
    from shedder.keys import Keys
    from shedder.store import Store

HEAD_VERSION = 1

UNREADABLE = "unreadable"
"""The verb of an event that is damaged or of a newer shedder; its details hold what is stored."""

EVENTS_PER_PAGE = 200
EVENTS_LATELY = 20
"""So many are read at once when the latest are asked for."""

LONGEST_BLOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Written:
    """An event that was written.

    Attributes:
        event: Its id; empty when there was nothing to write.
        at: Server's clock, UTC.
    """

    event: str
    at: datetime


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
    """The last `limit` events of another `stream` than the journal, oldest first."""
    entries = store.read(lambda ask: ask.xrevrange(stream, count=max(limit, 1)))[0]
    return tuple(map(_event, reversed(entries)))


def read_events(
    store: Store,
    keys: Keys,
    *,
    limit: int,
    after: str | None = None,
    since: datetime | None = None,
    lanes: Sequence[str] = (),
    wanted: Callable[[Event], bool] | None = None,
) -> tuple[Event, ...]:
    """The last `limit` events, or the first `limit` after the id `after`; oldest first.

    `since` ends the way back from the newest one. With `lanes` only those that concern one of
    them; only those that are `wanted` count.

    Raises:
        EventNotFound: `after` is no id.
    """
    is_all = not lanes and wanted is None
    page = min(limit, EVENTS_PER_PAGE) if is_all else EVENTS_PER_PAGE
    if after is None:
        pages = _pages_back(store, keys, page, since)
    else:
        pages = _pages_on(store, keys, _checked_id(after, _POSITION), page)
    events = (event for entries in pages for event in map(_event, entries))
    concerned = frozenset(lanes)
    found = (each for each in events if _concerns(each, concerned) and (not wanted or wanted(each)))
    first = [*islice(found, max(limit, 0))]
    return tuple(first if after is not None else reversed(first))


def read_latest(
    store: Store, keys: Keys, span: timedelta, *, limit: int, wanted: Callable[[Event], bool]
) -> tuple[Event, ...]:
    """The newest `limit` events of the last `span` that are `wanted`, oldest first.

    By the server's clock, and in one round trip, unless there were very many.
    """
    now, (entries,) = read_with_time(
        store, lambda ask: ask.xrevrange(keys.events, count=EVENTS_LATELY)
    )
    found = [each for each in map(_event, reversed(entries)) if each.at > now - span]
    if len(found) < EVENTS_LATELY:
        return tuple(filter(wanted, found))
    return read_events(store, keys, limit=limit, since=now - span, wanted=wanted)


def events_back(store: Store, keys: Keys) -> Iterator[Event]:
    """All events of the journal, the newest first, read page by page."""
    return (
        _event(entry) for page in _pages_back(store, keys, EVENTS_PER_PAGE, None) for entry in page
    )


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
    last = _newest_id(store, keys) if after == "$" else _checked_id(after, _POSITION)
    return _following(store, keys, last, until)


class Tail:
    """The events of the last `span` that are `wanted`; each is read once, as it comes."""

    def __init__(
        self, store: Store, keys: Keys, *, span: timedelta, wanted: Callable[[Event], bool]
    ) -> None:
        self._store = store
        self._keys = keys
        self._span = span
        self._wanted = wanted
        self._last = ""
        self._events: tuple[Event, ...] = ()

    def read(self, now: datetime) -> tuple[Event, ...]:
        """Those of the `span` before `now`, oldest first."""
        newest = _newest_id(self._store, self._keys)
        if not self._last or position_of(newest) < position_of(self._last):
            # at the first time; and after a fail-over, which may lose events that were read here
            self._last = f"{max(ms_from_time(now - self._span), 0)}-0"
            self._events = ()
        if position_of(self._last) < position_of(newest):
            for entries in _pages_on(self._store, self._keys, self._last, EVENTS_PER_PAGE):
                self._take(entries)
        self._events = tuple(each for each in self._events if now - self._span <= each.at)
        return self._events

    def _take(self, entries: Sequence[_Entry]) -> None:
        if entries:
            self._last = text_of(entries[-1][0])
            self._events += tuple(filter(self._wanted, map(_event, entries)))


def end_mitigation(keys: Keys, event: str, head: str = "") -> Command[Written]:
    """Write how the mitigation ended which began with `event`; without `head`, that it is unseen.

    The latter only when its process is silent.
    """
    return Command(
        "end_mitigation",
        (keys.mitigations, keys.events, keys.operation(uuid4().hex)),
        ("end", event, head),
        written_from,
    )


def end_silent(store: Store, keys: Keys) -> tuple[str, ...]:
    """Write down that nobody has seen the end of those whose process is silent; their events."""
    begun = store.read(lambda ask: ask.hkeys(keys.mitigations))[0]
    ended = (store.run(end_mitigation(keys, text_of(each))) for each in begun)
    return tuple(each.event for each in ended if each.event)


def written_from(reply: list[bytes]) -> Written:
    """What the reply of a script that writes an event says."""
    return Written(text_of(reply[0]), time_from_ms(int(reply[1])))


_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_POSITION = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_LARGEST_PART = 2**64 - 1

_Entry = tuple[bytes, Mapping[bytes, bytes]]


def _newest_id(store: Store, keys: Keys) -> str:
    newest = store.read(lambda ask: ask.xrevrange(keys.events, count=1))[0]
    return text_of(newest[0][0]) if newest else "0-0"


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


def _pages_back(
    store: Store, keys: Keys, page: int, since: datetime | None
) -> Iterator[list[_Entry]]:
    newest, oldest = "+", "-"
    if since is not None:  # an id has whole milliseconds, and none is earlier than `since`
        oldest = f"{max(ms_from_time(since + timedelta(microseconds=999)), 0)}"

    def ask_page(ask: Any) -> None:
        ask.xrevrange(keys.events, newest, oldest, count=page)

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
