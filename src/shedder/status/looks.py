"""A look at the jobs of lanes that are older than tolerances: where these begin, then some of them.

The first step finds, in each list, how many jobs are older than each tolerance, the second reads jobs that
are evenly spread over those. Each script holds the server for at most 2 ms, however long the lists are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shedder.engine.jobs import function_from_field, function_name, meta_texts, time_of
from shedder.policy.lateness import Looked, Part, WaitingJob
from shedder.queues.controls import StoredDivert
from shedder.selection import Selection
from shedder.store.codec import ms_from_time, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store

PROBES = 48
"""Jobs of each list whose age is read before the borders between the ages are searched."""

SLACK_MS = 1000
"""By so much a job may be older than one before it where no more is seen: clocks of producers differ."""

LOOKS = 120
"""Jobs that are looked at, evenly spread over those between two tolerances."""

FEW = 2_000
"""So many old jobs, of all lists together, are looked at one and all."""

JOBS_A_STEP = 100
"""Jobs that one step looks at, at most."""

NEWEST = 40
"""The jobs before each border that are looked at besides, one by one: what has just become late."""

BYTES_READ = 1_000_000
"""Bytes of data and meta that one step reads, at most; jobs whose kind is told by more are not judged."""

ListKeys = tuple[str, ...]
"""The keys of lists that are read one after the other."""


@dataclass(frozen=True, slots=True)
class Borders:
    """How many jobs of lists are older than tolerances.

    Attributes:
        total: Jobs in the lists.
        oldest: When the oldest that was looked at was enqueued; None when there is none.
        disorder: By how much a job was older than one before it.
        counts: By tolerance, the shortest first, the jobs before its border.
    """

    total: int
    oldest: datetime | None
    disorder: timedelta
    counts: Mapping[timedelta, int]


@dataclass(frozen=True, slots=True)
class Ring:
    """Jobs between two borders, and which of them to look at.

    Attributes:
        size: How many they are.
        age: They have waited for about so long at most; None for the oldest.
        ranges: What is looked at: index and number of jobs of each range.
    """

    size: int
    age: timedelta | None
    ranges: tuple[tuple[int, int], ...]

    @property
    def looked_at(self) -> int:
        """How many of its jobs are looked at."""
        return sum(count for _, count in self.ranges)


@dataclass(frozen=True, slots=True)
class ToLookAt:
    """A lane, and how it is to be looked at.

    Attributes:
        lists: Its own lists, and those of each backlog.
        selections: Which jobs can be in these; None for all.
        tolerances: By which its jobs are divided, the shortest first.
        is_told_by_jobs: What a job may wait depends on its function or meta.
        with_meta: Its meta is needed too.
    """

    lists: tuple[ListKeys, ...]
    selections: tuple[Selection | None, ...]
    tolerances: tuple[timedelta, ...]
    is_told_by_jobs: bool
    with_meta: bool = False


@dataclass(frozen=True, slots=True)
class LaneLook:
    """What was seen of one lane.

    Attributes:
        borders: Of its own lists, then of each backlog.
        looked: The same, with jobs; empty where they tell nothing.
    """

    borders: tuple[Borders, ...] = ()
    looked: tuple[Looked, ...] = field(default=())

    def older(self, tolerance: timedelta) -> int:
        """How many of all its jobs are older than `tolerance`."""
        return sum(each.counts.get(tolerance, 0) for each in self.borders)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest job was enqueued."""
        return min((each.oldest for each in self.borders if each.oldest), default=None)


def find_borders(
    keys: Keys, lists: Sequence[str], tolerances: Sequence[timedelta], at: datetime, *, slack_ms: int = SLACK_MS
) -> Command[Borders]:
    """How many jobs of `lists` have waited longer than each of `tolerances` at the time `at`.

    With a slack, those that may have: jobs are out of order by so much or by what is seen.
    """
    moments = [ms_from_time(at - tolerance) for tolerance in tolerances]
    return Command(
        "find_borders", tuple(lists), (keys.engine.jobs, PROBES, slack_ms, *moments),
        lambda reply: borders_from(reply, tolerances),
    )  # fmt: skip


