"""The impact of an incident on a workload, counted from the samples of its lanes.

While the oldest job of a lane had waited longer than the tolerance, the lane was outside of it, and
what started from its front started late, because a lane is served in order. Jobs of a backlog are
told apart by how much shorter it became.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from shedder.incident.records import SeveritySince
from shedder.postmortem.facts import Impact
from shedder.queues.samples import Sample

_WRAPS_AT = 2**32
_LONGEST_STEP = timedelta(minutes=11)
"""Between samples that are further apart nobody knows how it was."""


def impact_of(
    noun: str, tolerance: timedelta, lanes: Mapping[str, Sequence[Sample]], severities: Sequence[SeveritySince], *,
    tenants: int | None = None,
) -> Impact:  # fmt: skip
    """What the work in `lanes` suffered; `severities` are those that the incident had, in order.

    The lanes of one kind of work that were outside at the same time count once.
    """
    spans = _merged(span for each in lanes.values() for span in _outside(each, tolerance))
    samples = [sample for each in lanes.values() for sample in each]
    return Impact(
        noun=noun,
        tolerance=tolerance,
        outside=_total(spans),
        by_severity=_by_severity(spans, severities),
        late_jobs=sum(_late_jobs(each, tolerance) for each in lanes.values()),
        oldest=timedelta(seconds=max((each.age for each in samples), default=0)),
        deepest=_deepest(lanes),
        tenants=tenants,
        began=spans[0][0] if spans else None,
        targets=tuple(lanes),
    )


_Span = tuple[datetime, datetime]


def _outside(samples: Sequence[Sample], tolerance: timedelta) -> Iterator[_Span]:
    """The times in which the oldest job had waited longer than it may."""
    limit = tolerance.total_seconds()
    for before, after in pairwise(samples):
        if after.at - before.at > _LONGEST_STEP or max(before.age, after.age) <= limit:
            continue
        began = before.at
        if before.age <= limit:
            # the oldest job grows old with time: it became late so long before the sample
            began = max(before.at, after.at - timedelta(seconds=after.age - limit))
        yield began, after.at


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    found: list[_Span] = []
    for began, ended in sorted(spans):
        if found and began <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((began, ended))
    return found


def _total(spans: Iterable[_Span]) -> timedelta:
    return sum((ended - began for began, ended in spans), timedelta())


def _by_severity(spans: Sequence[_Span], severities: Sequence[SeveritySince]) -> dict[int, timedelta]:
    found: dict[int, timedelta] = {}
    for index, each in enumerate(severities):
        # what was before it was opened counts for the severity that it was opened with
        began = None if index == 0 else each.since
        ended = severities[index + 1].since if index + 1 < len(severities) else None
        inside = ((max(first, began or first), min(last, ended or last)) for first, last in spans)
        length = _total(span for span in inside if span[1] > span[0])
        found[each.severity] = found.get(each.severity, timedelta()) + length
    return found


def _late_jobs(samples: Sequence[Sample], tolerance: timedelta) -> int:
    limit = tolerance.total_seconds()
    late = 0
    for before, after in pairwise(samples):
        started = (after.started - before.started) % _WRAPS_AT
        from_backlog = min(max(before.backlog - after.backlog, 0), started)
        if max(before.oldest_in_backlog, after.oldest_in_backlog) > limit:
            late += from_backlog
        if before.oldest > limit or (before.oldest and after.oldest > limit):
            late += started - from_backlog
    return late + (_still_late(samples[-1], limit) if samples else 0)


def _still_late(last: Sample, limit: float) -> int:
    """Of jobs that came evenly, those that are older than the limit."""
    pairs = ((last.waiting, last.oldest), (last.backlog, last.oldest_in_backlog))
    return sum(round(jobs * (1 - limit / oldest)) for jobs, oldest in pairs if oldest > limit)


def _deepest(lanes: Mapping[str, Sequence[Sample]]) -> int:
    """The most jobs of all lanes together, each as its last sample says."""
    now: dict[str, int] = {}
    deepest = 0
    depths = ((sample.at, lane, sample.depth) for lane, each in lanes.items() for sample in each)
    for _, lane, depth in sorted(depths):
        now[lane] = depth
        deepest = max(deepest, sum(now.values()))
    return deepest
