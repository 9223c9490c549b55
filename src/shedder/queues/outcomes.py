"""How jobs end: well or not; counted where they end, read for a lane and for a kind of work.

Workers of ours count each end in Redis: by lane, and by the label that the policy in force gives the
job. The upkeep keeps what the counts were at moments of the last days. What ended in a time is a
difference of two of them, so that it costs the same however many jobs wait, or have failed. Of jobs
that stock workers run, what RQ keeps must tell.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from shedder.engine.names import FAILED, FINISHED, RESULTS, registry_key
from shedder.store.codec import count_of, text_of, time_from_ms
from shedder.store.keys import OUTCOME_STEPS, Keys

if TYPE_CHECKING:
    from redis.client import Pipeline

    from shedder.store.store import Store


FAILURES_KEPT = 100
"""Of each lane, the last failures whose function and exception are kept."""

RATE_SECONDS = 10
"""What ends a second is told from the last ten seconds, and a bit."""

LATELY = timedelta(minutes=5)
"""The time in which jobs that fail are a finding."""

OUTCOMES_KEPT = (45, 40, 1500, 1008)
"""How many moments are kept of each of `OUTCOME_STEPS`: 90 s, 6 min, 25 h, a week."""

COUNTS_PER_SAMPLE = 4000
"""Counters of lanes and labels that one sample reads for such a moment: of a thousand lanes, 2 ms of the server."""

COUNTS_KEPT = timedelta(days=7)
"""For so long the moments of the longest step reach back, and longer where nothing was counted."""
FEWEST_ENDED = 20
"""With fewer jobs that ended lately it is not known whether work fails."""

KEPT_SECONDS = int(timedelta(days=14).total_seconds())
"""The last failures of a lane go when it had none for so long."""


STOCK_LOOKED_AT = 20
"""The last failed jobs of RQ's registry whose exceptions are read, where nobody counted them."""

RESULT_TTL_SECONDS = 500
FAILURE_TTL_SECONDS = 31_536_000
"""For how long RQ keeps a job that ended, unless the job says something else."""

TTL_SLACK_SECONDS = 60
"""By so much a worker's clock may be ahead; what expires later has another time to live."""

NOTED_SLACK_SECONDS = 30
"""By so much the time of a noted failure may be wrong."""

LARGEST_REPORT = 1_000_000
"""A report of a failure that is longer is not read."""

