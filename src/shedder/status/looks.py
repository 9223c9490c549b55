"""A look at the jobs of lanes that are older than tolerances: where these begin, then some of them.

The first step finds, in each list, how many jobs are older than each tolerance. The second reads them one and
all, as far as `WORK` lasts, the lists with the fewest first; of the others it reads jobs that are evenly spread.
Each script holds the server for at most 2 ms, however long the lists are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from shedder.engine.jobs import function_name, meta_texts, time_of
from shedder.policy.lateness import Looked, Part, WaitingJob, divided
from shedder.queues.controls import StoredDivert
from shedder.selection import Selection
from shedder.store.codec import ms_from_time, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store

PROBES = 48
"""Jobs of each list whose age is read before the borders between the ages are searched."""

SLACK_MS = 1000
"""By so much a job may be older than one before it where no more is seen: clocks of producers differ."""

LOOKS = 120
"""Jobs that are looked at, at least, evenly spread over those between two tolerances."""

WORK = 4_000
"""What it may cost to look at lists one and all, in jobs of our producers that stand side by side: about 1 µs each."""

SPREAD = 0.6
"""The share of the work up to which more than `LOOKS` are spread over lists that are not looked at one and all."""

WORK_A_STEP = 350
"""What one step may cost."""

DATA_COST, META_COST = 1.0, 0.5
"""What it costs besides to read the data, or the meta, of a job."""

PLACE_COST, NODES_COST = 1.0, 1 / 20_000
"""What it costs to find a place in a list: once, and for each job between it and the nearer end."""

NEWEST = 40
"""The jobs before each border that are looked at besides, one by one: what has just become late."""

MANY = 8
"""With more lists, and more tolerances of each, `LOOKS` and `NEWEST` become fewer, so that the work stays the same."""

BYTES_READ = 2_000_000
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
        unnoted: Share of its jobs whose function stands in their data only, 0 to 1, by those looked at.
    """

    total: int
    oldest: datetime | None
    disorder: timedelta
    counts: Mapping[timedelta, int]
    unnoted: float = 0.0


@dataclass(frozen=True, slots=True)
class Ring:
    """Jobs between two borders, and which of them to look at.

    Attributes:
        size: How many they are.
        age: They have waited for about so long at most; None for the oldest.
        steps: What is looked at, in steps that each hold the server for a short time: index and number of
            jobs of each range.
    """

    size: int
    age: timedelta | None
    steps: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def looked_at(self) -> int:
        """How many of its jobs are looked at."""
        return sum(count for ranges in self.steps for _, count in ranges)


@dataclass(frozen=True, slots=True)
class ToLookAt:
    """A lane, and how it is to be looked at.

    Attributes:
        lists: Its own lists, and those of each backlog.
        selections: Which jobs can be in these; None for all.
        tolerances: How long its jobs may wait, the shortest first.
        is_told_by_jobs: What a job may wait depends on its function or meta.
        with_meta: Its meta is needed too.
    """

    lists: tuple[ListKeys, ...]
    selections: tuple[Selection | None, ...]
    tolerances: tuple[timedelta, ...]
    is_told_by_jobs: bool
    with_meta: bool = False

    @property
    def dividing(self) -> tuple[timedelta, ...]:
        """Those of the tolerances by which its jobs are divided."""
        return divided(self.tolerances)


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
    total, oldest_ms, disorder_ms, unnoted, *counts = reply
    oldest = time_from_ms(oldest_ms) if oldest_ms else None
    disorder, by_tolerance = timedelta(milliseconds=disorder_ms), dict(zip(tolerances, counts, strict=True))
    return Borders(total, oldest, disorder, by_tolerance, unnoted / 100)


def look_at_jobs(
    keys: Keys, lists: Sequence[str], ranges: Sequence[tuple[int, int]], *, with_meta: bool,
    tolerances: Sequence[timedelta] = (), at: datetime,
) -> Command[list[Any]]:  # fmt: skip
    """What the jobs of `ranges` (index and number of jobs of each) say of themselves.

    There is a row for each, or for all that are alike: on the same side of each of `tolerances` at the time `at`.
    """
    moments = [ms_from_time(at - tolerance) for tolerance in tolerances]
    numbers = [number for pair in ranges for number in pair]
    return Command(
        "look_at_jobs", tuple(lists),
        (keys.engine.jobs, int(with_meta), BYTES_READ, len(moments), *moments, *numbers), list,
    )  # fmt: skip


