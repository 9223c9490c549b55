"""The audit: whether every job is in exactly one place; the places, and walks through them.

First all places are walked, then all jobs. What looks wrong then may only have moved meanwhile, so
it is looked for again, until it was found or three looks have said the same. A job that a queue
with `is_async=False` runs right now stands in no place, and counts as nowhere: RQ itself cannot
tell it from a lost one.

A walk goes in windows, and between two of them jobs move. The two ways of walking here err to
opposite sides. With the flow of jobs, lists from their end, it may meet a job twice, and misses
only one that is put back. Against the flow, lists from their front, it may miss a job, and meets
only one twice that is put back. What both say is so.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shedder.engine import names as engine
from shedder.engine.jobs import JobState, job_of
from shedder.errors import RecordUnreadable
from shedder.queues.claims import list_claims
from shedder.queues.controls import all_lanes, readable
from shedder.store.codec import server_time, text_of
from shedder.store.store import Operation, Progress, Store

WINDOW = 500
"""Items that one command reads at most: 0.5 ms of the server, a few when its memory is cold."""

KEYS_PER_SCAN = 250
"""Keys that one scan passes at most: each costs more than an item of a list."""

LOOKS = 3
"""Looks that must miss a job before it counts as nowhere, or find it twice."""

SECONDS_BETWEEN_LOOKS = 0.2
"""A stock worker has a job in hand that stands nowhere for some milliseconds."""

LANE, KEPT, PARKED, BACKLOG, STALE, CLAIM = WAITING = ("lane", "kept", "parked", "backlog", "stale", "claim")
"""Where a job waits for a worker, or is in the hands of one that has not started it."""

STARTED, ABANDONED = "started", "started, and not heard of since"
DEFERRED, SCHEDULED, READY, LIMITED = "deferred", "scheduled", "ready", "rate limited"
STOCK = "stock intermediate"


def audit(store: Store, *, window: int = WINDOW, on_progress: Progress | None = None) -> AuditReport:
    """Where every job is, and which are in no place, in two, or gone.

    `on_progress` is told how many entries and keys were looked at, and of about how many. Where the
    record of a divert cannot be read, any list of a backlog that no other record names is its own.
    """
    ledger = _Ledger()
    walker = Walker(store, all_lanes(store), window, is_strict=False)
    total = _size(walker) if on_progress else 0
    count = Operation(on_progress, total).count
    for place, ids in walker.with_flow():
        ledger.enter(place.kind, ids)
        count(len(ids))
    for ids in _job_ids(walker):
        ledger.place(_facts(walker, ledger.find(ids)))
        count(min(window, KEYS_PER_SCAN))
    twice = _confirm_twice(walker, ledger.doubled)
    nowhere, dangling = _confirm_missing(walker, ledger)
    count(total)
    return AuditReport(
        at=server_time(store),
        jobs=ledger.jobs,
        places=dict(ledger.places),
        nowhere=tuple(sorted(nowhere)),
        twice=tuple(sorted(twice.items())),
        dangling=tuple(sorted(dangling)),
        unreadable=tuple(sorted(map(str, walker.unreadable()))),
    )


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Where every job is.

    Attributes:
        at: When the audit ended (server's clock, UTC).
        jobs: Jobs (hashes) found.
        places: Jobs by kind of place (`lane`, `kept`, `parked`, `backlog`, `claim`, `started`,
            `finished`, `failed`, `deferred`, `scheduled`, `ready`, `canceled`, `rate limited`,
            `stock intermediate`).
        nowhere: Ids of jobs that are in no place.
        twice: Ids of jobs that are in two waiting places, with the names of these places.
        dangling: Ids in a waiting place whose job is gone (expired or deleted).
        unreadable: Why the diverts of a lane cannot be read, a sentence each; what is in its backlogs
            does not start.
    """

    at: datetime
    jobs: int
    places: Mapping[str, int]
    nowhere: tuple[str, ...] = ()
    twice: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dangling: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether every job is in exactly one place, of which the record can be read."""
        return not self.nowhere and not self.twice and not self.unreadable


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
        lanes: Names of the lanes.
        window: Items that one command reads at most.
        is_strict: A record of diverts that cannot be read raises `RecordUnreadable`.
    """

    store: Store
    lanes: Sequence[str]
    window: int
    is_strict: bool = True

    def with_flow(self) -> Iterator[Window]:
        """All places, in the order in which jobs pass through them."""
        for place in (*self._registries(), *self._rate_limits()):
            for entries in self._zset(place.key):
                yield place, [text_of(job) for job, _ in entries]
        for places in (self._lane_lists, self._backlogs, self._stale, self._intermediates):
            for place in places():  # read when it is their turn: an order may be new
                yield from self._list_from_end(place)
        yield from self._claims()
        yield from self._executions()

    def against_flow(self) -> Iterator[Window]:
        """The places where jobs wait, in the opposite order."""
        yield from self._claims()
        waiting = (*self._stale(), *reversed(self._backlogs()), *reversed(self._lane_lists()))
        for place in waiting:
            yield from self._list_from_front(place)

    def _registries(self) -> list[Place]:
        kinds = {DEFERRED: engine.DEFERRED, SCHEDULED: engine.SCHEDULED, READY: engine.READY}
        return [
            Place(kind, lane, engine.registry_key(registry, lane))
            for kind, registry in kinds.items()
            for lane in self.lanes
        ]

    def _intermediates(self) -> list[Place]:
        return [Place(STOCK, lane, engine.intermediate_key(lane)) for lane in self.lanes]

    def _lane_lists(self) -> list[Place]:
        places = []
        for lane in self.lanes:
            listed, kept, parked, _ = self.store.keys.lane(lane)
            keys = {LANE: listed, PARKED: parked, KEPT: kept}
            places += [Place(kind, lane, key) for kind, key in keys.items()]
        return places

    def _backlogs(self) -> list[Place]:
        orders, unreadable = readable(self._records())
        if unreadable and self.is_strict:
            raise unreadable[0]
        places = [
            Place(BACKLOG, lane, key)
            for lane, found in orders.items()
            for order in found
            for key in reversed(order.backlog_keys)
        ]
        return places + self._hidden_backlogs({place.key for place in places}) if unreadable else places

    def _hidden_backlogs(self, known: set[str]) -> list[Place]:
        """The lists of backlogs that no record names that can be read."""
        prefix = self.store.keys.backlogs
        found = {key for page in scan_keys(self.store, prefix, kind="LIST") for key in page}
        # order:lane:part
        return [Place(BACKLOG, key.removeprefix(prefix).partition(":")[2].rpartition(":")[0], key)
                for key in sorted(found - known)]  # fmt: skip

    def _records(self) -> dict[str, bytes]:
        found = self.store.read(lambda ask: ask.hgetall(self.store.keys.diverts))[0]
        return {text_of(lane): record for lane, record in found.items()}

    def unreadable(self) -> tuple[RecordUnreadable, ...]:
        """Why some records of diverts cannot be read."""
        return readable(self._records())[1]

    def _stale(self) -> list[Place]:
        return [Place(STALE, lane, self.store.keys.stale(lane)) for lane in self.lanes]

    def _rate_limits(self) -> list[Place]:
        key = self.store.keys.engine.limit_keys
        pages = _pages(self.store, lambda ask, at: ask.sscan(key, at, count=self.window))
        names = [text_of(name) for page in pages for name in page]
        return [Place(LIMITED, name, engine.rate_limited_key(name)) for name in names]

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
            command = list_claims(self.store.keys, first=first, limit=self.window, starting=0)
            claims = self.store.run(command)
            for claim in claims:
                # a sign of life moves a claim to another rank, and so into another window
                if claim.token not in known:
                    known.add(claim.token)
                    yield Place(CLAIM, claim.lane, self.store.keys.claims), (claim.job_id,)
            first += self.window
            is_more = len(claims) == self.window

    def _executions(self) -> Iterator[Window]:
        now = server_time(self.store).timestamp()
        for lane in self.lanes:
            key = engine.registry_key(engine.STARTED, lane)
            for entries in self._zset(key):
                live = [job_of(member) for member, until in entries if until > now]
                expired = [job_of(member) for member, until in entries if until <= now]
                yield Place(STARTED, lane, key), live
                yield Place(ABANDONED, lane, key), expired

    def _zset(self, key: str) -> Iterator[list[tuple[bytes, float]]]:
        return _pages(self.store, lambda ask, at: ask.zscan(key, at, count=self.window))