KILLED = "the job's process died"
ABANDONED = "its worker died"
NO_EXCEPTION = "no exception"
UNREADABLE = "shedder could not read it"
STOPPED = "Job stopped by user"
"""So begins RQ's report of a job that a person stopped."""
RETRIES_EXCEEDED = "it asked for more retries than allowed"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How the jobs of a lane, or of a kind of work, ended lately.

    Attributes:
        well: Jobs that ended well a second, in the last ten seconds; None when it is not known.
        failing: Attempts that failed a second, likewise. A job that is retried fails more than once.
        ended_lately: Jobs that ended in the last five minutes, well or not.
        failed_lately: Those among them that failed.
        failed_in_minute: Attempts that failed in the last minute.
        failed_in_hour: Attempts that failed in the last hour.
        failed_kept: Failed jobs that RQ still has in its registry of failed jobs.
        exception: The most frequent exception of the last hundred failures, such as
            `sqlalchemy.exc.OperationalError`; empty when there is none that is known.
        is_counted: Workers of ours counted them where they ended; False: RQ's registries tell, as
            far as its jobs have the usual time to live.
    """

    well: float | None = None
    failing: float | None = None
    ended_lately: int = 0
    failed_lately: int = 0
    failed_in_minute: int = 0
    failed_in_hour: int = 0
    failed_kept: int = 0
    exception: str = ""
    is_counted: bool = True

    @property
    def share_failed(self) -> float:
        """The share of those that ended in the last five minutes that failed, 0 to 1."""
        return min(self.failed_lately / self.ended_lately, 1.0) if self.ended_lately else 0.0


def is_failing(outcomes: Outcomes, share: float) -> bool:
    """Whether work fails: `share` of at least twenty jobs in five minutes; 0 for never.

    It does not when it has recovered: none failed in the last ten seconds, and twenty ended well.
    """
    has_failed = outcomes.ended_lately >= FEWEST_ENDED and outcomes.share_failed >= share > 0
    return has_failed and not has_recovered(outcomes)


def has_recovered(outcomes: Outcomes) -> bool:
    """Whether none failed in the last ten seconds, and twenty ended well."""
    return not outcomes.failing and (outcomes.well or 0.0) * RATE_SECONDS >= FEWEST_ENDED


def in_all(found: Sequence[Outcomes]) -> Outcomes:
    """How the jobs of several lanes ended, together."""
    sums = {name: sum(getattr(each, name) for each in found) for name in _SUMMED}
    well, failing = ([rate for each in found if (rate := getattr(each, name)) is not None]
                     for name in ("well", "failing"))  # fmt: skip
    worst = max(found, key=lambda each: each.failed_lately, default=Outcomes())
    return Outcomes(
        well=sum(well) if well else None, failing=sum(failing) if failing else None, exception=worst.exception,
        is_counted=all(each.is_counted for each in found), **sums,
    )  # fmt: skip


_SUMMED = ("ended_lately", "failed_lately", "failed_in_minute", "failed_in_hour", "failed_kept")


@dataclass(frozen=True, slots=True)
class LabelOutcomes:
    """How the jobs with one label of the policy ended lately, in all lanes.

    Attributes:
        label: What the business calls them.
        outcomes: How they ended.
    """

    label: str
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted since the beginning, at one moment.

    Attributes:
        at: The moment (server's clock, UTC).
        lanes: By lane, how many jobs ended and how many of them failed.
        labels: By label, the same.
    """

    at: datetime
    lanes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    labels: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def of_lanes(self, lanes: Iterable[str]) -> tuple[int, int]:
        """How many jobs of all `lanes` ended, and how many of them failed."""
        found = [self.lanes.get(lane, (0, 0)) for lane in lanes]
        return sum(ended for ended, _ in found), sum(failed for _, failed in found)


# counting, where a job ends


def count_well(ask: Any, keys: Keys, lane: str, label: str) -> None:
    """Count a job that ended well; `ask` may be a pipeline."""
    ask.hincrby(keys.meters, f"{lane}:ended", 1)
    if label:
        ask.hincrby(keys.outcomes, f"label:{label}:ended", 1)


def count_failed(ask: Any, keys: Keys, lane: str, label: str, *, at_ms: int, function: str, exception: str) -> None:
    """Count an attempt that failed, and note its function and exception; `ask` may be a pipeline."""
    count_well(ask, keys, lane, label)
    ask.hincrby(keys.outcomes, f"lane:{lane}:failed", 1)
    if label:
        ask.hincrby(keys.outcomes, f"label:{label}:failed", 1)
    noted = json.dumps([at_ms, function, exception, label], ensure_ascii=False)
    ask.lpush(keys.failures(lane), noted)
    ask.ltrim(keys.failures(lane), 0, FAILURES_KEPT - 1)
    ask.expire(keys.failures(lane), KEPT_SECONDS)


_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)")


def exception_in(report: str) -> str:
    """The class of the exception in what RQ keeps of a failure; never its message, which may be personal."""
    return report_of_failure(report)[0]


def report_of_failure(report: str) -> tuple[str, str]:
    """The class of the exception in what RQ keeps of a failure, and the line with it; empty without one."""
    if not report:
        return NO_EXCEPTION, ""
    if report.startswith("Work-horse terminated"):
        return KILLED, report.splitlines()[0]
    if "due to AbandonedJobError" in report:
        return ABANDONED, report.splitlines()[0]
    named = ((_EXCEPTION.match(line), line) for line in reversed(report.splitlines()))
    return next(((found[1], line) for found, line in named if found), (NO_EXCEPTION, ""))


# reading


