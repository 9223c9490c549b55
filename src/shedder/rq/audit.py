"""Is every job in exactly one place? Reads only, in bounded steps, on a system that is at work.

First all places are walked, then all jobs. What looks wrong then may only have moved meanwhile, so
it is looked for again, until it was found or three looks have said the same. A job that a queue
with `is_async=False` runs right now stands in no place, and is told as nowhere: RQ itself cannot
tell it from a lost one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shedder.keys import Keys
from shedder.records import AuditReport
from shedder.rq.payload import JobState
from shedder.rq.places import (
    ABANDONED,
    DEFERRED,
    KEYS_PER_SCAN,
    LIMITED,
    READY,
    SCHEDULED,
    STARTED,
    STOCK,
    WAITING,
    Walker,
    all_lanes,
    scan_keys,
)
from shedder.rq.progress import Progress
from shedder.rq.sightings import met_anywhere, met_waiting
from shedder.store import Store
from shedder.stored import server_time, text_of

WINDOW = 500
"""Items that one command reads at most: 0.5 ms of the server, a few when its memory is cold."""

LOOKS = 3
"""So many looks must miss a job before it is said to be nowhere, and find one twice."""

SECONDS_BETWEEN_LOOKS = 0.2
"""A stock worker has a job in hand that stands nowhere for some milliseconds."""


def audit(
    store: Store, keys: Keys, *, window: int = WINDOW, on_progress: Progress | None = None
) -> AuditReport:
    """Where every job is, and which are in no place, in two, or gone.

    `on_progress` is told how many entries and keys were looked at, and of about how many.

    Raises:
        RecordUnreadable: a divert cannot be read, so that its backlog is not known.
    """
    ledger = _Ledger()
    walker = Walker(store, keys, all_lanes(store, keys), window)
    count = _counter(walker, on_progress)
    for place, ids in walker.with_flow():
        ledger.enter(place.kind, ids)
        count(len(ids))
    for ids in _job_ids(walker):
        ledger.place(_facts(walker, ledger.find(ids)))
        count(min(window, KEYS_PER_SCAN))
    twice = _confirm_twice(walker, ledger.doubled)
    nowhere, dangling = _confirm_missing(walker, ledger)
    count(None)
    return AuditReport(
        at=server_time(store),
        jobs=ledger.jobs,
        places=dict(ledger.places),
        nowhere=tuple(sorted(nowhere)),
        twice=tuple(sorted(twice.items())),
        dangling=tuple(sorted(dangling)),
    )


_KINDS = (*WAITING, STARTED, ABANDONED, STOCK, DEFERRED, SCHEDULED, READY, LIMITED)
_ELSEWHERE = len(_KINDS)
_HAS_HASH = 64

_ENDED: dict[str, str] = {
    JobState.FINISHED: "finished",
    JobState.FAILED: "failed",
    JobState.STOPPED: "failed",
    JobState.CANCELED: "canceled",
}
"""Who is in such a state has no place but RQ's registry, from which it drops out in time."""

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
    prefix, count = walker.keys.engine.jobs, min(walker.window, KEYS_PER_SCAN)
    for page in scan_keys(walker.store, prefix, kind="HASH", count=count):
        yield [key.removeprefix(prefix) for key in page]


def _facts(walker: Walker, jobs: Sequence[str]) -> dict[str, _Fact]:
    facts: dict[str, _Fact] = {}
    for first in range(0, len(jobs), walker.window):
        facts |= _facts_of_some(walker, jobs[first : first + walker.window])
    return facts


def _facts_of_some(walker: Walker, jobs: Sequence[str]) -> dict[str, _Fact]:
    prefix, fields = walker.keys.engine.jobs, ("status", "origin", "created_at")
    replies = walker.store.read(lambda ask: [ask.hmget(prefix + job, fields) for job in jobs])
    return {
        job: _Fact(any(values), text_of(values[0] or b""), text_of(values[1] or b""))
        for job, values in zip(jobs, replies, strict=True)
    }


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


def _still_lost(
    lost: set[str], facts: Mapping[str, _Fact], seen: Mapping[str, set[str]], ledger: _Ledger
) -> set[str]:
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
        names = {
            job: tuple(place.name for place in places)
            for job, places in met.items()
            if len(places) > 1
        }
        suspects = set(names)
    return names


def _counter(walker: Walker, on_progress: Progress | None) -> Callable[[int | None], None]:
    """What to call with the number of entries looked at, and with None at the end."""
    if on_progress is None:
        return lambda _: None
    lists = [key for lane in walker.lanes for key in walker.keys.lane(lane)[:3]]
    sizes = walker.store.read(lambda ask: [ask.dbsize(), *(ask.llen(key) for key in lists)])
    total, looked_at = sum(sizes), 0

    def count(more: int | None) -> None:
        nonlocal looked_at
        looked_at = total if more is None else min(looked_at + more, total)
        on_progress(looked_at, total)

    return count