def met_anywhere(walker: Walker, jobs: set[str], *, origins: Iterable[str]) -> Mapping[str, set[str]]:
    """In which kinds of places a walk with the flow meets each of `jobs`.

    It goes through the lanes of `origins` too. One that it does not name was nowhere, or was put
    back into a place that had been walked.
    """
    seen: dict[str, set[str]] = {}
    if jobs:
        lanes = all_lanes(walker.store, origins=origins)
        for place, ids in replace(walker, lanes=lanes).with_flow():
            for job in jobs.intersection(ids):
                seen.setdefault(job, set()).add(place.kind)
    return seen


def met_waiting(walker: Walker, jobs: set[str]) -> Mapping[str, tuple[Place, ...]]:
    """The places in which each of `jobs` waits, as often as it is there, in the order of a walk.

    The walk goes against the flow. One that it names twice was put back, or is there twice.
    """
    met: dict[str, tuple[Place, ...]] = {}
    for place, ids in walker.against_flow() if jobs else ():
        for job in ids:
            if job in jobs:
                met[job] = (*met.get(job, ()), place)
    return met


def scan_keys(
    store: Store, beginning: str, *, kind: str | None = None, count: int = KEYS_PER_SCAN
) -> Iterator[list[str]]:
    """The names of the keys with this `beginning`, page by page; one may come twice."""
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", beginning) + "*"
    pages = _pages(store, lambda ask, at: ask.scan(at, match=pattern, count=count, _type=kind))
    return ([text_of(key) for key in page] for page in pages)