# which jobs are looked at


def rings_of(found: Sequence[Borders], *, with_meta: bool, work: float | None = None) -> list[tuple[Ring, ...]]:
    """Of each list, the jobs older than the shortest tolerance, by age, the oldest first, and which to look at.

    It may cost `work`, `WORK` when that is None; each list gets its few looks however little that is.
    """
    work = WORK if work is None else work
    scale = min(MANY / max(sum(count > 0 for borders in found for count in borders.counts.values()), 1), 1.0)
    own = [_stretches(borders, with_meta=with_meta, scale=scale) for borders in found]
    spread = [each for stretches in own for each in stretches]
    spent = sum(each.least_cost for each in spread)
    # it is known who waits longer than a tolerance where all are looked at that are as old: the oldest come first
    for each in sorted(spread, key=lambda it: it.cost_with_older):
        more = each.whole_cost - each.least_cost
        if each.cost_with_older <= work and spent + more <= work:
            spent += more
            spread.remove(each)
    share = max(SPREAD * work - spent, 0) / max(len(spread), 1)
    return [tuple(ring for each in stretches for ring in _rings(each, share if each in spread else None))
            for stretches in own]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """Jobs of one of the lists between two borders, and what it costs to look at them."""

    first: int
    end: int
    age: timedelta | None
    total: int
    job_cost: float
    cost_of_older: float
    looks: int
    newest: int

    @property
    def size(self) -> int:
        return self.end - self.first

    @property
    def whole_cost(self) -> float:
        return PLACE_COST + self.size * self.job_cost

    @property
    def cost_with_older(self) -> float:
        return self.cost_of_older + self.whole_cost

    @property
    def look_cost(self) -> float:
        """That of a job which is looked at alone, on average."""
        return sum(self.cost_of(self.first + self.size * part // 4, 1) for part in (1, 3)) / 2

    @property
    def least_cost(self) -> float:
        return min(self.whole_cost, self.looks * self.look_cost + self.newest * self.job_cost)

    def cost_of(self, index: int, count: int) -> float:
        return PLACE_COST + NODES_COST * min(index, self.total - index) + count * self.job_cost


def _stretches(borders: Borders, *, with_meta: bool, scale: float) -> list[_Stretch]:
    job_cost = 1 + DATA_COST * borders.unnoted + META_COST * with_meta
    least = math.ceil(LOOKS * scale), math.ceil(NEWEST * scale)
    found: list[_Stretch] = []
    first, older, cost = 0, None, 0.0
    for tolerance, end in [*borders.counts.items()][::-1]:
        if end > first:
            found.append(_Stretch(first, end, older, borders.total, job_cost, cost, *least))
            cost = found[-1].cost_with_older
        first, older = max(first, end), tolerance
    return found


def _rings(stretch: _Stretch, more: float | None) -> tuple[Ring, ...]:
    """All its jobs; or, with so much `more` work than the least, the newest, and one in each of equal parts."""
    looks = stretch.size if more is None else stretch.looks + int(more / stretch.look_cost)
    if looks + stretch.newest >= stretch.size:
        return (_ring(stretch, stretch.size, [(stretch.first, stretch.size)]),)
    size, newest = stretch.size - stretch.newest, stretch.end - stretch.newest
    ends = [stretch.first + number * size // looks for number in range(looks + 1)]
    # the place in the part changes from one to the next, in case that what waits has a rhythm
    places = [first + int((end - first) * (number * _GOLDEN % 1)) for number, (first, end) in enumerate(pairwise(ends))]
    return _ring(stretch, size, [(place, 1) for place in places]), _ring(
        stretch, stretch.newest, [(newest, stretch.newest)]
    )


def _ring(stretch: _Stretch, size: int, ranges: Sequence[tuple[int, int]]) -> Ring:
    """`size` jobs, of which those of `ranges` are looked at, in steps."""
    steps: list[list[tuple[int, int]]] = [[]]
    left = float(WORK_A_STEP)
    for first, count in _cut(ranges, int(WORK_A_STEP / stretch.job_cost)):
        cost = stretch.cost_of(first, count)
        if cost > left and steps[-1]:
            steps.append([])
            left = WORK_A_STEP
        steps[-1].append((first, count))
        left -= cost
    return Ring(size, stretch.age, tuple(map(tuple, steps)))


def _cut(ranges: Iterable[tuple[int, int]], most: int) -> Iterator[tuple[int, int]]:
    """The same jobs, in ranges of at most so many."""
    for first, count in ranges:
        for start in range(first, first + count, most):
            yield start, min(most, first + count - start)


_GOLDEN = 0.6180339887


# the two steps, for many lanes at once


def ask_borders(ask: Any, keys: Keys, lanes: Mapping[str, ToLookAt], at: datetime) -> None:
    """Ask for what `all_borders` reads."""
    for lane in lanes.values():
        for lists in lane.lists:
            slack = SLACK_MS if lane.is_told_by_jobs else 0
            Store.add(ask, find_borders(keys, lists, lane.dividing, at, slack_ms=slack))


def all_borders(replies: Iterator[Any], lanes: Mapping[str, ToLookAt]) -> dict[str, tuple[Borders, ...]]:
    """Takes the replies to `ask_borders`, and no more."""
    return {name: tuple(borders_from(next(replies), lane.dividing) for _ in lane.lists) for name, lane in lanes.items()}


def ask_jobs(
    ask: Any, keys: Keys, lanes: Mapping[str, ToLookAt], borders: Mapping[str, tuple[Borders, ...]], at: datetime,
    *, work: float | None = None,
) -> None:  # fmt: skip
    """Ask for what `all_looks` reads, at the cost of `work`."""
    rings = _all_rings(lanes, borders, work)
    for name, lane in lanes.items():
        for lists, found in zip(lane.lists, rings[name], strict=True):
            for ranges in (ranges for ring in found for ranges in ring.steps):
                Store.add(ask, look_at_jobs(keys, lists, ranges, with_meta=lane.with_meta, tolerances=lane.tolerances,
                                            at=at))  # fmt: skip


def all_looks(
    replies: Iterator[Any], lanes: Mapping[str, ToLookAt], borders: Mapping[str, tuple[Borders, ...]],
    *, work: float | None = None,
) -> dict[str, LaneLook]:  # fmt: skip
    """Takes the replies to `ask_jobs` with the same `work`, and no more."""
    rings = _all_rings(lanes, borders, work)
    return {
        name: LaneLook(borders[name], tuple(
            replace(_looked(replies, found, parts), selection=selection)
            for found, parts, selection in zip(borders[name], rings[name], lane.selections, strict=True)
        ))
        for name, lane in lanes.items()
    }  # fmt: skip


def read_looks(
    store: Store, lanes: Mapping[str, ToLookAt], at: datetime, *, work: float | None = None
) -> dict[str, LaneLook]:
    """What is seen of `lanes` in looks that may cost `work`, in two round trips."""
    borders = all_borders(iter(store.read(lambda ask: ask_borders(ask, store.keys, lanes, at))), lanes)
    replies = store.read(lambda ask: ask_jobs(ask, store.keys, lanes, borders, at, work=work))
    return all_looks(iter(replies), lanes, borders, work=work)


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
    lanes: Mapping[str, ToLookAt], borders: Mapping[str, tuple[Borders, ...]], work: float | None
) -> dict[str, tuple[tuple[Ring, ...], ...]]:
    """By lane, what is looked at of its own lists and of each backlog."""
    told = [name for name, lane in lanes.items() if lane.is_told_by_jobs]
    with_meta = any(lanes[name].with_meta for name in told)
    rings = iter(rings_of([each for name in told for each in borders[name]], with_meta=with_meta, work=work))
    found = {name: tuple(next(rings) for _ in borders[name]) for name in told}
    return {name: found.get(name, tuple(() for _ in borders[name])) for name in lanes}


def _looked(replies: Iterator[Any], borders: Borders, rings: Sequence[Ring]) -> Looked:
    if not rings:
        return Looked((), borders.oldest, borders.disorder)
    parts = tuple(
        Part(ring.size, ring.looked_at, tuple(job_in_row(row) for _ in ring.steps for row in next(replies)), ring.age)
        for ring in rings
    )
    times = [job.enqueued for part in parts for job in part.jobs if job.enqueued is not None]
    oldest = min([*times, *([borders.oldest] if borders.oldest else [])], default=None)
    return Looked(parts, oldest, borders.disorder)


def job_in_row(row: Sequence[Any]) -> WaitingJob:
    """What one row of `look_at_jobs` says of jobs that are alike."""
    number, enqueued_at, noted, data, meta = row
    function = text_of(noted) or function_name(data)
    return WaitingJob(time_of(enqueued_at), function, meta_texts(meta), is_ours=bool(noted), number=number)
