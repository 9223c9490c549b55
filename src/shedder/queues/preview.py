"""What a divert would take, and of which functions jobs wait; changes nothing.

A dry run looks at each waiting job, in windows. To tell roughly what fills a lane, some jobs are
enough that are evenly spread over it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shedder.engine.jobs import NOTE_FIELD, function_from_field, function_name, functions_of, time_of
from shedder.lanes import Lane
from shedder.queues.divert import Undecided, judge, selection_json
from shedder.selection import Selection
from shedder.store.codec import in_rows, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Operation, Progress, Store

MOST_FUNCTIONS = 20
UNKNOWN_FUNCTION = "(cannot be read here)"

JOBS_PER_LOOK = 125
"""Jobs that one window of a dry run looks at: it moves none, and holds the server as long."""

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


@dataclass(frozen=True, slots=True)
class LanePreview:
    """What a divert would take from one lane.

    Attributes:
        lane: Its name.
        waiting: Jobs that wait in it.
        taken: Jobs that would go to the backlog.
        oldest: When the oldest of them was enqueued (producer's clock, UTC).
    """

    lane: str
    waiting: int
    taken: int
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class PreviewWindow:
    """What a dry run saw in one window of a lane.

    Attributes:
        looked_at: Jobs in the window; less than asked for means that the list has ended.
        taken: Those that would be taken, as far as a script can judge.
        oldest: When the oldest of them was enqueued.
        functions: Those taken, by function.
        undecided: Those that the caller must judge, or whose function it must read.
    """

    looked_at: int
    taken: int
    oldest: datetime | None
    functions: Counter[str]
    undecided: tuple[Undecided, ...]


def preview_divert(
    store: Store, lanes: Sequence[Lane], selection: Selection, on_progress: Progress | None = None
) -> DivertPreview:
    """What `selection` would take from `lanes`; when that is nothing, what is there instead."""
    tallies = _tally_lanes(store, lanes, selection, on_progress)
    functions, others = _functions(tallies), []
    if not functions and not selection.is_whole:
        others = _functions(_tally_lanes(store, lanes, Selection()))
    found = [LanePreview(it.lane, it.waiting, it.taken, it.oldest) for it in tallies]
    return DivertPreview(selection, tuple(found), tuple(functions), tuple(others))


def preview_lane(keys: Keys, source: str, selection: Selection, *, first: int) -> Command[PreviewWindow]:
    """What `selection` would take from the jobs of one list, from index `first` on."""
    return Command(
        "preview_lane", (source,), (selection_json(selection), first, JOBS_PER_LOOK, keys.engine.jobs), _preview_window
    )


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
    taken: int = 0
    oldest: datetime | None = None
    functions: Counter[str] = field(default_factory=Counter)

    def add(self, window: PreviewWindow, selection: Selection) -> None:
        self.waiting += window.looked_at
        self.taken += window.taken
        self.functions += window.functions
        self._note_oldest(window.oldest)
        for job in window.undecided:
            if selection.is_whole or judge(job, selection):
                self.taken += 1
                self.functions[function_name(job.data) or UNKNOWN_FUNCTION] += 1
                self._note_oldest(time_of(job.enqueued_at))

    def _note_oldest(self, since: datetime | None) -> None:
        if since is not None:
            self.oldest = min(self.oldest or since, since)


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
    first, is_more = 0, True
    while is_more:
        window = store.run(preview_lane(store.keys, source, selection, first=first))
        tally.add(window, selection)
        operation.count(window.looked_at)
        first += window.looked_at
        is_more = window.looked_at == JOBS_PER_LOOK


def _preview_window(reply: list[Any]) -> PreviewWindow:
    looked_at, taken, oldest, functions, rest = reply
    counts = zip(map(text_of, functions[::2]), map(int, functions[1::2]), strict=True)
    undecided = tuple(
        Undecided(text_of(job), bytes(data), bytes(meta), text_of(enqueued_at))
        for job, data, meta, enqueued_at in in_rows(rest, 4)
    )
    since = time_from_ms(int(oldest)) if int(oldest) else None
    return PreviewWindow(int(looked_at), int(taken), since, Counter(dict(counts)), undecided)