def read_each(
    store: Store, items: Sequence[Any], *asks: Callable[[Any, Any], Any], window: int = WINDOW
) -> Iterator[tuple[Any, ...]]:
    """Each of `items` with the replies to what `asks` ask of it, `window` items a round trip."""

    def ask_all(ask: Any) -> None:
        for item in some:
            for each in asks:
                each(ask, item)

    for first in range(0, len(items), window):
        some = items[first : first + window]
        replies = store.read(ask_all)
        columns = (replies[number :: len(asks)] for number in range(len(asks)))
        yield from zip(some, *columns, strict=True)


_KINDS = (*WAITING, STARTED, ABANDONED, STOCK, DEFERRED, SCHEDULED, READY, LIMITED)
_ELSEWHERE = len(_KINDS)
_HAS_HASH = 64

_ENDED: dict[str, str] = {
    JobState.FINISHED: "finished",
    JobState.FAILED: "failed",
    JobState.STOPPED: "failed",
    JobState.CANCELED: "canceled",
}
"""A job in such a state has no place but RQ's registry, from which it drops out in time."""

_HOMES: dict[str, set[str]] = {
    JobState.QUEUED: {STOCK, STARTED},
    JobState.STARTED: {STARTED, ABANDONED},
    JobState.DEFERRED: {DEFERRED, READY},
    JobState.SCHEDULED: {SCHEDULED},
    JobState.RATE_LIMITED: {LIMITED},
    JobState.READY_TO_ENQUEUE: {READY},
}
"""Where a job in such a state may be, apart from the places where jobs wait."""


@dataclass(frozen=True, slots=True)
class _Fact:
    """What the hash of a job says now."""

    exists: bool
    status: str
    origin: str

    @property
    def kind(self) -> str:
        """The place of a job that is done with."""
        return _ENDED.get(self.status, "")

    def is_home(self, kind: str) -> bool:
        return kind in WAITING or kind in _HOMES.get(self.status, ())


@dataclass(slots=True)
class _Ledger:
    """Where each job was met. One small number for each, as there may be millions."""

    jobs: int = 0
    places: Counter[str] = field(default_factory=Counter)
    doubled: set[str] = field(default_factory=set)
    unplaced: set[str] = field(default_factory=set)
    _codes: dict[str, int] = field(default_factory=dict)

    def enter(self, kind: str, ids: Sequence[str]) -> None:
        """Note that these jobs were met in a place of this kind."""
        codes, code = self._codes, _KINDS.index(kind)
        is_waiting = code < len(WAITING)
        for job in ids:
            known = codes.get(job)
            if known is None or (is_waiting and known >= len(WAITING)):
                codes[job] = code
            elif is_waiting:
                self.doubled.add(job)

    def find(self, ids: Iterable[str]) -> list[str]:
        """Note that these jobs have a hash; those whose status must tell where they belong."""
        asked = []
        for job in ids:
            code = self._codes.get(job, _ELSEWHERE)
            if code < len(WAITING):
                self._count(job, code, _KINDS[code])
            elif not code & _HAS_HASH:
                asked.append(job)
        return asked

    def place(self, facts: Mapping[str, _Fact]) -> None:
        """Note what the hashes of the jobs that `find` gave say."""
        for job, fact in facts.items():
            code = self._codes.get(job, _ELSEWHERE)
            met = _KINDS[code] if code < _ELSEWHERE else ""
            if fact.status in _HOMES and not (met and fact.is_home(met)):
                self.unplaced.add(job)
            if fact.status:
                self._count(job, code, fact.kind or met)

    def gone(self) -> set[str]:
        """The jobs that were met where jobs wait, and have no hash."""
        return {job for job, code in self._codes.items() if code < len(WAITING)}

    def add(self, kind: str) -> None:
        """Count a job where it was found after all."""
        if kind:
            self.places[STARTED if kind == ABANDONED else kind] += 1

    def _count(self, job: str, code: int, kind: str) -> None:
        self._codes[job] = code | _HAS_HASH
        self.jobs += 1
        if job not in self.unplaced:
            self.add(kind)


