"""How is each kind of work, in numbers that an update can tell?

Where a kind has lanes of its own its late jobs are counted: lists are in order of time. Where it
shares them, and for whose jobs they are, some jobs of each list are looked at, evenly spaced; then
what is told is an estimate, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shedder.keys import Keys
from shedder.lanes import lane_of
from shedder.records import LaneStatus, Status
from shedder.rq.notes import NOTE_FIELD, function_of_note
from shedder.rq.payload import function_name, meta_texts, time_of
from shedder.samples import Sample
from shedder.situation import Work
from shedder.store import Command, Store
from shedder.stored import diverts_from, ms_from_time, text_of
from shedder.works import Kind

JOBS_LOOKED_AT = 500
"""Of each list; a list that is no longer is read as a whole."""

LATE_PROBES = 200
TENANT_FIELD = "tenant"


def measure_works(
    store: Store,
    keys: Keys,
    kinds: Sequence[Kind],
    status: Status,
    samples: Mapping[str, Sequence[Sample]],
) -> tuple[Work, ...]:
    """How each kind of work is; `status` and `samples` are of all their lanes."""
    lanes = {lane.lane: lane for lane in status.lanes}
    return tuple(
        _work(store, keys, kind, [lanes[each] for each in kind.lanes if each in lanes], status.at,
              samples)
        for kind in kinds
    )  # fmt: skip


def count_late(keys: Keys, lists: Sequence[str], cutoff: datetime) -> Command[list[int]]:
    """How many jobs of each of `lists` were enqueued before `cutoff`."""
    return Command(
        "count_late", tuple(lists), (ms_from_time(cutoff), keys.engine.jobs, LATE_PROBES), list
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """A job that was looked at: it stands for `weight` jobs of its list."""

    weight: float
    is_held: bool
    enqueued_at: datetime | None
    function: str | None
    meta: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _List:
    key: str
    length: int
    is_held: bool


def _work(
    store: Store,
    keys: Keys,
    kind: Kind,
    lanes: Sequence[LaneStatus],
    at: datetime,
    samples: Mapping[str, Sequence[Sample]],
) -> Work:
    targets = tuple(dict.fromkeys(lane.lane for lane in lanes))
    lists = _lists(store, keys, lanes)
    if not sum(each.length for each in lists):
        return Work(kind.noun, kind.tolerance, arrivals=_sum(lanes, "arrivals"),
                    completions=_sum(lanes, "completions"), targets=targets)  # fmt: skip
    cutoff = at - kind.tolerance
    seen = [job for job in _seen(store, keys, lists) if _is_of(kind, lanes, job)]
    counts = (
        _counted(store, keys, lists, lanes, cutoff) if kind.rule is None else _told(seen, cutoff)
    )
    late_seen = [job for job in seen if job.enqueued_at is not None and job.enqueued_at < cutoff]
    is_partly = any(each.length > JOBS_LOOKED_AT for each in lists)
    oldest = counts.oldest
    return Work(
        noun=kind.noun,
        tolerance=kind.tolerance,
        waiting=counts.waiting,
        held=counts.held,
        late=counts.late,
        oldest=None if oldest is None else max(at - oldest, timedelta()),
        tenants=len({job.meta[TENANT_FIELD] for job in late_seen if TENANT_FIELD in job.meta})
        or None,
        since=late_since(kind, samples, at) if counts.late else None,
        arrivals=_sum(lanes, "arrivals") if kind.rule is None else None,
        completions=_sum(lanes, "completions") if kind.rule is None else None,
        is_estimated=is_partly and kind.rule is not None,
        is_tenants_partial=is_partly,
        targets=targets,
    )


def late_since(
    kind: Kind, samples: Mapping[str, Sequence[Sample]], at: datetime
) -> datetime | None:
    """Since when without a break some lane of `kind` is outside of its tolerance, by samples."""
    limit = kind.tolerance.total_seconds()
    began: datetime | None = None
    for lane in kind.lanes:
        current: datetime | None = None
        for sample in samples.get(lane, ()):
            if sample.age <= limit:
                current = None
            elif current is None:
                current = sample.at - timedelta(seconds=sample.age - limit)
        if current is not None and (began is None or current < began):
            began = current
    return None if began is None else min(began, at)


@dataclass(frozen=True, slots=True)
class _Counts:
    waiting: int
    held: int
    late: int
    oldest: datetime | None


def _counted(
    store: Store,
    keys: Keys,
    lists: Sequence[_List],
    lanes: Sequence[LaneStatus],
    cutoff: datetime,
) -> _Counts:
    late = store.run(count_late(keys, [each.key for each in lists], cutoff))
    times = [time for lane in lanes for time in (lane.oldest, lane.oldest_in_backlog) if time]
    return _Counts(
        waiting=sum(each.length for each in lists),
        held=sum(each.length for each in lists if each.is_held),
        late=sum(late),
        oldest=min(times, default=None),
    )


def _told(seen: Sequence[_Seen], cutoff: datetime) -> _Counts:
    times = [job.enqueued_at for job in seen if job.enqueued_at is not None]
    late = sum(job.weight for job in seen if job.enqueued_at and job.enqueued_at < cutoff)
    return _Counts(
        waiting=round(sum(job.weight for job in seen)),
        held=round(sum(job.weight for job in seen if job.is_held)),
        late=round(late),
        oldest=min(times, default=None),
    )


def _is_of(kind: Kind, lanes: Sequence[LaneStatus], job: _Seen) -> bool:
    rule = kind.rule
    if rule is None:
        return True
    queues = {lane_of(lane.lane).queue for lane in lanes}
    return any(rule.matches(queue=queue, function=job.function, meta=job.meta) for queue in queues)


def _lists(store: Store, keys: Keys, lanes: Sequence[LaneStatus]) -> list[_List]:
    """The lists of jobs that have not started, and whether they may start now."""
    records = store.read(lambda ask: [ask.hget(keys.diverts, each.lane) for each in lanes]) \
        if lanes else []  # fmt: skip
    found: list[tuple[str, bool]] = []
    for lane, record in zip(lanes, records, strict=True):
        listed, kept, parked, _ = keys.lane(lane.lane)
        found += [(key, lane.pause is not None) for key in (kept, parked, listed)]
        for order in diverts_from(lane.lane, record):
            is_held = lane.pause is not None or order.divert.drain is None
            found += [(key, is_held) for key in order.backlog_keys]
    if not found:
        return []
    lengths = store.read(lambda ask: [ask.llen(key) for key, _ in found])
    return [
        _List(key, length, is_held)
        for (key, is_held), length in zip(found, lengths, strict=True)
        if length
    ]


def _seen(store: Store, keys: Keys, lists: Sequence[_List]) -> Iterator[_Seen]:
    for each in lists:
        ids = [text_of(job) for job in _evenly(store, each) if job is not None]
        if not ids:
            continue
        names = (NOTE_FIELD, "created_at", "enqueued_at", "meta")
        rows = store.read(_asking(keys, ids, names))
        weight = each.length / len(ids)
        unknown = [
            job for job, row in zip(ids, rows, strict=True) if not function_of_note(*row[:2])
        ]
        data = _data(store, keys, unknown[:JOBS_LOOKED_AT])
        for job, (note, created_at, enqueued_at, meta) in zip(ids, rows, strict=True):
            function = function_of_note(note, created_at) or function_name(data.get(job, b""))
            since = time_of(enqueued_at)
            yield _Seen(weight, each.is_held, since, function, meta_texts(meta) or {})


def _data(store: Store, keys: Keys, ids: Sequence[str]) -> dict[str, bytes]:
    if not ids:
        return {}
    rows = store.read(_asking(keys, ids, ("data",)))
    return {job: row[0] for job, row in zip(ids, rows, strict=True) if row[0]}


def _asking(keys: Keys, ids: Sequence[str], names: Sequence[str]) -> Callable[[Any], Any]:
    return lambda ask: [ask.hmget(keys.engine.jobs + job, names) for job in ids]


def _evenly(store: Store, each: _List) -> list[Any]:
    if each.length <= JOBS_LOOKED_AT:
        whole: list[Any] = store.read(lambda ask: ask.lrange(each.key, 0, JOBS_LOOKED_AT - 1))[0]
        return whole
    step = each.length / JOBS_LOOKED_AT
    places = [int(step * number) for number in range(JOBS_LOOKED_AT)]
    return store.read(lambda ask: [ask.lindex(each.key, place) for place in places])


def _sum(lanes: Iterable[LaneStatus], name: str) -> float | None:
    found = [pace for lane in lanes if (pace := getattr(lane, name)) is not None]
    return sum(found) if found else None