def exception_of_last(listed: Sequence[bytes], jobs: int) -> str:
    """The most frequent exception of the last `jobs` that `keys.failures` has of a lane."""
    return most_frequent(exception for _, _, exception in islice(_noted(listed), jobs))


@dataclass(frozen=True, slots=True)
class EndsOfStock:
    """How jobs of a lane ended since a moment, as RQ's registries tell: jobs of stock workers.

    Attributes:
        last: A letter for each of the last 50, the newest behind: `w` it ended well, `f` it failed.
        ended: How many ended since then, well or not.
        failed: How many of them failed.
    """

    last: str
    ended: int
    failed: int


_KEPT = ((FINISHED, RESULT_TTL_SECONDS, "w"), (FAILED, FAILURE_TTL_SECONDS, "f"))


def ask_ends_of_stock(ask: Pipeline, lane: str, since: datetime, now: datetime, *, most: int) -> None:
    """Ask for what `ends_of_stock_from` reads: how jobs of `lane` ended from `since` to `now`, by the server's clock.

    RQ notes until when it keeps a job, in whole seconds. What ended in the second of `since` may have
    ended before it, and does not count.
    """
    for kind, ttl, _ in _KEPT:
        first, last = int(since.timestamp()) + 1 + ttl, int(now.timestamp()) + ttl
        ask.zrange(registry_key(kind, lane), last, first, desc=True, byscore=True, offset=0, num=most, withscores=True)
        ask.zcount(registry_key(kind, lane), first, last)


def ends_of_stock_from(replies: Sequence[Any], *, most: int) -> EndsOfStock:
    """What the replies to `ask_ends_of_stock` say, of the last `most` ends."""
    finished, well, failed, badly = replies
    ends = [(score - ttl, letter) for found, (_, ttl, letter) in zip((finished, failed), _KEPT, strict=True)
            for _, score in found]  # fmt: skip
    last = "".join(letter for _, letter in sorted(ends)[-most:])
    return EndsOfStock(last, ended=int(well) + int(badly), failed=int(badly))


@dataclass(frozen=True, slots=True)
class OutcomesFound:
    """What was counted, now and some time ago.

    Attributes:
        now: The counts of now.
        before: By seconds ago (ten, a minute, five, an hour), the counts of then.
    """

    now: Counts
    before: Mapping[int, Counts]

    def of_lane(self, lane: str, *, exception: str = "", kept: int = 0) -> Outcomes:
        """How the jobs of `lane` ended, as workers of ours counted."""
        return self._outcomes(lambda counts: counts.lanes.get(lane, (0, 0)), exception, kept)

    def of_label(self, label: str, *, exception: str = "") -> Outcomes:
        """How the jobs with `label` ended, as workers of ours counted."""
        return self._outcomes(lambda counts: counts.labels.get(label, (0, 0)), exception)

    def share_well(self, lane: str) -> float:
        """The share of the jobs of `lane` that ended well, of those that ended in the last minute."""
        (ended, failed), (then, failed_then) = (each.lanes.get(lane, (0, 0)) for each in (self.now, self.before[60]))
        return 1 - min(max(failed - failed_then, 0) / (ended - then), 1.0) if ended > then else 1.0

    def _outcomes(self, pick: Any, exception: str, kept: int = 0) -> Outcomes:
        ended, failed = pick(self.now)
        since = {seconds: pick(counts) for seconds, counts in self.before.items()}
        lately, hour = since[int(LATELY.total_seconds())], since[3600]
        then, seconds = since[RATE_SECONDS], (self.now.at - self.before[RATE_SECONDS].at).total_seconds()
        ended_a_second, failing = (ended - then[0]) / seconds, (failed - then[1]) / seconds
        return Outcomes(
            well=max(ended_a_second - failing, 0.0),
            failing=max(failing, 0.0),
            ended_lately=max(ended - lately[0], 0),
            failed_lately=max(failed - lately[1], 0),
            failed_in_minute=max(failed - since[60][1], 0),
            failed_in_hour=max(failed - hour[1], 0),
            failed_kept=kept,
            exception=exception,
        )


