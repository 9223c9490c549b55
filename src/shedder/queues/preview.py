"""What a divert would take, and of which functions jobs wait; changes nothing.

A dry run looks at each waiting job, in windows. To tell roughly what fills a lane, some jobs are
enough that are evenly spread over it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shedder.engine.jobs import NOTE_FIELD, function_from_field, functions_of, time_of
from shedder.lanes import Lane
from shedder.queues.windows import PreviewWindow, TakenJobs, judge, windows_of, with_long_meta
from shedder.selection import Selection
from shedder.store.codec import in_rows, text_of
from shedder.store.store import Operation, Progress, Store

MOST_FUNCTIONS = 20
UNKNOWN_FUNCTION = "(cannot be read here)"
GONE_FUNCTION = "(the job is gone)"

JOBS_SPREAD = 100
"""Jobs of a lane that are looked at to tell of which functions it is full."""

_GOLDEN = 0.6180339887


@dataclass(frozen=True, slots=True)
class FunctionMix:
    """Of which functions the jobs are that wait in a lane, told by some that are evenly spread.

    Attributes:
        waiting: Jobs that wait in it.
        looked_at: Jobs that were looked at.
        functions: Those by function; that of a job that is gone or cannot be read is empty.
    """

    waiting: int
    looked_at: int
    functions: Mapping[str, int]

    @property
    def shares(self) -> dict[str, float]:
        """The share of each function, 0 to 1; it is 1 only where nothing else was seen, and all was looked at.

        One job of something else that was not seen is taken for half of a job that was.
        """
        unseen = 0.5 if self.looked_at < self.waiting else 0.0
        return {name: min(jobs, self.looked_at - unseen) / self.looked_at for name, jobs in self.functions.items()}


@dataclass(frozen=True, slots=True)
class DivertPreview:
    """What a divert would do (`--dry-run`).

    Attributes:
        selection: Which jobs it would take.
        lanes: The lanes, one by one.
        functions: What would be taken, by function, most first: name and number.
        others: When nothing would be taken: what waits there instead, name and number.
    """

    selection: Selection
    lanes: tuple[LanePreview, ...]
    functions: tuple[tuple[str, int], ...] = ()
    others: tuple[tuple[str, int], ...] = ()

    @property
    def taken(self) -> int:
        """Jobs that would go to backlogs in all."""
        return sum(lane.taken for lane in self.lanes)

    @property
    def undecided(self) -> int:
        """Jobs of which nobody can tell here: each stays until a worker of ours meets it, and decides."""
        return sum(lane.undecided for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class LanePreview:
    """What a divert would take from one lane.

    Attributes:
        lane: Its name.
        waiting: Jobs that wait in it.
        taken: Jobs that would go to the backlog.
        oldest: When the oldest of them was enqueued (producer's clock, UTC).
        undecided: Jobs whose function or meta cannot be read here, and that may be taken.
    """

    lane: str
    waiting: int
    taken: int
    oldest: datetime | None = None
    undecided: int = 0


def preview_divert(
    store: Store, lanes: Sequence[Lane], selection: Selection, on_progress: Progress | None = None
) -> DivertPreview:
    """What `selection` would take from `lanes`; when that is nothing, what is there instead."""
    tallies = _tally_lanes(store, lanes, selection, on_progress)
    functions, others = _functions(tallies), []
    if not functions and not selection.is_whole:
        others = _functions(_tally_lanes(store, lanes, Selection()))
    found = [LanePreview(it.lane, it.waiting, it.taken.jobs, it.taken.oldest, it.undecided) for it in tallies]
    return DivertPreview(selection, tuple(found), tuple(functions), tuple(others))


def look_at_functions(store: Store, lanes: Sequence[str]) -> dict[str, FunctionMix]:
    """Of which functions jobs wait in each of `lanes` that has any; looks at 100 jobs of a lane at most."""
    keys = {lane: store.keys.lane(lane)[:3] for lane in lanes}
    lengths = in_rows(store.read(lambda ask: [ask.llen(key) for three in keys.values() for key in three]), 3)
    rows = dict(zip(lanes, lengths, strict=True))
    places = [(lane, place) for lane in lanes for place in _spread(keys[lane], rows[lane])]
    found = store.read(lambda ask: [ask.lindex(*place) for _, place in places]) if places else []
    jobs = [(lane, text_of(job)) for (lane, _), job in zip(places, found, strict=True) if job is not None]
    names = _functions_noted(store, [job for _, job in jobs])
    seen = {lane: Counter(names[job] for of, job in jobs if of == lane) for lane in lanes}
    return {lane: FunctionMix(sum(rows[lane]), each.total(), each) for lane, each in seen.items() if each}


def _spread(lists: Sequence[str], lengths: Sequence[int]) -> list[tuple[str, int]]:
    """List and index of jobs, one in each of equal stretches of the lists together.

    The place in the stretch changes from one to the next, since what waits may have a rhythm.
    """
    total = sum(lengths)
    looks = min(total, JOBS_SPREAD)
    steps = (number + (number * _GOLDEN % 1 if looks < total else 0) for number in range(looks))
    return [_place(lists, lengths, min(int(step * total / looks), total - 1)) for step in steps]


def _place(lists: Sequence[str], lengths: Sequence[int], index: int) -> tuple[str, int]:
    for key, length in zip(lists, lengths, strict=True):
        if index < length:
            return key, index
        index -= length
    return lists[-1], index


def _functions_noted(store: Store, jobs: Sequence[str]) -> dict[str, str]:
    """By job its function, empty when it is not known."""
    if not jobs:
        return {}
    prefix, fields = store.keys.engine.jobs, (NOTE_FIELD, "created_at")
    found = store.read(lambda ask: [ask.hmget(prefix + job, fields) for job in jobs])
    return functions_of(store, {job: function_from_field(*each) for job, each in zip(jobs, found, strict=True)})


@dataclass(slots=True)
class _Tally:
    """What was seen so far of a lane."""

    lane: str
    waiting: int = 0
    undecided: int = 0
    taken: TakenJobs = field(default_factory=TakenJobs)
    functions: Counter[str] = field(default_factory=Counter)

    def add(self, store: Store, window: PreviewWindow, selection: Selection) -> None:
        self.waiting += window.looked_at
        for name, taken in window.functions.items():
            self.taken.add(taken.jobs, taken.lately, taken.oldest)
            self.functions[name or GONE_FUNCTION] += taken.jobs
        for job in with_long_meta(store, window.undecided):
            verdict = judge(job, selection)
            if verdict is None:
                self.undecided += 1
            elif verdict:
                self.taken.add(1, 0, time_of(job.enqueued_at))
                self.functions[job.function or UNKNOWN_FUNCTION] += 1


def _functions(tallies: Sequence[_Tally]) -> list[tuple[str, int]]:
    return sum((it.functions for it in tallies), Counter[str]()).most_common(MOST_FUNCTIONS)


def _tally_lanes(
    store: Store, lanes: Sequence[Lane], selection: Selection, on_progress: Progress | None = None
) -> list[_Tally]:
    sources = {lane.name: store.keys.lane(lane.name)[:3] for lane in lanes}
    lengths = store.read(lambda ask: [ask.llen(key) for three in sources.values() for key in three])
    operation = Operation(on_progress, sum(lengths))
    tallies = []
    for name, three in sources.items():
        tallies.append(_Tally(name))
        for source in three:
            _tally_list(store, tallies[-1], source, selection, operation)
    return tallies


def _tally_list(store: Store, tally: _Tally, source: str, selection: Selection, operation: Operation) -> None:
    for window in windows_of(store, source, selection):
        tally.add(store, window, selection)
        operation.count(window.looked_at)
