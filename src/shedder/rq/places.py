"""In which places can a job be, and how are they walked while they change?

A walk goes in windows, and between two of them jobs move. The two ways of walking here err to
opposite sides. With the flow of jobs, lists from their end, it may meet a job twice, and misses
only one that is put back. Against the flow, lists from their front, it may miss a job, and meets
only one twice that is put back. What both say is so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shedder.keys import Keys
from shedder.lanes import PRIORITIES, Lane, lane_of
from shedder.rq import layout
from shedder.rq.fleet import queue_names
from shedder.rq.layout import intermediate_key, rate_limited_key, registry_key
from shedder.rq.payload import job_of
from shedder.rq.running import list_claims
from shedder.store import Store
from shedder.stored import diverts_from, server_time, text_of

LANE, KEPT, PARKED, BACKLOG, STALE, CLAIM = WAITING = (
    "lane", "kept", "parked", "backlog", "stale", "claim",
)  # fmt: skip
"""Where a job waits for a worker, or is in the hands of one that has not started it."""

KEYS_PER_SCAN = 250
"""Keys that one scan passes at most: each costs more than an item of a list."""

STARTED, ABANDONED = "started", "started, and not heard of since"
STOCK = "stock intermediate"
DEFERRED, SCHEDULED, READY, LIMITED = "deferred", "scheduled", "ready", "rate limited"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in which jobs can be.

    Attributes:
        kind: What it is, such as `lane` or `backlog`.
        lane: Name of the lane it belongs to.
        key: Where it is in Redis.
    """

    kind: str
    lane: str
    key: str

    @property
    def name(self) -> str:
        """Its name for humans, such as `backlog mail.low`."""
        return f"{self.kind} {self.lane}"


Window = tuple[Place, Sequence[str]]
"""A place and some ids of jobs that are in it."""


@dataclass(frozen=True, slots=True)
class Walker:
    """Walks through all places of some lanes, no command longer than `window` items.

    Attributes:
        store: Where to read.
        keys: The names of the keys.
        lanes: Names of the lanes.
        window: Items that one command reads at most.
    """

    store: Store
    keys: Keys
    lanes: Sequence[str]
    window: int

    def with_flow(self) -> Iterator[Window]:
        """All places, in the order in which jobs pass through them."""
        for place in (*_registries(self.lanes), *self._rate_limits()):
            for entries in self._zset(place.key):
                yield place, [text_of(job) for job, _ in entries]
        for place in self._lane_lists():
            yield from self._list_from_end(place)
        for place in (*self._backlogs(), *self._stale()):
            yield from self._list_from_end(place)
        for place in _intermediates(self.lanes):
            yield from self._list_from_end(place)
        yield from self._claims()
        yield from self._executions()

    def against_flow(self) -> Iterator[Window]:
        """The places where jobs wait, in the opposite order."""
        yield from self._claims()
        waiting = (*self._stale(), *reversed(self._backlogs()), *reversed(self._lane_lists()))
        for place in waiting:
            yield from self._list_from_front(place)

    def _lane_lists(self) -> list[Place]:
        kinds = (LANE, PARKED, KEPT)
        places = []
        for lane in self.lanes:
            listed, kept, parked, _ = self.keys.lane(lane)
            keys = (listed, parked, kept)
            places += [Place(kind, lane, key) for kind, key in zip(kinds, keys, strict=True)]
        return places

    def _backlogs(self) -> list[Place]:
        # read when it is their turn: an order may be new
        records = self.store.read(lambda ask: ask.hgetall(self.keys.diverts))[0]
        return [
            Place(BACKLOG, text_of(lane), key)
            for lane, record in records.items()
            for order in diverts_from(text_of(lane), record)
            for key in reversed(order.backlog_keys)
        ]

    def _stale(self) -> list[Place]:
        return [Place(STALE, lane, self.keys.stale(lane)) for lane in self.lanes]

    def _rate_limits(self) -> list[Place]:
        cursor, places = -1, []
        while cursor:
            cursor, names = self._ask("sscan", self.keys.engine.limit_keys, max(cursor, 0))
            places += [Place(LIMITED, name, rate_limited_key(name)) for name in map(text_of, names)]
        return places

    def _list_from_end(self, place: Place) -> Iterator[Window]:
        for last in range(self._length(place.key) - 1, -1, -self.window):
            yield place, self._range(place.key, max(last - self.window + 1, 0), last)

    def _list_from_front(self, place: Place) -> Iterator[Window]:
        before: list[str] = []
        for first in range(0, self._length(place.key), self.window):
            # from the last one of the window before, which tells whether jobs have moved meanwhile
            ids = self._range(place.key, max(first - 1, 0), first + self.window - 1)
            yield place, _without_overlap(before, ids)
            before = ids

    def _length(self, key: str) -> int:
        # what is pushed from now on needs no look, and a walk must end
        length: int = self.store.read(lambda ask: ask.llen(key))[0]
        return length

    def _range(self, key: str, first: int, last: int) -> list[str]:
        ids = self.store.read(lambda ask: ask.lrange(key, first, last))[0]
        return [text_of(job) for job in ids]

    def _claims(self) -> Iterator[Window]:
        first, known, is_more = 0, set(), True
        while is_more:
            command = list_claims(self.keys, first=first, limit=self.window, starting=0)
            claims = self.store.run(command)
            for claim in claims:
                # a sign of life moves a claim to another rank, and so into another window
                if claim.token not in known:
                    known.add(claim.token)
                    yield Place(CLAIM, claim.lane, self.keys.claims), (claim.job_id,)
            first += self.window
            is_more = len(claims) == self.window

    def _executions(self) -> Iterator[Window]:
        now = server_time(self.store).timestamp()
        for lane in self.lanes:
            key = registry_key(layout.STARTED, lane)
            for entries in self._zset(key):
                live = [job_of(member) for member, until in entries if until > now]
                expired = [job_of(member) for member, until in entries if until <= now]
                yield Place(STARTED, lane, key), live
                yield Place(ABANDONED, lane, key), expired

    def _zset(self, key: str) -> Iterator[list[tuple[bytes, float]]]:
        cursor = -1
        while cursor:
            cursor, entries = self._ask("zscan", key, max(cursor, 0))
            yield entries

    def _ask(self, verb: str, key: str, cursor: int) -> Any:
        return self.store.read(lambda ask: getattr(ask, verb)(key, cursor, count=self.window))[0]