def borders_from(reply: Sequence[int], tolerances: Sequence[timedelta]) -> Borders:
    """Reads the reply to `find_borders`."""
    total, oldest_ms, disorder_ms, *counts = reply
    oldest = time_from_ms(oldest_ms) if oldest_ms else None
    return Borders(total, oldest, timedelta(milliseconds=disorder_ms), dict(zip(tolerances, counts, strict=True)))


def look_at_jobs(
    keys: Keys, lists: Sequence[str], ranges: Sequence[tuple[int, int]], *, with_meta: bool
) -> Command[list[Any]]:
    """What the jobs of `ranges` (index and number of jobs of each) say of themselves, a row each."""
    numbers = [number for pair in ranges for number in pair]
    return Command("look_at_jobs", tuple(lists), (keys.engine.jobs, int(with_meta), BYTES_READ, *numbers), list)


def steps_of(rings: Sequence[Ring]) -> list[list[tuple[int, int]]]:
    """What is looked at in `rings`, in steps that each hold the server for a short time."""
    steps: list[list[tuple[int, int]]] = []
    left = 0
    for first, count in (each for ring in rings for each in ring.ranges):
        for start in range(first, first + count, JOBS_A_STEP):
            jobs = min(JOBS_A_STEP, first + count - start)
            if jobs > left:
                steps.append([])
                left = JOBS_A_STEP
            steps[-1].append((start, jobs))
            left -= jobs
    return steps


def rings_of(borders: Borders, *, lists: int = 1) -> tuple[Ring, ...]:
    """The jobs older than the shortest tolerance, by age, the oldest first, and which of them to look at.

    `lists` is the number of lists that have old jobs: the more there are, the fewer are looked at one and all.
    """
    stretches: list[tuple[int, int, timedelta | None]] = []
    first, older = 0, None
    for tolerance, end in [*borders.counts.items()][::-1]:
        if end > first:
            stretches.append((first, end, older))
        first, older = max(first, end), tolerance
    few = FEW // lists
    few = few if first <= few else few // max(len(stretches), 1)
    return tuple(ring for first, end, older in stretches for ring in _divided(first, end, older, few))


def _divided(first: int, end: int, age: timedelta | None, few: int) -> tuple[Ring, ...]:
    """All of a few jobs; of many the newest, and of the others some, one in each of equal stretches."""
    if end - first <= max(few, LOOKS + NEWEST):
        return (Ring(end - first, age, ((first, end - first),)),)
    stretch = (end - NEWEST - first) / LOOKS
    # the place in the stretch changes from one to the next, in case that what waits has a rhythm
    places = (first + int(stretch * (number + number * _GOLDEN % 1)) for number in range(LOOKS))
    return (
        Ring(end - NEWEST - first, age, tuple((place, 1) for place in places)),
        Ring(NEWEST, age, ((end - NEWEST, NEWEST),)),
    )


_GOLDEN = 0.6180339887


# the two steps, for many lanes at once


def ask_borders(ask: Any, keys: Keys, lanes: Mapping[str, ToLookAt], at: datetime) -> None:
    """Ask for what `all_borders` reads."""
    for lane in lanes.values():
        for lists in lane.lists:
            slack = SLACK_MS if lane.is_told_by_jobs else 0
            Store.add(ask, find_borders(keys, lists, lane.tolerances, at, slack_ms=slack))


def all_borders(replies: Iterator[Any], lanes: Mapping[str, ToLookAt]) -> dict[str, tuple[Borders, ...]]:
    """Takes the replies to `ask_borders`, and no more."""
    return {
        name: tuple(borders_from(next(replies), lane.tolerances) for _ in lane.lists) for name, lane in lanes.items()
    }


