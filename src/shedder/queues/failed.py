"""Failed jobs, as RQ keeps them: read in bounded steps, and chosen by what is known of each.

RQ has a sorted set of failed jobs for each lane. The report of a failure is in the job's results, a
stream, and of jobs of an older RQ in its hash. Nothing is unpickled.
"""

from __future__ import annotations

import base64
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from shedder.engine.jobs import (
    LONGEST_DATA,
    NOTE_FIELD,
    JobState,
    functions_of,
    meta_fields,
    time_of,
)
from shedder.engine.names import FAILED, RESULTS, registry_key
from shedder.errors import InvalidInput
from shedder.queues.outcomes import LARGEST_REPORT, STOPPED, UNREADABLE, report_of_failure
from shedder.queues.windows import AS_IS, long_meta
from shedder.selection import Selection, check_globs, is_taken_by
from shedder.store.ahead import Ahead, Question, ask_each
from shedder.store.codec import count_of, in_rows, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Operation, Store

FAILED_PER_STEP = 200
"""Failed jobs that one step reads: with plain commands, between which the server serves others."""

FIRST_STEP = 25
"""Failed jobs that the first step reads; as long as reports are short, each next one has twice as many."""

STEPS_AHEAD = 4
"""Steps that are asked for at once, so that the server has work while answers are judged."""

IDS_PER_STEP = 2_000
"""Ids of failed jobs that are read at once: 0.3 ms of the server."""

BYTES_PER_STEP = 1_000_000
"""After a step with more bytes of reports the next one is smaller."""

LONGEST_REPORT = 262_144
"""A report of more bytes, as RQ has packed it, is not read."""

LONG_META = 4_096
"""A meta of more bytes is read by itself."""

UNKNOWN_FUNCTION = "(unknown function)"
"""The function of a job whose serialized data cannot be read here."""

MOST_ATTEMPTS = 1_000_000

_FAILED = JobState.FAILED.value
_FAILED_AS_BYTES = _FAILED.encode()
"""Looked at for each job, and a member of an enumeration takes long to look at."""


@dataclass(frozen=True, slots=True)
class FailedSelection:
    """Which failed jobs a retry takes: all criteria that are given must hold; none means every failed job.

    Attributes:
        selection: By function, by meta, and by the time since the job was enqueued.
        exceptions: Globs on the class of the exception, with its module or without; one must match.
        errors: Globs on the last line of the report, such as `OperationalError: * refused`, from the
            class on, with its module or without; one must match.
        since: It failed then or later (UTC).
        until: It failed before then (UTC).
        attempts_below: It has been tried fewer times: RQ's own retries, and the results that RQ
            keeps of it, ten at most.

    Raises:
        InvalidInput: a glob is not accepted, `attempts_below` is less than 2, or `since` is not
            before `until`.
    """

    selection: Selection = field(default_factory=Selection)
    exceptions: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    attempts_below: int | None = None

    def __post_init__(self) -> None:
        check_globs("exception", self.exceptions, "a glob on an exception's class, such as *Timeout*")
        check_globs("error", self.errors, "a glob on the last line of a report, such as OperationalError*")
        if self.attempts_below is not None and not 2 <= self.attempts_below <= MOST_ATTEMPTS:
            raise InvalidInput(name="attempts_below", value=self.attempts_below, accepted="a number from 2 on")
        if self.since and self.until and self.since >= self.until:
            raise InvalidInput(name="until", value=self.until.isoformat(), accepted="a moment after `since`")

    @property
    def is_whole(self) -> bool:
        """Whether every failed job is taken."""
        return self == FailedSelection()

    def describe(self) -> str:
        """For humans, such as `function app.mail.*, exception *Timeout*, failed since 2026-11-28 02:00 UTC`."""
        said = [] if self.selection.is_whole else [self.selection.describe()]
        said += [f"{what} " + " or ".join(globs)
                 for what, globs in (("exception", self.exceptions), ("error", self.errors)) if globs]  # fmt: skip
        said += [f"failed {word} {when:%Y-%m-%d %H:%M:%S} UTC"
                 for word, when in (("since", self.since), ("until", self.until)) if when]  # fmt: skip
        if self.attempts_below is not None:
            said.append(f"tried fewer than {self.attempts_below} times")
        return ", ".join(said) or "every failed job"

    def takes(self, job: FailedJob, now: datetime) -> bool:
        """Whether it takes `job`; one of which a criterion asks for what cannot be known is not taken."""
        return (
            (self.attempts_below is None or job.attempts < self.attempts_below)
            and self.takes_report(job.report)
            and (self.selection.is_whole or bool(self._decide(job, now)))
        )

    def takes_report(self, report: FailureReport) -> bool:
        """Whether it may take the job of this report: all that it asks of reports holds."""
        failed_at = report.failed_at if self.since or self.until else None
        return (
            (self.since is None or (failed_at is not None and failed_at >= self.since))
            and (self.until is None or (failed_at is not None and failed_at < self.until))
            and (not self.exceptions or _is_one_of(report.exception, self.exceptions))
            and (not self.errors or _is_one_of(report.error, self.errors))
        )

    def _decide(self, job: FailedJob, now: datetime) -> bool | None:
        fields = self.selection.fields
        enqueued = time_of(job.enqueued_at) if self.selection.older_than else None
        return self.selection.decide(
            function=job.function or None,
            meta=meta_fields(job.meta, fields) if fields else {},
            age=now - enqueued if enqueued else timedelta(),
        )