def all_lanes(store: Store, keys: Keys, *, origins: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of all lanes of the queues that RQ knows, that have a control, or in `origins`."""

    def ask_names(ask: Any) -> None:
        ask.smembers(keys.engine.queues)
        ask.hkeys(keys.pauses)
        ask.hkeys(keys.diverts)

    queues, paused, diverted = store.read(ask_names)
    names = {*queue_names(keys, queues), *map(text_of, paused), *map(text_of, diverted), *origins}
    of_queues = {Lane(lane_of(n).queue, each).name for n in names for each in PRIORITIES}
    return tuple(sorted(names | of_queues))


def scan_keys(
    store: Store, beginning: str, *, kind: str | None = None, count: int = KEYS_PER_SCAN
) -> Iterator[list[str]]:
    """The names of the keys with this `beginning`, page by page; one may come twice."""
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", beginning) + "*"
    cursor = 0

    def ask_keys(ask: Any) -> None:
        ask.scan(cursor, match=pattern, count=count, _type=kind)

    is_more = True
    while is_more:
        cursor, found = store.read(ask_keys)[0]
        is_more = cursor != 0
        yield [text_of(key) for key in found]


def _registries(lanes: Sequence[str]) -> Iterator[Place]:
    kinds = {DEFERRED: layout.DEFERRED, SCHEDULED: layout.SCHEDULED, READY: layout.READY}
    for kind, registry in kinds.items():
        for lane in lanes:
            yield Place(kind, lane, registry_key(registry, lane))


def _intermediates(lanes: Sequence[str]) -> Iterator[Place]:
    for lane in lanes:
        yield Place(STOCK, lane, intermediate_key(lane))


def _without_overlap(before: list[str], ids: list[str]) -> list[str]:
    """`ids` without those at its front that are the end of the window before."""
    for met in range(1, min(len(before), len(ids)) + 1):
        if ids[met - 1] == before[-1] and ids[:met] == before[-met:]:
            return ids[met:]
    return ids