def _job_ids(walker: Walker) -> Iterator[list[str]]:
    prefix, count = walker.store.keys.engine.jobs, min(walker.window, KEYS_PER_SCAN)
    for page in scan_keys(walker.store, prefix, kind="HASH", count=count):
        yield [key.removeprefix(prefix) for key in page]


def _facts(walker: Walker, jobs: Sequence[str]) -> dict[str, _Fact]:
    prefix, fields = walker.store.keys.engine.jobs, ("status", "origin", "created_at")
    found = read_each(walker.store, jobs, lambda ask, job: ask.hmget(prefix + job, fields), window=walker.window)
    return {job: _Fact(any(values), text_of(values[0] or b""), text_of(values[1] or b"")) for job, values in found}


def _confirm_missing(walker: Walker, ledger: _Ledger) -> tuple[set[str], set[str]]:
    """The jobs that no look finds, and the ids without a job that still wait."""
    lost, gone = ledger.unplaced, ledger.gone()
    for look in range(LOOKS):
        if look:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        facts = _facts(walker, [*lost, *gone])
        gone = {job for job in gone if not facts[job].exists}
        lost = _still_lost(lost, facts, {}, ledger)
        origins = {facts[job].origin for job in lost}
        seen = met_anywhere(walker, lost | gone, origins=origins - {""})
        gone = {job for job in gone if not seen.get(job, set()).isdisjoint(WAITING)}
        lost = _still_lost(lost, facts, seen, ledger)
        if not lost:  # what is gone comes not back: one look is enough
            break
    return _still_lost(lost, _facts(walker, [*lost]), {}, ledger), gone


def _still_lost(lost: set[str], facts: Mapping[str, _Fact], seen: Mapping[str, set[str]], ledger: _Ledger) -> set[str]:
    still = set()
    for job in lost:
        found = [kind for kind in seen.get(job, ()) if facts[job].is_home(kind)]
        if facts[job].status in _HOMES and not found:
            still.add(job)
        else:
            ledger.add(found[0] if found else facts[job].kind)
    return still


def _confirm_twice(walker: Walker, suspects: set[str]) -> dict[str, tuple[str, ...]]:
    """Those of `suspects` that each look meets twice, and where."""
    names: dict[str, tuple[str, ...]] = {}
    for look in range(LOOKS):
        if not suspects:
            return {}
        if look:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        met = met_waiting(walker, suspects)
        names = {job: tuple(place.name for place in places) for job, places in met.items() if len(places) > 1}
        suspects = set(names)
    return names


def _size(walker: Walker) -> int:
    """About how many entries and keys an audit looks at."""
    lists = [key for lane in walker.lanes for key in walker.store.keys.lane(lane)[:3]]
    sizes = walker.store.read(lambda ask: [ask.dbsize(), *(ask.llen(key) for key in lists)])
    return sum(sizes)


def _pages(store: Store, ask_page: Callable[[Any, int], Any]) -> Iterator[list[Any]]:
    """The pages of a scan; `ask_page` asks for the one at a cursor."""
    cursor, is_more = 0, True

    def ask_next(ask: Any) -> None:
        ask_page(ask, cursor)

    while is_more:
        cursor, page = store.read(ask_next)[0]
        is_more = cursor != 0
        yield page


def _without_overlap(before: list[str], ids: list[str]) -> list[str]:
    """`ids` without those at its front that are the end of the window before."""
    for met in range(1, min(len(before), len(ids)) + 1):
        if ids[met - 1] == before[-1] and ids[:met] == before[-met:]:
            return ids[met:]
    return ids