class FailureReport(NamedTuple):
    """What RQ keeps of a failure.

    Attributes:
        exception: The class of the exception, with its module.
        error: The last line, from the class on; empty where there is no report.
        failed_ms: When it failed (ms, by the server's clock where RQ keeps its result); 0 when not known.
    """

    exception: str
    error: str
    failed_ms: float

    @property
    def failed_at(self) -> datetime | None:
        """When it failed (UTC)."""
        return time_from_ms(self.failed_ms) if self.failed_ms else None


class FailedJob(NamedTuple):
    """A job of RQ's registry of failed jobs.

    Attributes:
        job_id: Its id; bytes that are no text stand in it as half characters.
        report: How it failed.
        status: Its status; empty when its hash has expired.
        is_gone: Its data has expired, so that it cannot come back.
        function: Its function; empty when it cannot be known.
        came_back: How often shedder has brought it back.
        enqueued_at: When it was enqueued, as RQ writes it; empty when not asked for.
        attempts: How often it has been tried; 1 when not asked for.
        meta: Its serialized meta; empty when not asked for, `?` when it is long.
    """

    job_id: str
    report: FailureReport
    status: str
    is_gone: bool
    function: str
    came_back: int
    enqueued_at: str = ""
    attempts: int = 1
    meta: bytes = b""

    @property
    def is_failed(self) -> bool:
        """Whether it can be brought back: its hash is there and says that it failed."""
        return self.status == _FAILED and not self.is_gone


class Facts(NamedTuple):
    """What is asked of failed jobs beside what is always read; each takes some time of the server for each job.

    Attributes:
        meta: Their metas.
        attempts: How often they were tried.
        age: When they were enqueued.
    """

    meta: bool = False
    attempts: bool = False
    age: bool = False


NO_FACTS = Facts()