WINDOWS = {RATE_SECONDS: 0, 60: 1, 300: 1, 3600: 2}
"""By how many seconds back we look, the place of the step among `OUTCOME_STEPS` at which we look."""


def ask_outcomes(ask: Pipeline, keys: Keys, at: datetime) -> None:
    """Ask for what `outcomes_from` reads; `at` is the server's time."""
    ask.hgetall(keys.meters)
    ask.hgetall(keys.outcomes)
    now = int(at.timestamp())
    for seconds, step in WINDOWS.items():
        ask.zrange(
            keys.outcome_samples[step], f"({now - seconds + 1}", "-inf", desc=True, byscore=True, offset=0, num=1
        )


def outcomes_from(replies: Iterator[Any], at: datetime) -> OutcomesFound:
    """Takes the replies to `ask_outcomes`, and no more."""
    meters, outcomes = next(replies), next(replies)
    now = Counts(at, *_counts_of(meters, outcomes))
    spacing = _spacing(len(meters) + len(outcomes))
    before = {seconds: _counts_at(next(replies), at - timedelta(seconds=seconds), spacing) for seconds in WINDOWS}
    return OutcomesFound(now, before)


def nothing_counted(at: datetime) -> OutcomesFound:
    """What `outcomes_from` says where nobody has counted anything."""
    return OutcomesFound(Counts(at), {seconds: Counts(at - timedelta(seconds=seconds)) for seconds in WINDOWS})


