"""What would a divert take? Looks at every waiting job, in windows, and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shedder.engine.jobs import function_name, time_of
from shedder.lanes import Lane
from shedder.queues.divert import Undecided, judge, record_of
from shedder.selection import Selection
from shedder.store.codec import text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.operation import Progress, counter
from shedder.store.store import Command, Store

MOST_FUNCTIONS = 20
UNKNOWN_FUNCTION = "(cannot be read here)"


@dataclass(slots=True)
class _Tally:
    waiting: int = 0
    taken: int = 0
    oldest: datetime | None = None
    functions: Counter[str] = field(default_factory=Counter)


def preview_divert(
    store: Store,
    lanes: Sequence[Lane],
    selection: Selection,
    *,
    on_progress: Progress | None = None,
) -> DivertPreview:
    """What `selection` would take from `lanes`; when that is nothing, what is there instead."""
    tallies = _tally_lanes(store, lanes, selection, on_progress)
    functions = sum((tally.functions for tally in tallies.values()), Counter[str]())
    others: Counter[str] = Counter()
    if not functions and not selection.is_whole:
        whole = _tally_lanes(store, lanes, Selection(), None)
        others = sum((tally.functions for tally in whole.values()), Counter[str]())
    return DivertPreview(
        selection=selection,
        lanes=tuple(
            LanePreview(name, tally.waiting, tally.taken, tally.oldest)
            for name, tally in tallies.items()
        ),
        functions=tuple(functions.most_common(MOST_FUNCTIONS)),
        others=tuple(others.most_common(MOST_FUNCTIONS)),
    )


def _tally_lanes(
    store: Store,
    lanes: Sequence[Lane],
    selection: Selection,
    on_progress: Progress | None,
) -> dict[str, _Tally]:
    sources = {lane.name: store.keys.lane(lane.name)[:3] for lane in lanes}
    lengths = store.read(
        lambda ask: [ask.llen(source) for three in sources.values() for source in three]
    )
    count = counter(on_progress, sum(lengths))
    return {name: _tally_lane(store, three, selection, count) for name, three in sources.items()}


def _tally_lane(
    store: Store,
    sources: Sequence[str],
    selection: Selection,
    count: Callable[[int], None],
) -> _Tally:
    tally = _Tally()
    for source in sources:
        first, is_more = 0, True
        while is_more:
            window = store.run(preview_lane(store.keys, source, selection, first=first))
            _add(tally, window, selection)
            count(window.looked_at)
            first += window.looked_at
            is_more = window.looked_at == JOBS_PER_LOOK
    return tally


def _add(tally: _Tally, window: PreviewWindow, selection: Selection) -> None:
    tally.waiting += window.looked_at
    tally.taken += window.taken
    tally.functions += window.functions
    _note_oldest(tally, window.oldest)
    for job in window.undecided:
        if selection.is_whole or judge(job, selection):
            _add_undecided(tally, job)


def _add_undecided(tally: _Tally, job: Undecided) -> None:
    tally.taken += 1
    tally.functions[function_name(job.data) or UNKNOWN_FUNCTION] += 1
    _note_oldest(tally, time_of(job.enqueued_at))


def _note_oldest(tally: _Tally, since: datetime | None) -> None:
    if since is not None and (tally.oldest is None or since < tally.oldest):
        tally.oldest = since


JOBS_PER_LOOK = 125
"""Jobs that one window of a dry run looks at: it moves none, and holds the server as long."""


def preview_lane(
    keys: Keys, source: str, selection: Selection, *, first: int
) -> Command[PreviewWindow]:
    """What `selection` would take from the jobs of one list, from index `first` on."""
    return Command(
        "preview_lane",
        (source,),
        (record_of(selection), first, JOBS_PER_LOOK, keys.engine.jobs),
        _preview_window,
    )


def _preview_window(reply: list[Any]) -> PreviewWindow:
    looked_at, taken, oldest, functions, rest = reply
    counts = {
        text_of(name): int(count)
        for name, count in zip(functions[::2], functions[1::2], strict=True)
    }
    undecided = tuple(
        Undecided(text_of(job), bytes(data), bytes(meta), text_of(enqueued_at))
        for job, data, meta, enqueued_at in zip(
            rest[::4], rest[1::4], rest[2::4], rest[3::4], strict=True
        )
    )
    since = time_from_ms(int(oldest)) if int(oldest) else None
    return PreviewWindow(int(looked_at), int(taken), since, Counter(counts), undecided)


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
