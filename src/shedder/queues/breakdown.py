"""What is in a queue: its jobs by function, by a field of their meta, by priority.

Reads as the dry run of a divert does, in the same windows. Of a queue that is very long some jobs tell
enough: as many as one asks for, evenly spread over its lists, and how far off the shares may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil, sqrt

from shedder.engine.jobs import meta_fields, time_of
from shedder.errors import InvalidInput
from shedder.lanes import Lane
from shedder.queues.controls import readable_on
from shedder.queues.preview import GONE_FUNCTION, UNKNOWN_FUNCTION
from shedder.queues.windows import LATELY, PreviewWindow, TakenJobs, Undecided, preview_lane, windows_of, with_long_meta
from shedder.selection import Selection
from shedder.store.codec import server_time
from shedder.store.store import Operation, Progress, Store

TOP_GROUPS = 10
TOP_COLUMNS = 4
MOST_BY = 2

MOST_GROUPS = 100_000
"""Groups that are told apart: a field that each job has another value of would fill the memory."""

UNKNOWN = UNKNOWN_FUNCTION
NO_FIELD = "(none)"
OTHER_VALUES = "(other values)"
REST = "(the rest)"

PLACES_PER_LOOK = 25
"""Jobs of a sample that one step looks at: to find the place of each takes longer, the longer the list is."""

_META = "meta."
_GOLDEN = 0.6180339887
_DEVIATIONS = 1.96
"""Standard deviations to each side, within which a share is in 95 of 100 samples."""

_RQ_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class BreakdownGroup:
    """Jobs that have something in common.

    Attributes:
        values: What they have in common: one value for each of `Breakdown.by`.
        waiting: How many of them wait in lanes; estimated from a sample when there is one.
        backlog: How many are in backlogs, estimated likewise.
        share: Their share of all jobs, 0 to 1.
        oldest: When the oldest that was seen was enqueued (producer's clock, UTC).
        in_per_second: Those that were enqueued in the last minute and have not started, per second.
        groups: How many groups these are: 1, or more for the rest.
    """

    values: tuple[str, ...]
    waiting: int
    backlog: int
    share: float
    oldest: datetime | None
    in_per_second: float
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What is in some lanes and their backlogs.

    Attributes:
        by: By what the jobs are told apart: `function`, `priority`, `meta.tenant`.
        lanes: The lanes.
        waiting: Jobs that wait in them.
        backlog: Jobs in their backlogs.
        looked_at: Jobs that were looked at.
        error: How far a share may be off, 0 to 1, in 95 of 100 samples; 0 where all were looked at.
        groups: The largest groups, largest first. With two of `by` the cells of a cross table, where
            `(the rest)` stands for all but the largest rows and columns.
        rest: All others together; None when there is none.
        unreadable: Why the diverts of a lane cannot be read, a sentence each; what is in its backlogs
            is not told.
    """

    by: tuple[str, ...]
    lanes: tuple[str, ...]
    waiting: int
    backlog: int
    looked_at: int
    error: float
    groups: tuple[BreakdownGroup, ...]
    rest: BreakdownGroup | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """All jobs, those in backlogs too."""
        return self.waiting + self.backlog

    @property
    def is_sample(self) -> bool:
        """Whether only some of them were looked at."""
        return self.looked_at < self.jobs


def break_down(
    store: Store,
    lanes: Sequence[Lane],
    by: Sequence[str],
    *,
    sample: int | None = None,
    top: int = TOP_GROUPS,
    on_progress: Progress | None = None,
) -> Breakdown:
    """The jobs of `lanes` and of their backlogs, by one or two of `function`, `priority` and `meta.FIELD`.

    With `sample` it looks at so many of them, evenly spread, and names the `top` largest groups.

    Raises:
        InvalidInput: one of these is not accepted.
    """
    _check(by, sample, top)
    tally = _Tally(tuple(by), (server_time(store) - LATELY).strftime(_RQ_TIME))
    lists, unreadable = _lists_of(store, lanes)
    total = sum(each.length for each in lists)
    looks = total if sample is None else min(sample, total)
    operation, seen = Operation(on_progress, looks), {False: 0, True: 0}
    for each in lists:
        few = max(1, round(each.length * looks / total))
        weight = each.length / few if few < each.length else 1.0
        for window in _windows(store, each, few, with_meta=tally.needs_meta):
            tally.looked_at += window.looked_at
            tally.add_functions(each, window.functions, weight)
            for job in with_long_meta(store, window.undecided):
                tally.add_job(each, job, weight)
            operation.count(window.looked_at)
            seen[each.is_backlog] += window.looked_at
    if looks < total:
        seen = {kind: sum(each.length for each in lists if each.is_backlog is kind) for kind in seen}
    return replace(_told(tally, lanes, seen[False], seen[True], top), unreadable=unreadable)


@dataclass(frozen=True, slots=True)
class _List:
    """One list of jobs."""

    key: str
    priority: str
    is_backlog: bool
    length: int


@dataclass(slots=True)
class _Counts:
    """Jobs of one group so far; `oldest` as RQ writes a time, since its times sort as text."""

    waiting: float = 0.0
    backlog: float = 0.0
    lately: float = 0.0
    oldest: str = ""

    @property
    def jobs(self) -> float:
        return self.waiting + self.backlog

    def add(self, other: _Counts) -> None:
        self.waiting += other.waiting
        self.backlog += other.backlog
        self.lately += other.lately
        self.oldest = min(filter(None, (self.oldest, other.oldest)), default="")


@dataclass(slots=True)
class _Tally:
    """What was seen so far."""

    by: tuple[str, ...]
    since: str
    looked_at: int = 0
    groups: dict[tuple[str, ...], _Counts] = field(default_factory=dict)

    @property
    def needs_meta(self) -> bool:
        """Whether each job must be read."""
        return any(each.startswith(_META) for each in self.by)

    def add_functions(self, source: _List, functions: Mapping[str, TakenJobs], weight: float) -> None:
        """Jobs that the server has counted."""
        for name, taken in functions.items():
            values = self._values(source, name or GONE_FUNCTION, {})
            oldest = taken.oldest.strftime(_RQ_TIME) if taken.oldest else ""
            self._count(values, source, _Counts(taken.jobs * weight, 0.0, taken.lately * weight, oldest))

    def add_job(self, source: _List, job: Undecided, weight: float) -> None:
        """One job that had to be read."""
        function = (job.function or UNKNOWN) if "function" in self.by else ""
        names = [each.removeprefix(_META) for each in self.by if each.startswith(_META)]
        values = self._values(source, function, meta_fields(job.meta, names) if names else {})
        is_late = job.enqueued_at >= self.since
        self._count(values, source, _Counts(weight, 0.0, weight if is_late else 0.0, job.enqueued_at))

    def _count(self, values: tuple[str, ...], source: _List, more: _Counts) -> None:
        if source.is_backlog:
            more.waiting, more.backlog = 0.0, more.waiting
        if values not in self.groups and len(self.groups) >= MOST_GROUPS:
            values = (OTHER_VALUES,) * len(self.by)
        self.groups.setdefault(values, _Counts()).add(more)

    def _values(self, source: _List, function: str, fields: Mapping[str, str | None] | None) -> tuple[str, ...]:
        said = {"function": function, "priority": source.priority}
        return tuple(said[each] if each in said else _text_in(fields, each.removeprefix(_META)) for each in self.by)


def _text_in(fields: Mapping[str, str | None] | None, name: str) -> str:
    text = None if fields is None else fields.get(name, NO_FIELD)
    return UNKNOWN if text is None else text


def _told(tally: _Tally, lanes: Sequence[Lane], waiting: int, backlog: int, top: int) -> Breakdown:
    groups = tally.groups
    if len(tally.by) > 1:
        groups, top = _crossed(groups, (top, TOP_COLUMNS)), (top + 1) * (TOP_COLUMNS + 1)
    ranked = sorted(groups.items(), key=lambda group: (-group[1].jobs, group[0]))
    jobs, rest = waiting + backlog, _Counts()
    for _, counts in ranked[top:]:
        rest.add(counts)
    return Breakdown(
        tally.by, tuple(lane.name for lane in lanes), waiting, backlog, tally.looked_at,
        error=_error(tally.looked_at, jobs),
        groups=tuple(_group(values, counts, jobs) for values, counts in ranked[:top]),
        rest=replace(_group((), rest, jobs), groups=len(ranked) - top) if ranked[top:] else None,
    )  # fmt: skip


def _crossed(groups: Mapping[tuple[str, ...], _Counts], tops: tuple[int, int]) -> dict[tuple[str, ...], _Counts]:
    """The cells of a cross table: all but the largest rows and columns are one row and one column."""
    kept = []
    for axis, top in enumerate(tops):
        sums: Counter[str] = Counter()
        for values, counts in groups.items():
            sums[values[axis]] += ceil(counts.jobs)
        kept.append({value for value, _ in sums.most_common(top)})
    cells: dict[tuple[str, ...], _Counts] = {}
    for values, counts in groups.items():
        folded = tuple(value if value in keep else REST for value, keep in zip(values, kept, strict=True))
        cells.setdefault(folded, _Counts()).add(counts)
    return cells


def _group(values: tuple[str, ...], counts: _Counts, jobs: int) -> BreakdownGroup:
    pace = counts.lately / LATELY.total_seconds()
    share = counts.jobs / jobs if jobs else 0.0
    return BreakdownGroup(
        values, round(counts.waiting), round(counts.backlog), share, time_of(counts.oldest), in_per_second=pace
    )


def _error(looked_at: int, jobs: int) -> float:
    """That of a share of one half, which is the largest."""
    if not 0 < looked_at < jobs:
        return 0.0
    return _DEVIATIONS * sqrt(0.25 / looked_at * (1 - looked_at / jobs))


def _lists_of(store: Store, lanes: Sequence[Lane]) -> tuple[list[_List], tuple[str, ...]]:
    """The lists of `lanes` and of their backlogs, and why some of these are not known."""
    names = {lane.name: lane.priority for lane in lanes}
    found = [(key, names[name], False) for name in names for key in store.keys.lane(name)[:3]]
    orders, unreadable = readable_on(store, list(names))
    found += [(key, names[lane], True) for lane in orders for order in orders[lane] for key in order.backlog_keys]
    lengths = store.read(lambda ask: [ask.llen(key) for key, *_ in found])
    lists = [_List(*each, length) for each, length in zip(found, lengths, strict=True) if length]
    return lists, tuple(map(str, unreadable))


def _windows(store: Store, source: _List, looks: int, *, with_meta: bool) -> Iterator[PreviewWindow]:
    """All jobs of a list, or some that are evenly spread over it."""
    if looks >= source.length:
        yield from windows_of(store, source.key, Selection(), with_meta=with_meta)
        return
    stretch = source.length / looks
    # the place in the stretch changes from one to the next, in case that what waits has a rhythm
    places = [(int(stretch * (number + number * _GOLDEN % 1)), 1) for number in range(looks)]
    while places:
        parts = places[:PLACES_PER_LOOK]
        window = store.run(preview_lane(store.keys, source.key, Selection(), *parts, with_meta=with_meta))
        yield window
        places = places[max(window.parts, 1) :]


def _check(by: Sequence[str], sample: int | None, top: int) -> None:
    if not 1 <= len(by) <= MOST_BY or len(set(by)) < len(by):
        raise InvalidInput(name="by", value=", ".join(by), accepted="one or two of function, priority, meta.FIELD")
    for each in by:
        if each not in ("function", "priority") and not each.removeprefix(_META) != each != _META:
            raise InvalidInput(name="by", value=each, accepted="function, priority or meta.FIELD, such as meta.tenant")
    if sample is not None and sample < 1:
        raise InvalidInput(name="sample", value=sample, accepted="1 job or more")
    if top < 1:
        raise InvalidInput(name="top", value=top, accepted="1 group or more")