def ask_jobs(ask: Any, keys: Keys, lanes: Mapping[str, ToLookAt], borders: Mapping[str, tuple[Borders, ...]]) -> None:
    """Ask for what `all_looks` reads."""
    rings = _all_rings(lanes, borders)
    for name, lane in lanes.items():
        for lists, found in zip(lane.lists, rings[name], strict=True):
            for ranges in steps_of(found):
                Store.add(ask, look_at_jobs(keys, lists, ranges, with_meta=lane.with_meta))


def all_looks(
    replies: Iterator[Any], lanes: Mapping[str, ToLookAt], borders: Mapping[str, tuple[Borders, ...]]
) -> dict[str, LaneLook]:
    """Takes the replies to `ask_jobs`, and no more."""
    rings = _all_rings(lanes, borders)
    return {
        name: LaneLook(borders[name], tuple(
            replace(_looked(replies, found, parts), selection=selection)
            for found, parts, selection in zip(borders[name], rings[name], lane.selections, strict=True)
        ))
        for name, lane in lanes.items()
    }  # fmt: skip


def read_looks(store: Store, lanes: Mapping[str, ToLookAt], at: datetime) -> dict[str, LaneLook]:
    """What is seen of `lanes`, in two round trips."""
    borders = all_borders(iter(store.read(lambda ask: ask_borders(ask, store.keys, lanes, at))), lanes)
    return all_looks(iter(store.read(lambda ask: ask_jobs(ask, store.keys, lanes, borders))), lanes, borders)


def to_look_at(
    keys: Keys, lane: str, orders: Sequence[StoredDivert], tolerances: tuple[timedelta, ...],
    *, is_told_by_jobs: bool, with_meta: bool,
) -> ToLookAt:  # fmt: skip
    """The lists of a lane on which `orders` stand, and by which tolerances their jobs are divided."""
    listed, kept, parked, _ = keys.lane(lane)
    lists = ((kept, parked, listed), *(order.backlog_keys for order in orders))
    selections = (None, *(order.divert.selection for order in orders))
    return ToLookAt(lists, selections, tolerances, is_told_by_jobs, with_meta)


def _all_rings(
    lanes: Mapping[str, ToLookAt], borders: Mapping[str, tuple[Borders, ...]]
) -> dict[str, tuple[tuple[Ring, ...], ...]]:
    """By lane, what is looked at of its own lists and of each backlog."""
    told = {name: borders[name] if lane.is_told_by_jobs else () for name, lane in lanes.items()}
    busy = sum(any(each.counts.values()) for found in told.values() for each in found)
    return {
        name: tuple(rings_of(each, lists=busy) if lane.is_told_by_jobs and busy else () for each in borders[name])
        for name, lane in lanes.items()
    }


def _looked(replies: Iterator[Any], borders: Borders, rings: Sequence[Ring]) -> Looked:
    if not rings:
        return Looked((), borders.oldest, borders.disorder)
    rows = {row[0]: job_in_row(row) for _ in steps_of(rings) for row in next(replies)}
    parts = tuple(
        Part(ring.size, ring.looked_at, tuple(rows[index] for first, count in ring.ranges
                                              for index in range(first, first + count) if index in rows), ring.age)
        for ring in rings
    )  # fmt: skip
    times = [job.enqueued for job in rows.values() if job.enqueued is not None]
    oldest = min([*times, *([borders.oldest] if borders.oldest else [])], default=None)
    return Looked(parts, oldest, borders.disorder)


def job_in_row(row: Sequence[Any]) -> WaitingJob:
    """What one row of `look_at_jobs` says of a job."""
    _, enqueued_at, note, created_at, data, meta = row
    noted = function_from_field(note, created_at)
    return WaitingJob(time_of(enqueued_at), noted or function_name(data), meta_texts(meta), is_ours=bool(noted))
