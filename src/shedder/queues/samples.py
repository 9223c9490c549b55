"""Samples: how each lane was over 14 days; taken, read, turned into paces.

Workers and the watcher of an incident write samples as they go, and operators after a change. They
are kept every 2 seconds for ten minutes, every 10 for an hour, every minute for three days, because
the review of an incident is due within two, and every ten minutes for 14 days.
"""

from __future__ import annotations

import json
import logging
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from shedder.engine.names import STARTED, registry_key
from shedder.errors import ShedderError
from shedder.queues import outcomes
from shedder.queues.outcomes import OUTCOMES_KEPT, Counts, ask_counts, counts_between
from shedder.store.keys import OUTCOME_STEPS, SAMPLE_STEPS, Keys
from shedder.store.store import Command, Store

logger = logging.getLogger("shedder.samples")

_KEPT = (timedelta(minutes=10), timedelta(hours=1), timedelta(days=3), timedelta(days=14))
SAMPLES_KEPT = tuple(kept // timedelta(seconds=step) for step, kept in zip(SAMPLE_STEPS, _KEPT, strict=True))
"""How many samples of each step are kept, the finest step first."""

EXPIRY = timedelta(days=14)
"""When a lane had no sample for so long, its samples go."""

INTERVAL_SECONDS = 1.0
SERIES_KEPT = 90

LANES_PER_SAMPLE = 100
"""Lanes of one sample: 2 to 3 ms of the server where jobs wait in all of them."""

MOST_CLAIMS = 500
"""Claims that a sample looks at: 1 ms of the server. Of jobs behind these it is not told whether they are gone."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How a lane was at one moment.

    Attributes:
        at: When (server's clock, UTC).
        waiting: Jobs that waited in it.
        backlog: Jobs in its backlogs.
        running: Jobs that ran.
        oldest: Seconds for which the first job that waited had waited.
        oldest_in_backlog: The same of the backlogs.
        started: Jobs that workers of ours had started since the beginning.
        ended: Jobs that they had ended, well or not.
        failed: Those of them that had failed; an attempt that is retried counts.
    """

    at: datetime
    waiting: int
    backlog: int
    running: int
    oldest: int
    oldest_in_backlog: int
    started: int
    ended: int
    failed: int = 0

    @property
    def depth(self) -> int:
        """Jobs that had not started."""
        return self.waiting + self.backlog

    @property
    def age(self) -> int:
        """Seconds for which the oldest job that had not started had waited."""
        return max(self.oldest, self.oldest_in_backlog)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a lane moved between two samples.

    Attributes:
        at: The end of that time (server's clock, UTC).
        seconds: Its length.
        arrivals: Jobs that arrived a second.
        starts: Jobs that workers of ours started a second.
        completions: Jobs that they ended a second, well or not.
        failing: Those of them that failed.
    """

    at: datetime
    seconds: float
    arrivals: float
    starts: float
    completions: float
    failing: float = 0.0

    @property
    def well(self) -> float:
        """Jobs that ended well a second."""
        return max(self.completions - self.failing, 0.0)


def read_samples(
    store: Store, lanes: Sequence[str], *, since: datetime, until: datetime | None = None, now: datetime | None = None
) -> dict[str, tuple[Sample, ...]]:
    """The samples of each of `lanes` that has any, in a time, with the failed jobs that were counted.

    With the server's time as `now`, what is older is not fetched.
    """

    def ask_all(ask: Any) -> None:
        for lane in lanes:
            for key, step in zip(store.keys.samples(lane), SAMPLE_STEPS, strict=True):
                # at least `step` seconds lie between two, and one more tells of the beginning
                most = max(int((now - since).total_seconds() / step), 0) + 2 if now else 0
                ask.lrange(key, -most, -1)
        ask_counts(ask, store.keys, since, until)

    replies = iter(store.read(ask_all))
    found = {lane: between(samples_from([next(replies) for _ in SAMPLE_STEPS]), since, until) for lane in lanes}
    counts = counts_between(replies, since)
    return {lane: with_failed(samples, lane, counts) for lane, samples in found.items() if samples}


def with_failed(samples: Sequence[Sample], lane: str, counts: Sequence[Counts]) -> tuple[Sample, ...]:
    """The `samples` of `lane` with the failed jobs that `counts`, oldest first, say for their times."""
    times, failed = [each.at for each in counts], [each.of_lanes([lane])[1] for each in counts]
    places = (bisect_right(times, each.at) - 1 for each in samples)
    # most lanes have no failed job, and a copy of each sample would take longer than to read it
    return tuple(
        each if place < 0 or failed[place] == each.failed else replace(each, failed=failed[place])
        for each, place in zip(samples, places, strict=True)
    )


def combined(series: Sequence[Sequence[Sample]]) -> tuple[Sample, ...]:
    """The samples of several lanes as if they were one; of each lane its last one holds."""
    if len(series) == 1:
        return tuple(series[0])
    last = [_before_the_first(each[0]) for each in series if each]
    steps = [(number, each) for number, found in enumerate(filter(None, series)) for each in found]
    made: dict[datetime, Sample] = {}
    for number, sample in sorted(steps, key=lambda step: step[1].at):
        last[number] = sample
        made[sample.at] = _sum(sample.at, last)
    return tuple(made.values())


def samples_from(steps: Iterable[Sequence[bytes]]) -> tuple[Sample, ...]:
    """One series of what is stored in lists, the finest step first: the finest there is for a time.

    What is no sample is left out.
    """
    merged: list[Sample] = []
    for stored in steps:
        found = sorted(_readable(stored), key=lambda sample: sample.at)
        if merged:
            found = [sample for sample in found if sample.at < merged[0].at]
        merged = [*found, *merged]
    return tuple(_with_standstills(merged))


def between(samples: Sequence[Sample], since: datetime, until: datetime | None = None) -> tuple[Sample, ...]:
    """The samples of a time, and the last one before it as of its beginning."""
    inside = [each for each in samples if each.at >= since and (not until or each.at <= until)]
    before = [each for each in samples if each.at < since]
    if before and (not inside or inside[0].at > since):
        last = before[-1]
        age = int((since - last.at).total_seconds())
        oldest, in_backlog = (each and each + age for each in (last.oldest, last.oldest_in_backlog))
        inside.insert(0, replace(last, at=since, oldest=oldest, oldest_in_backlog=in_backlog))
    return tuple(inside)


def paces_of(samples: Sequence[Sample]) -> tuple[Pace, ...]:
    """How fast a lane moved between each two samples.

    Jobs that were cancelled or had expired left without a start, and make arrivals fewer.
    """
    return tuple(_pace(first, second) for first, second in pairwise(samples) if second.at > first.at)


NO_SAMPLE = "no sample was taken after a change, so that what it did may stay unknown: %s"
"""What a log record says of a sample that failed."""


def sample_after(store: Store, lanes: Sequence[str]) -> None:
    """Take the sample of `lanes` after a change: an incident may have neither worker nor watcher.

    What is wrong with a sample is no fault of the change: a log record says that it is missing.
    """
    try:
        store.run(sample_lanes(store.keys, lanes[:LANES_PER_SAMPLE], is_upkeep=False))
    except ShedderError as error:
        logger.warning(NO_SAMPLE, error)


def sample_lanes(keys: Keys, lanes: Sequence[str], *, is_upkeep: bool = True) -> Command[bool]:
    """Take the sample of `lanes`; as the upkeep also the right to do it, unless somebody just has."""
    steps = json.dumps(list(zip(SAMPLE_STEPS, SAMPLES_KEPT, strict=True)))
    moments = json.dumps(list(zip(OUTCOME_STEPS, OUTCOMES_KEPT, strict=True)))
    lane_keys = (
        key
        for lane in lanes
        for key in (*keys.lane(lane), keys.series(lane), registry_key(STARTED, lane), *keys.samples(lane))
    )
    return Command(
        "sample_lanes",
        (keys.sampled, keys.meters, keys.diverts, keys.outcomes, keys.claims, keys.outcome_draft,
         *keys.outcome_samples, *lane_keys),
        (
            int(INTERVAL_SECONDS * 1000) if is_upkeep else 0,
            SERIES_KEPT,
            keys.engine.jobs,
            steps,
            int(EXPIRY.total_seconds()),
            moments,
            outcomes.COUNTS_PER_SAMPLE,
            MOST_CLAIMS,
            *lanes,
        ),
        bool,
    )  # fmt: skip


_FORMAT = struct.Struct(">8I")
_WRAPS_AT = 2**32


def _readable(stored: Sequence[bytes]) -> Iterator[Sample]:
    for text in stored:
        if len(text) == _FORMAT.size:
            seconds, *numbers = _FORMAT.unpack(text)
            yield Sample(datetime.fromtimestamp(seconds, UTC), *numbers)


def _with_standstills(samples: Sequence[Sample]) -> Iterator[Sample]:
    """The samples, with the last moment of each gap in which an empty lane stayed as it was."""
    step, last = timedelta(seconds=SAMPLE_STEPS[0]), None
    for sample in samples:
        if last and not last.depth and sample.at - last.at > 2 * step:
            yield replace(last, at=sample.at - step)
        yield sample
        last = sample


_SUMMED = ("waiting", "backlog", "running", "started", "ended", "failed")


def _before_the_first(sample: Sample) -> Sample:
    return replace(sample, waiting=0, backlog=0, running=0, oldest=0, oldest_in_backlog=0)


def _sum(at: datetime, samples: Sequence[Sample]) -> Sample:
    oldest, in_backlog = (max(getattr(each, name) for each in samples) for name in ("oldest", "oldest_in_backlog"))
    sums = {name: sum(getattr(each, name) for each in samples) for name in _SUMMED}
    return Sample(at, oldest=oldest, oldest_in_backlog=in_backlog, **sums)


def _pace(first: Sample, second: Sample) -> Pace:
    seconds = (second.at - first.at).total_seconds()
    started = (second.started - first.started) % _WRAPS_AT
    ended = (second.ended - first.ended) % _WRAPS_AT
    arrived = max(second.depth - first.depth + started, 0)
    failed = min(max(second.failed - first.failed, 0), ended)
    return Pace(second.at, seconds, *(jobs / seconds for jobs in (arrived, started, ended, failed)))
