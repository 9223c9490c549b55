"""What would a divert take? Looks at every waiting job, in windows, and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shedder.backlog import JOBS_PER_LOOK, preview_lane
from shedder.backlog_steps import PreviewWindow, Undecided
from shedder.keys import Keys
from shedder.lanes import Lane
from shedder.records import DivertPreview, LanePreview
from shedder.rq.diverting import judge
from shedder.rq.payload import function_name, time_from
from shedder.rq.progress import Progress, counter
from shedder.selection import Selection
from shedder.store import Store

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
    keys: Keys,
    lanes: Sequence[Lane],
    selection: Selection,
    *,
    on_progress: Progress | None = None,
) -> DivertPreview:
    """What `selection` would take from `lanes`; when that is nothing, what is there instead."""
    tallies = _tally_lanes(store, keys, lanes, selection, on_progress)
    functions = sum((tally.functions for tally in tallies.values()), Counter[str]())
    others: Counter[str] = Counter()
    if not functions and not selection.is_whole:
        whole = _tally_lanes(store, keys, lanes, Selection(), None)
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
    keys: Keys,
    lanes: Sequence[Lane],
    selection: Selection,
    on_progress: Progress | None,
) -> dict[str, _Tally]:
    sources = {lane.name: keys.lane(lane.name)[:3] for lane in lanes}
    lengths = store.read(
        lambda ask: [ask.llen(source) for three in sources.values() for source in three]
    )
    count = counter(on_progress, sum(lengths))
    return {
        name: _tally_lane(store, keys, three, selection, count) for name, three in sources.items()
    }


def _tally_lane(
    store: Store,
    keys: Keys,
    sources: Sequence[str],
    selection: Selection,
    count: Callable[[int], None],
) -> _Tally:
    tally = _Tally()
    for source in sources:
        first, is_more = 0, True
        while is_more:
            window = store.run(preview_lane(keys, source, selection, first=first))
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
    _note_oldest(tally, time_from(job.enqueued_at))


def _note_oldest(tally: _Tally, since: datetime | None) -> None:
    if since is not None and (tally.oldest is None or since < tally.oldest):
        tally.oldest = since
