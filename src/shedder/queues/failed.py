"""Failed jobs, as RQ keeps them: read in bounded steps, and chosen by what is known of each.

RQ has a sorted set of failed jobs for each lane. The report of a failure is in the job's results, a
stream, and of jobs of an older RQ in its hash. Nothing is unpickled.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from shedder.engine.jobs import (
    LONGEST_DATA,
    JobState,
    function_from_field,
    functions_of,
    meta_fields,
    time_of,
)
from shedder.engine.names import FAILED, RESULTS, registry_key
from shedder.errors import InvalidInput
from shedder.queues.outcomes import LARGEST_REPORT, STOPPED, UNREADABLE, report_of_failure
from shedder.queues.windows import AS_IS, LONG, long_meta
from shedder.selection import Selection, check_globs, is_taken_by
from shedder.store.codec import count_of, in_rows, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Ahead, Command, Operation, Store

FAILED_PER_STEP = 100
"""Failed jobs that one step reads: 1 to 1.5 ms of the server."""

BYTES_PER_STEP = 1_000_000
"""A step ends after so many bytes of reports and metas."""

UNKNOWN_FUNCTION = "(unknown function)"
"""The function of a job whose serialized data cannot be read here."""

MOST_ATTEMPTS = 1_000_000


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
            and (self.since is None or (job.failed_at is not None and job.failed_at >= self.since))
            and (self.until is None or (job.failed_at is not None and job.failed_at < self.until))
            and (not self.exceptions or _is_one_of(job.exception, self.exceptions))
            and (not self.errors or _is_one_of(job.error, self.errors))
            and (self.selection.is_whole or bool(self._decide(job, now)))
        )

    def _decide(self, job: FailedJob, now: datetime) -> bool | None:
        fields = self.selection.fields
        enqueued = time_of(job.enqueued_at) if self.selection.older_than else None
        return self.selection.decide(
            function=job.function or None,
            meta=meta_fields(job.meta, fields) if fields else {},
            age=now - enqueued if enqueued else timedelta(),
        )


class FailedJob(NamedTuple):
    """A job of RQ's registry of failed jobs.

    Attributes:
        job_id: Its id; bytes that are no text stand in it as half characters.
        status: Its status; empty when its hash has expired.
        is_gone: Its data has expired, so that it cannot come back.
        function: Its function; empty when it cannot be known.
        exception: The class of the exception, with its module.
        error: The last line of the report, from the class on; empty where there is no report.
        failed_ms: When it failed (ms, by the server's clock where RQ keeps its result); 0 when not known.
        enqueued_at: When it was enqueued, as RQ writes it.
        origin: The lane that it was in.
        attempts: How often it has been tried.
        came_back: How often shedder has brought it back.
        meta: Its serialized meta; empty when not asked for, `?` when it is long.
    """

    job_id: str
    status: str
    is_gone: bool
    function: str
    exception: str
    error: str
    failed_ms: float
    enqueued_at: str
    origin: str
    attempts: int
    came_back: int
    meta: bytes

    @property
    def failed_at(self) -> datetime | None:
        """When it failed (UTC)."""
        return time_from_ms(self.failed_ms) if self.failed_ms else None

    @property
    def is_failed(self) -> bool:
        """Whether it can be brought back: its hash is there and says that it failed."""
        return not self.is_gone and self.status == JobState.FAILED


class FailedWindow(NamedTuple):
    """Some jobs of a registry, and how many are in it."""

    in_all: int
    jobs: tuple[FailedJob, ...]


def failed_windows(
    store: Store,
    lane: str,
    operation: Operation,
    *,
    oldest_first: bool = False,
    with_meta: bool = False,
    with_results: bool = False,
) -> Iterator[FailedWindow]:
    """The failed jobs that `lane` has now, window by window, the newest first.

    From that end on a job that is moved, or one that fails meanwhile, changes the place of none of
    those to come. The server reads the next window while the caller is at one.
    """

    def look() -> Command[FailedWindow]:
        return read_failed(
            store.keys, lane, place, oldest_first=oldest_first, with_meta=with_meta, with_results=with_results
        )

    place = 0 if oldest_first else failed_in_all(store, [lane]).get(lane, 0)
    with Ahead(store) as ahead:
        window = store.run(look())
        while window.jobs:
            place += len(window.jobs) if oldest_first else -len(window.jobs)
            ahead.send(look())
            yield window._replace(jobs=with_functions(store, _with_long_metas(store, window.jobs)))
            operation.count(len(window.jobs))
            window = ahead.receive()[0]


def read_failed(
    keys: Keys,
    lane: str,
    first: int,
    *,
    oldest_first: bool = False,
    with_meta: bool = False,
    with_results: bool = False,
) -> Command[FailedWindow]:
    """Some failed jobs of `lane`: from the `first` on, the oldest being the 0th, or those before it, newest first."""
    order = "oldest" if oldest_first else "newest"
    return Command(
        "read_failed",
        (registry_key(FAILED, lane),),
        (first, FAILED_PER_STEP, order, keys.engine.jobs, RESULTS, BYTES_PER_STEP, int(with_meta), int(with_results)),
        lambda reply: _window(reply, lane),
    )


_WIDTH = 14


def failed_in_all(store: Store, lanes: Sequence[str]) -> dict[str, int]:
    """By lane the jobs in RQ's registry of failed jobs, of the lanes that have any."""
    found = store.read(lambda ask: [ask.zcard(registry_key(FAILED, lane)) for lane in lanes]) if lanes else []
    return {lane: jobs for lane, jobs in zip(lanes, found, strict=True) if jobs}


def _window(reply: Sequence[Any], lane: str) -> FailedWindow:
    in_all, reports, *flat = reply
    read = [read_report(b""), *(read_report(bytes(each)) for each in reports)]
    return FailedWindow(int(in_all), tuple(_job(row, lane, read) for row in in_rows(flat, _WIDTH)))


def _job(row: Sequence[Any], lane: str, reports: Sequence[tuple[str, str]]) -> FailedJob:
    (job, status, created_at, note, enqueued_at, ended_at, origin, came_back, retries, old_report,
     results, result, report, meta) = row  # fmt: skip
    exception, error = read_report(b"", bytes(old_report)) if old_report and not report else reports[int(report)]
    return FailedJob(
        job_id=bytes(job).decode("utf-8", AS_IS),
        status=text_of(status),
        is_gone=not created_at,
        function=function_from_field(note, created_at) or "",
        exception=exception,
        error=error,
        failed_ms=_failed_ms(result, ended_at),
        enqueued_at=text_of(enqueued_at),
        origin=text_of(origin) or lane,
        attempts=max(int(results), 1) + count_of(retries),
        came_back=count_of(came_back),
        meta=bytes(meta),
    )


def _failed_ms(result: bytes, ended_at: bytes) -> float:
    if result:
        return float(result.partition(b"-")[0])
    ended = time_of(ended_at)
    return ended.timestamp() * 1000 if ended else 0.0


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


def _with_long_metas(store: Store, jobs: Sequence[FailedJob]) -> tuple[FailedJob, ...]:
    return tuple(job._replace(meta=long_meta(store, job.job_id)) if job.meta == LONG else job for job in jobs)


def with_functions(store: Store, jobs: Sequence[FailedJob]) -> tuple[FailedJob, ...]:
    """`jobs` with the functions that their producers did not note."""
    unknown = {job.job_id: None for job in jobs if not job.function and not job.is_gone and job.job_id.isprintable()}
    if not unknown:
        return tuple(jobs)
    names: Mapping[str, str] = functions_of(store, unknown, longest=LONGEST_DATA)
    return tuple(job._replace(function=job.function or names.get(job.job_id, "")) for job in jobs)


def _is_one_of(text: str, globs: Sequence[str]) -> bool:
    """Whether one of `globs` takes `text`, or takes it without the module of its class."""
    return _are_taken(text, tuple(globs))


@lru_cache(maxsize=4096)
def _are_taken(text: str, globs: tuple[str, ...]) -> bool:
    name, colon, message = text.partition(":")
    short = name.rpartition(".")[2] + colon + message
    return any(is_taken_by(glob, each) for glob in globs for each in (text, short))