def failed_windows(
    store: Store, lane: str, operation: Operation, *, wants: Callable[[FailureReport], bool] = lambda _: True,
    facts: Facts = NO_FACTS, oldest_first: bool = False,
) -> Iterator[list[FailedJob]]:  # fmt: skip
    """The failed jobs that `lane` has now, window by window, the newest first; those whose report the caller `wants`.

    From that end on a job that is moved, or one that fails meanwhile, changes the place of none of
    those to come. The server reads the next windows while the caller is at one; of a job that is not
    wanted it reads the report alone.
    """
    ids, size = _Ids(store, lane, oldest_first=oldest_first), min(FIRST_STEP, FAILED_PER_STEP)
    coming, questions = deque[_Window](), _questions(store.keys, facts)

    def ask_ahead() -> None:
        while sum(each.wanted is None for each in coming) < STEPS_AHEAD and (some := ids.next(size)):
            ahead.ask((_LAST_RESULT,), some)
            coming.append(_Window(some))

    with Ahead(store) as ahead:
        ask_ahead()
        while coming:
            window, replies = coming.popleft(), ahead.answers()
            if window.wanted is not None:
                yield _jobs(store, window.wanted, [*in_rows(replies, len(questions))], facts)
                operation.count(len(window.ids))
                continue
            packed = [*map(_report_in, replies)]
            is_much = sum(map(len, packed)) > BYTES_PER_STEP
            size = max(1, size // 8) if is_much else min(2 * size, FAILED_PER_STEP)
            reports = _reports(store, window.ids, replies, packed)
            window.wanted = [pair for pair in zip(window.ids, reports, strict=True) if wants(pair[1])]
            ahead.ask(questions, [job for job, _ in window.wanted])
            coming.append(window)
            ask_ahead()


@dataclass(slots=True)
class _Window:
    """Some failed jobs, and those of them that are wanted, once that is known."""

    ids: Sequence[bytes]
    wanted: list[tuple[bytes, FailureReport]] | None = None


@dataclass(slots=True)
class _Ids:
    """The ids in a registry of failed jobs, read in pieces, and handed out from one end on."""

    store: Store
    lane: str
    oldest_first: bool
    place: int | None = None
    is_over: bool = False
    read: list[bytes] = field(default_factory=list)
    last: frozenset[bytes] = frozenset()

    def next(self, count: int) -> list[bytes]:
        """The next ids, `count` at most; none at the end."""
        while len(self.read) < count and not self.is_over:
            self.read += self._piece()
        found, self.read = self.read[:count], self.read[count:]
        return found

    def _piece(self) -> list[bytes]:
        key = registry_key(FAILED, self.lane)
        if self.place is None:
            self.place = 0 if self.oldest_first else failed_in_all(self.store, [self.lane]).get(self.lane, 0)
        first = self.place if self.oldest_first else max(0, self.place - IDS_PER_STEP)
        last = first + IDS_PER_STEP - 1 if self.oldest_first else self.place - 1
        found = self.store.read(lambda ask: ask.zrange(key, first, last))[0] if last >= first else []
        self.place = last + 1 if self.oldest_first else first
        self.is_over = not found or not self.place
        # where somebody else takes older ones away meanwhile, younger ones are seen in their places again
        new = [each for each in map(bytes, found) if each not in self.last]
        self.last = frozenset(map(bytes, found))
        return new if self.oldest_first else new[::-1]


_LAST_RESULT = Question("XREVRANGE", RESULTS, ("+", "-", "COUNT", "1"))


def _questions(keys: Keys, facts: Facts) -> tuple[Question, ...]:
    """What is asked of each job beside its last result, in the order of `_jobs`."""
    jobs = keys.engine.jobs
    more = (("enqueued_at",) if facts.age else ()) + (("number_of_retries",) if facts.attempts else ())
    asked = [Question("HMGET", jobs, ("status", "created_at", NOTE_FIELD, "shedder_retries", *more))]
    asked += [Question("XLEN", RESULTS)] if facts.attempts else []
    asked += [Question("HSTRLEN", jobs, ("meta",))] if facts.meta else []
    return tuple(asked)


def failed_in_all(store: Store, lanes: Sequence[str]) -> dict[str, int]:
    """By lane the jobs in RQ's registry of failed jobs, of the lanes that have any."""
    found = store.read(lambda ask: [ask.zcard(registry_key(FAILED, lane)) for lane in lanes]) if lanes else []
    return {lane: jobs for lane, jobs in zip(lanes, found, strict=True) if jobs}


def _reports(
    store: Store, ids: Sequence[bytes], results: Sequence[Any], packed: Sequence[bytes]
) -> list[FailureReport]:
    """How each failed: as its last result says, else as RQ kept it before it had results."""
    reports = [
        FailureReport(*read_report(each), float(result[0][0].partition(b"-")[0]) if result else 0.0)
        for result, each in zip(results, packed, strict=True)
    ]
    without = [job for job, report in zip(ids, reports, strict=True) if report.exception == UNREADABLE]
    if not without:
        return reports
    asked = (Question("HMGET", store.keys.engine.jobs, ("exc_info", "ended_at")),)
    found = dict(zip(without, in_rows(ask_each(store, asked, without), 1), strict=True))
    return [
        _old_report(report, *(found[job][0] or (None, None))) if job in found else report
        for job, report in zip(ids, reports, strict=True)
    ]


def _jobs(
    store: Store, wanted: Sequence[tuple[bytes, FailureReport]], rows: Sequence[Sequence[Any]], facts: Facts
) -> list[FailedJob]:
    """The jobs, from the replies to `_questions`, and to what else must be asked of some of them."""
    jobs = [_job(job, report, row[0]) for (job, report), row in zip(wanted, rows, strict=True)]
    if facts != NO_FACTS:
        jobs = [_with_facts(job, row, facts) for job, row in zip(jobs, rows, strict=True)]
    if facts.meta:
        jobs = _with_metas(store, jobs, [row[-1] or 0 for row in rows])
    return with_functions(store, jobs)


def _job(job: bytes, report: FailureReport, hashed: Sequence[bytes | None] | None) -> FailedJob:
    status, created_at, note, came_back = hashed[:4] if hashed else (None,) * 4
    return FailedJob(
        job.decode("utf-8", AS_IS),
        report,
        _FAILED if status == _FAILED_AS_BYTES else text_of(status or b""),
        not created_at,
        _function_in(note, created_at) if note and created_at else "",
        count_of(came_back) if came_back else 0,
    )


def _function_in(note: bytes, created_at: bytes) -> str:
    since, _, name = note.partition(b" ")
    return text_of(name) if since == created_at else ""


def _report_in(results: Sequence[Any] | None) -> bytes:
    """The report in the last result of a job; empty without one, and for one that is very long."""
    try:
        fields = results[0][1] if results else []
        report: bytes = fields[fields.index(b"exc_string") + 1]
    except (IndexError, ValueError):
        return b""
    return report if len(report) <= LONGEST_REPORT else b""


def _with_facts(job: FailedJob, row: Sequence[Any], facts: Facts) -> FailedJob:
    hashed, *rest = row
    more = [*hashed[4:]] if hashed else [None] * 2
    return job._replace(
        enqueued_at=text_of(more[0] or b"") if facts.age else "",
        attempts=max(rest[0] or 0, 1) + count_of(more[-1]) if facts.attempts else 1,
    )


def _with_metas(store: Store, jobs: Sequence[FailedJob], sizes: Sequence[int]) -> list[FailedJob]:
    """`jobs` with their metas; those that are long come one at a time."""
    keys = [store.keys.engine.jobs.encode() + job.job_id.encode("utf-8", AS_IS) for job in jobs]
    short = [key for key, size in zip(keys, sizes, strict=True) if 0 < size <= LONG_META]
    found = dict(zip(short, store.read(lambda ask: [ask.hget(key, "meta") for key in short]), strict=True))
    return [
        job._replace(meta=long_meta(store, job.job_id) if size > LONG_META else found.get(key) or b"")
        for job, key, size in zip(jobs, keys, sizes, strict=True)
    ]


def _old_report(report: FailureReport, old: bytes | None, ended_at: bytes | None) -> FailureReport:
    exception, error = read_report(b"", old) if old else (report.exception, report.error)
    ended = time_of(ended_at) if not report.failed_ms else None
    return FailureReport(exception, error, ended.timestamp() * 1000 if ended else report.failed_ms)


@lru_cache(maxsize=1024)
def read_report(result: bytes, old: bytes = b"") -> tuple[str, str]:
    """The exception and the last line of a report, as RQ keeps it in a result, or in the hash of a job.

    After an outage most reports are alike, so that most of them are read once.
    """
    try:
        packed = base64.b64decode(result) if result else old
        if not packed:
            return UNREADABLE, ""
        unpacking = zlib.decompressobj()
        said = unpacking.decompress(packed, LARGEST_REPORT).decode(errors="replace")
    except ValueError:
        return UNREADABLE, ""
    except zlib.error:
        said = old[:LARGEST_REPORT].decode(errors="replace") if not result else ""
    return report_of_failure("" if said.startswith(STOPPED) else said)


def with_functions(store: Store, jobs: list[FailedJob]) -> list[FailedJob]:
    """`jobs` with the functions that their producers did not note."""
    unknown = {job.job_id: None for job in jobs if not job.function and not job.is_gone and job.job_id.isprintable()}
    if not unknown:
        return jobs
    names: Mapping[str, str] = functions_of(store, unknown, longest=LONGEST_DATA)
    return [job._replace(function=job.function or names.get(job.job_id, "")) for job in jobs]


def _is_one_of(text: str, globs: Sequence[str]) -> bool:
    """Whether one of `globs` takes `text`, or takes it without the module of its class."""
    return _are_taken(text, tuple(globs))


@lru_cache(maxsize=4096)
def _are_taken(text: str, globs: tuple[str, ...]) -> bool:
    name, colon, message = text.partition(":")
    short = name.rpartition(".")[2] + colon + message
    return any(is_taken_by(glob, each) for glob in globs for each in (text, short))