def _spacing(counters: int) -> timedelta:
    """How far apart moments are while much happens: with more counters a moment takes more samples, one a second."""
    return timedelta(seconds=max(OUTCOME_STEPS[0], -(-counters // COUNTS_PER_SAMPLE)))


def _counts_of(
    meters: Mapping[bytes, bytes], outcomes: Mapping[bytes, bytes]
) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    counted = {text_of(name): count_of(value) for name, value in outcomes.items()}
    ended = {text_of(name).removesuffix(":ended"): count_of(value)
             for name, value in meters.items() if name.endswith(b":ended")}  # fmt: skip
    lanes = {lane: (count, counted.get(f"lane:{lane}:failed", 0)) for lane, count in ended.items()}
    names = [name.removeprefix("label:").removesuffix(":ended")
             for name in counted if name.startswith("label:") and name.endswith(":ended")]  # fmt: skip
    labels = {name: (counted[f"label:{name}:ended"], counted.get(f"label:{name}:failed", 0)) for name in names}
    return lanes, labels


def _counts_at(found: Sequence[bytes], then: datetime, spacing: timedelta) -> Counts:
    """The counts as they stood `then`, as of the last change before; nothing before the first."""
    counts = counts_from(found[0]) if found else None
    if counts is None:
        return Counts(then, {}, {})
    # While much happens a moment is written every few seconds, and one of a bit before is taken for
    # what it is. After a time in which nothing happened, all that is new happened since `then`.
    is_near = then - counts.at <= 2 * spacing
    return Counts(counts.at if is_near else then, counts.lanes, counts.labels)


def counts_from(text: bytes) -> Counts | None:
    """What a stored moment says; None when it cannot be read."""
    try:
        seconds, lanes, labels = json.loads(text)
        return Counts(time_from_ms(int(seconds) * 1000), *({name: (int(ended), int(failed))
                      for name, (ended, failed) in dict(each).items()} for each in (lanes, labels)))  # fmt: skip
    except (OverflowError, RecursionError, TypeError, ValueError):
        return None


MOMENTS_PER_READ = 200
"""As many of the kept moments are fetched with one command."""


def counts_since(store: Store, since: datetime, at: datetime) -> tuple[Counts, Counts]:
    """What had been counted by `since`, and what by now, which is `at`."""

    def ask_all(ask: Pipeline) -> None:
        ask.hgetall(store.keys.meters)
        ask.hgetall(store.keys.outcomes)
        for key in store.keys.outcome_samples:
            ask.zrange(key, int(since.timestamp()), "-inf", desc=True, byscore=True, offset=0, num=1)

    meters, outcomes, *found = store.read(ask_all)
    before = _readable(text for each in found for text in each)
    return replace(before[-1], at=since) if before else Counts(since), Counts(at, *_counts_of(meters, outcomes))


def read_counts(store: Store, since: datetime, until: datetime | None = None) -> tuple[Counts, ...]:
    """What was counted in a time, oldest first; the first is what had been counted by `since`.

    Where the kept moments do not reach back so far, the first is the oldest of them.
    """
    return counts_between(iter(store.read(lambda ask: ask_counts(ask, store.keys, since, until))), since)


def ask_counts(ask: Pipeline, keys: Keys, since: datetime, until: datetime | None) -> None:
    """Ask for what `counts_between` reads."""
    first, last = int(since.timestamp()), int(until.timestamp()) if until else "+inf"
    for key, kept in zip(keys.outcome_samples, OUTCOMES_KEPT, strict=True):
        ask.zrange(key, f"({first}", "-inf", desc=True, byscore=True, offset=0, num=1)
        for offset in range(0, kept, MOMENTS_PER_READ):
            ask.zrange(key, first, last, byscore=True, offset=offset, num=MOMENTS_PER_READ)


def counts_between(replies: Iterator[Any], since: datetime) -> tuple[Counts, ...]:
    """Takes the replies to `ask_counts`, and no more: what was counted, oldest first.

    The finest moments that there are for a time. The first is of `since`, unless older moments were
    dropped; where there were none, nothing had been counted by then.
    """
    merged: list[Counts] = []
    before, is_cut = Counts(since), False
    for kept in OUTCOMES_KEPT:
        earlier = _readable(next(replies))
        pages = -(-kept // MOMENTS_PER_READ)
        found = _readable(text for _ in range(pages) for text in next(replies))
        merged = [*(each for each in found if not merged or each.at < merged[0].at), *merged]
        before = max([before, *earlier], key=lambda each: (bool(each.lanes), each.at))
        is_cut = not earlier and len(found) >= kept
    return (*(() if is_cut else [replace(before, at=since)]), *merged)


def _readable(texts: Iterable[bytes]) -> list[Counts]:
    found = [counts for text in texts if (counts := counts_from(text)) is not None]
    return sorted(found, key=lambda each: each.at)


def ask_lane_failures(ask: Pipeline, keys: Keys, lane: str, at: datetime) -> None:
    """Ask for what `lane_failures_from` reads."""
    now = int(at.timestamp())
    failed, finished = registry_key(FAILED, lane), registry_key(FINISHED, lane)
    ask.lrange(keys.failures(lane), 0, FAILURES_KEPT - 1)
    ask.zcard(failed)
    ask.zrange(failed, 0, STOCK_LOOKED_AT - 1, desc=True)
    for seconds in (int(LATELY.total_seconds()), 60, 3600, RATE_SECONDS):
        _ask_ended(ask, failed, now + FAILURE_TTL_SECONDS, seconds)
    for seconds in (int(LATELY.total_seconds()), RATE_SECONDS):
        _ask_ended(ask, finished, now + RESULT_TTL_SECONDS, seconds)


def _ask_ended(ask: Pipeline, registry: str, expiry: int, seconds: int) -> None:
    """Ask how many jobs ended in the last `seconds`; those of now go at `expiry`.

    What goes later was given a longer time to live, and may have ended long ago.
    """
    ask.zcount(registry, expiry - seconds, expiry + TTL_SLACK_SECONDS)


@dataclass(frozen=True, slots=True)
class LaneFailures:
    """What is kept of the failures of one lane.

    Attributes:
        noted: The last failures, newest first: time (ms), label and exception of each.
        kept: Jobs in RQ's registry of failed jobs.
        last: Ids of the last jobs in that registry.
        stock: How the jobs ended by RQ's registries alone.
    """

    noted: tuple[tuple[float, str, str], ...] = ()
    kept: int = 0
    last: tuple[str, ...] = ()
    stock: Outcomes = field(default_factory=Outcomes)

    def tell_more_than(self, counted: Outcomes) -> bool:
        """Whether jobs failed that nobody counted: those of stock workers, which may have ended.

        The clock of a worker may be wrong, so that the registry tells of a few more.
        """
        told = self.stock
        return told.failed_lately > 2 * counted.failed_lately or told.failed_in_hour > 2 * counted.failed_in_hour

    def exception(self) -> str:
        """The most frequent exception of the last failures."""
        return most_frequent(exception for _, _, exception in self.noted)

    def are_all_since(self, then_ms: float) -> bool:
        """Whether all that is kept is younger, so that there may have been more."""
        return len(self.noted) == FAILURES_KEPT and self.noted[-1][0] >= then_ms


def lane_failures_from(replies: Iterator[Any]) -> LaneFailures:
    """Takes the replies to `ask_lane_failures`, and no more."""
    listed, kept, last, lately, minute, hour, now, finished_lately, finished_now = islice(replies, 9)
    stock = Outcomes(
        well=finished_now / RATE_SECONDS,
        failing=now / RATE_SECONDS,
        ended_lately=finished_lately + lately,
        failed_lately=lately,
        failed_in_minute=minute,
        failed_in_hour=hour,
        failed_kept=kept,
        is_counted=False,
    )
    return LaneFailures(tuple(_noted(listed)), kept, tuple(map(text_of, last)), stock)


def ask_exceptions(ask: Pipeline, jobs: Iterable[str]) -> None:
    """Ask for RQ's last result of each of `jobs`: one reply each, for `exception_of`."""
    for job in jobs:
        ask.xrevrange(RESULTS + job, count=1)


def exception_of(reply: Sequence[Any]) -> str:
    """The class of the exception in RQ's last result of a job; empty when there is none to read.

    A job that a person stopped has none, though RQ has it in its registry of failed jobs.
    """
    try:
        [(_, result)] = reply
        unpacking = zlib.decompressobj()
        report = unpacking.decompress(base64.b64decode(result[b"exc_string"]), LARGEST_REPORT)
    except (KeyError, TypeError, ValueError, zlib.error):
        return ""
    said = report.decode(errors="replace")
    return exception_in(said) if unpacking.eof and not said.startswith(STOPPED) else ""


def most_frequent(exceptions: Iterable[str]) -> str:
    """The exception that is most frequent; empty when there is none."""
    found = Counter(each for each in exceptions if each).most_common(1)
    return found[0][0] if found else ""


def as_noted(outcomes: Outcomes, lanes: Sequence[LaneFailures], at: datetime, label: str | None = None) -> Outcomes:
    """`outcomes` without what failed earlier, as far as the noted failures of their lanes tell.

    The counts of then are those of a moment before, which was long before where no worker of ours
    was there, or none between two jobs, to keep them.
    """

    def most(seconds: float) -> float:
        then_ms = (at.timestamp() - seconds - NOTED_SLACK_SECONDS) * 1000
        if any(each.are_all_since(then_ms) for each in lanes):
            return float("inf")
        return sum(
            noted_ms >= then_ms and label in (None, named) for each in lanes for noted_ms, named, _ in each.noted
        )

    return replace(
        outcomes,
        failing=outcomes.failing and min(outcomes.failing, most(RATE_SECONDS) / RATE_SECONDS),
        failed_lately=int(min(outcomes.failed_lately, most(LATELY.total_seconds()))),
        failed_in_minute=int(min(outcomes.failed_in_minute, most(60))),
        failed_in_hour=int(min(outcomes.failed_in_hour, most(3600))),
    )


def _noted(listed: Sequence[bytes]) -> Iterator[tuple[float, str, str]]:
    for text in listed:
        try:
            at_ms, _, exception, label = json.loads(text)
            yield float(at_ms), str(label), str(exception)
        except (OverflowError, RecursionError, TypeError, ValueError):
            yield float("inf"), "", ""  # it may have been of now
