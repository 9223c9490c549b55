"""Failed jobs come back: chosen, counted first, at a pace; commands, flow, receipts.

A retry is an order with a backlog that drains. The order takes nothing that waits or arrives: its
jobs come from RQ's registry of failed jobs, in bounded steps, and what the drain of any backlog can
do (a rate, a halt, a stop, jobs that cannot run any more) is that of a retry too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, islice
from math import inf
from typing import Any, NamedTuple

from shedder.engine.jobs import JobState, meta_texts
from shedder.engine.names import FAILED, registry_key
from shedder.errors import InvalidInput
from shedder.events import Cause, event_head, head_of_step
from shedder.lanes import DEFAULT_PRIORITY, Lane, lane_of
from shedder.policy.model import Policy, Rule
from shedder.queues.controls import in_one, standing_on
from shedder.queues.drain import DrainReceipt, drain
from shedder.queues.failed import (
    UNKNOWN_FUNCTION,
    Facts,
    FailedJob,
    FailedSelection,
    FailureReport,
    failed_in_all,
    failed_windows,
)
from shedder.queues.outcomes import UNREADABLE, ask_exceptions, exception_of
from shedder.queues.windows import AS_IS, selection_json
from shedder.selection import Selection
from shedder.store.ahead import Ahead
from shedder.store.codec import in_rows, server_time, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Operation, Progress, Store, new_id
from shedder.units import Rate

RETRIED_PER_STEP = 160
"""Failed jobs that one step moves: less than 3 ms of the server."""

TAKEN_BACK_PER_STEP = 100
"""Jobs that one step of an undo puts among the failed again: about 2 ms of the server."""

NO_JOB = Selection(older_than=timedelta(days=36_159, milliseconds=7))
"""What the order of a retry takes of what waits or arrives: no job is 99 years old."""

LOOKED_AT_LATELY = 200
"""The last failures of a lane that tell what fails."""

GROUPS_SHOWN = 20
"""Functions by exceptions that a preview and a receipt tell apart; the rest are one."""

ERRORS_SHOWN = 10
"""When nothing is chosen, as many of the most common exceptions are told."""

NAMES_KEPT = 100
"""The first ids that could not come back are told with their cause."""

OTHERS = "(others)"
"""The function and the exception of the group of all others."""

MOST_FIRST = 1_000
"""As many jobs can come back as the first ones, whose ends are waited for."""

REFUSED = "policy"
"""The cause of a job that the policy in force does not let come back."""

GONE = "gone"
"""The cause of a job whose data has expired or was deleted."""


@dataclass(frozen=True, slots=True)
class FailedGroup:
    """Failed jobs of one function with one exception.

    Attributes:
        function: Its name.
        exception: The class of the exception, with its module.
        jobs: How many.
        oldest: When the first of them failed (UTC); None when it is not known.
        newest: When the last of them failed.
    """

    function: str
    exception: str
    jobs: int
    oldest: datetime | None = None
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class RetriedLane:
    """What a retry does to one lane.

    Attributes:
        lane: The lane into which the jobs come, as the policy in force names it.
        jobs: How many.
    """

    lane: str
    jobs: int


@dataclass(frozen=True, slots=True)
class RetryPreview:
    """What `retry` would do; it changes nothing.

    Attributes:
        at: When it was looked (server's clock, UTC).
        selection: Which failed jobs were asked for, in words.
        failed: Failed jobs that were looked at.
        lanes: The lanes into which jobs would come, and how many.
        groups: What would come back, by function and exception, most first; what is behind the first
            twenty is one group.
        skipped: Jobs that cannot come back, by cause: `gone` (their data has expired; but for those
            of which a report is left that was not asked for), a status that is not `failed`, or
            `policy` (they were asked for, and a rule says `retry = false`).
        skipped_names: The first of them, `<id> <cause>` each.
        came_back: Of those that would come back, how many shedder has brought back before.
        errors: When nothing would come back, the most common exceptions, and of how many jobs.
    """

    at: datetime
    selection: str
    failed: int
    lanes: tuple[RetriedLane, ...]
    groups: tuple[FailedGroup, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_names: tuple[str, ...] = ()
    came_back: int = 0
    errors: tuple[tuple[str, int], ...] = ()

    @property
    def jobs(self) -> int:
        """Jobs that would come back in all."""
        return sum(lane.jobs for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class RetryReceipt:
    """What `retry` did.

    Attributes:
        event: Id of its first event, which `undo` takes; empty when nothing was moved.
        at: When all had been moved (server's clock, UTC).
        order: Id of its order, one for all lanes.
        selection: Which failed jobs were asked for, in words.
        failed: Failed jobs that were looked at.
        lanes: The lanes into whose backlogs jobs were moved, and how many.
        groups: What was moved, by function and exception, as in a preview.
        skipped: Jobs that were not moved, by cause: `gone`, a status that is not `failed`, `policy`,
            `taken` (somebody else brought it back meanwhile) or `unreadable`.
        skipped_names: The first of them, `<id> <cause>` each.
        came_back: Of those moved, how many shedder had brought back before.
        errors: When nothing was chosen, the most common exceptions, and of how many jobs.
        drain: The drain of these backlogs; None when nothing was moved.
        ids: Their ids, where only the first ones were asked for; else empty.
    """

    event: str
    at: datetime
    order: str
    selection: str
    failed: int
    lanes: tuple[RetriedLane, ...]
    groups: tuple[FailedGroup, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_names: tuple[str, ...] = ()
    came_back: int = 0
    errors: tuple[tuple[str, int], ...] = ()
    drain: DrainReceipt | None = None
    ids: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """Jobs that were moved in all."""
        return sum(lane.jobs for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class RetryEnds:
    """How the first jobs of a retry have ended so far.

    Attributes:
        well: Jobs that ended well.
        failed: Jobs that failed again.
        waiting: Jobs that have not started, or that RQ tries once more later.
        running: Jobs that run.
        gone: Jobs that were cancelled, stopped or deleted, or of which RQ keeps no result.
        exceptions: The exceptions of those that failed again, most first, and of how many jobs.
    """

    well: int = 0
    failed: int = 0
    waiting: int = 0
    running: int = 0
    gone: int = 0
    exceptions: tuple[tuple[str, int], ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether all have ended."""
        return not self.waiting and not self.running

    @property
    def jobs(self) -> int:
        """All of them."""
        return self.well + self.failed + self.waiting + self.running + self.gone


@dataclass(frozen=True, slots=True)
class RetryTakenBack:
    """What the undo of a retry did.

    Attributes:
        event: Id of its last event.
        at: When it was done (server's clock, UTC).
        lanes: The lanes, one by one.
    """

    event: str
    at: datetime
    lanes: tuple[LaneTakenBack, ...]


@dataclass(frozen=True, slots=True)
class LaneTakenBack:
    """What the undo of a retry did to one lane.

    Attributes:
        lane: Its name.
        order: Id of the retry that ended.
        failed: Jobs that are among the failed again.
        lost: Jobs that were deleted, cancelled or enqueued anew while they were in the backlog.
    """

    lane: str
    order: str
    failed: int
    lost: int


class RetryStep(NamedTuple):
    """What one step of a retry did: the event of the order, jobs moved, and by id why one was not."""

    event: str
    moved: int
    skipped: dict[str, str]


class TakeBackStep(NamedTuple):
    """What one step of the undo of a retry did; its state is `more`, `done` or `ended` (no such order)."""

    state: str
    event: str
    failed: int
    lost: int


def preview_retry(
    store: Store, lanes: Sequence[Lane], selection: FailedSelection, policy: Policy, *, first: int | None = None,
    is_forced: bool = False, on_progress: Progress | None = None,
) -> RetryPreview:  # fmt: skip
    """What a retry of `selection` would bring back; with `first` only as many, the oldest failures."""
    found = _Found(store, selection, policy, is_forced)
    for chosen in found.windows(lanes, first, on_progress):
        found.count(chosen)
    return RetryPreview(at=server_time(store), **found.told())


def retry(
    store: Store,
    lanes: Sequence[Lane],
    selection: FailedSelection,
    cause: Cause,
    policy: Policy,
    *,
    rate: Rate,
    halt_at: float,
    first: int | None = None,
    is_forced: bool = False,
    on_progress: Progress | None = None,
) -> RetryReceipt:
    """Move what `selection` takes to backlogs, then let them drain at `rate` each, as `drain` does.

    What the policy does not let come back is left out, unless it `is_forced`.

    A retry that dies on the way leaves a backlog that stands: what it moved waits there, and a drain
    brings it back. The jobs that failed last are moved first, so that the backlog is in the order of
    failure at each moment.
    """
    cause = replace(cause, operation=cause.operation or new_id())
    found = _Found(store, selection, policy, is_forced)
    with Ahead(store) as ahead:
        move = _Move(store, cause, found, rate, ahead)
        for chosen in found.windows(lanes, first, on_progress):
            move.jobs(chosen)
        move.rest()
    order, moved = move.operation.id, [lane_of(name) for name in sorted(found.lanes)]
    drained = drain(store, moved, rate, cause, halt_at=halt_at, order=order) if moved else None
    ids = tuple(move.ids) if first is not None else ()
    return RetryReceipt(event=move.event, at=server_time(store), order=order, **found.told(), drain=drained, ids=ids)


def ends_of(store: Store, jobs: Sequence[str]) -> RetryEnds:
    """How `jobs` have ended so far, in two round trips."""
    if not jobs:
        return RetryEnds()
    keys = store.keys.engine
    said = store.read(lambda ask: [ask.hget(keys.jobs + job, "status") for job in jobs])
    states = [_ENDS.get(text_of(each or b""), "waiting" if each else "gone") for each in said]
    failed = [job for job, state in zip(jobs, states, strict=True) if state == "failed"]
    replies = store.read(lambda ask: ask_exceptions(ask, failed)) if failed else []
    exceptions = Counter(name for name in map(exception_of, replies) if name)
    return RetryEnds(**Counter(states), exceptions=tuple(exceptions.most_common(ERRORS_SHOWN)))


_ENDS: Mapping[str, str] = {
    JobState.FINISHED: "well", JobState.FAILED: "failed", JobState.STARTED: "running",
    JobState.CANCELED: "gone", JobState.STOPPED: "gone",
}  # fmt: skip


def failed_lately(store: Store, lanes: Sequence[Lane]) -> tuple[FailedGroup, ...]:
    """The last failures of `lanes`, by function and exception."""
    found = _Found(store, FailedSelection(), Policy())
    for lane in failed_in_all(store, [lane.name for lane in lanes]):
        last = islice(chain.from_iterable(failed_windows(store, lane, Operation())), LOOKED_AT_LATELY)
        found.count(Chosen(lane, lane, job) for job in last if job.is_failed)
    groups: tuple[FailedGroup, ...] = found.told()["groups"]
    return groups


def stop_retry(store: Store, lanes: Sequence[Lane], cause: Cause) -> DrainReceipt:
    """Stop the drains of all retries on `lanes`; what has not started stays in the backlog."""
    found: dict[str, list[Lane]] = {}
    for lane, orders in standing_on(store, [lane.name for lane in lanes]).items():
        for each in orders:
            if each.divert.is_retry:
                found.setdefault(each.divert.order, []).append(lane_of(lane))
    if not found:
        return DrainReceipt("", server_time(store), None, ())
    if len(found) > 1:
        cause = replace(cause, operation=cause.operation or new_id())
    return in_one([drain(store, several, None, cause, order=order) for order, several in found.items()])


def take_back(store: Store, lane: str, order: str, cause: Cause, *, undoes: str = "") -> RetryTakenBack | None:
    """Put what has not started of a retry among the failed jobs again; None when all of it has started."""
    operation, failed, lost = Operation(), 0, 0
    while True:
        step = store.run(
            put_back_failed(store.keys, lane, order, cause, operation.id, operation.next_step(), undoes=undoes)
        )
        failed, lost = failed + step.failed, lost + step.lost
        if step.state == "done":
            return RetryTakenBack(step.event, server_time(store), (LaneTakenBack(lane, order, failed, lost),))
        if step.state == "ended":
            return None


def retry_jobs(
    keys: Keys,
    source: str,
    lane: str,
    jobs: Sequence[str],
    cause: Cause,
    *,
    order: str,
    selection: str,
    rate: str,
    operation: str,
    step: int,
) -> Command[RetryStep]:
    """One step of a retry: `jobs` from the registry of `source` to the backlog of `order` on `lane`."""
    head = event_head("retry", cause, (lane,), order=order, selection=selection, rate=rate)
    own = (keys.drain(order, lane), keys.skipped(order, lane), keys.running(order))
    return Command(
        "retry_jobs",
        (keys.diverts, keys.events, keys.operation(operation), registry_key(FAILED, source), keys.engine.queues,
         *keys.lane(lane), *keys.backlog(order, lane), *own),
        (f"retry {step}", head, order, cause.by, cause.why, selection_json(NO_JOB), lane, source, keys.engine.jobs,
         *(job.encode("utf-8", AS_IS) for job in jobs)),
        _retry_step,
    )  # fmt: skip


def put_back_failed(
    keys: Keys, lane: str, order: str, cause: Cause, operation: str, step: int, *, undoes: str = ""
) -> Command[TakeBackStep]:
    """One step of the undo of a retry."""
    head = head_of_step("retry undone", cause, lane, order, undoes)
    return Command(
        "put_back_failed",
        (keys.diverts, keys.events, keys.operation(operation), *keys.lane(lane)),
        (f"take back {step}", head, lane, order, TAKEN_BACK_PER_STEP, keys.engine.jobs, registry_key(FAILED, "")),
        lambda reply: TakeBackStep(text_of(reply[0]), text_of(reply[1]), int(reply[2]), int(reply[3])),
    )


class Chosen(NamedTuple):
    """A failed job, the lane in whose registry it is, and the lane into which it comes."""

    source: str
    target: str
    job: FailedJob


@dataclass(slots=True)
class _Found:
    """What is found in registries: it chooses, and counts as it goes."""

    store: Store
    selection: FailedSelection
    policy: Policy
    is_forced: bool = False
    failed: int = 0
    groups: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    lanes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    came_back: int = 0

    def windows(
        self, lanes: Sequence[Lane], first: int | None, on_progress: Progress | None
    ) -> Iterator[Sequence[Chosen]]:
        """What is chosen, the newest failure of a lane first; with `first` only as many, the oldest ones.

        Of those each lane has its share, so that a canary tells of all.
        """
        if first is not None and not 1 <= first <= MOST_FIRST:
            raise InvalidInput(name="first", value=first, accepted=f"a number of jobs from 1 to {MOST_FIRST:,}")
        now, registries = server_time(self.store), failed_in_all(self.store, [lane.name for lane in lanes])
        self.failed = sum(registries.values())
        operation = Operation(on_progress, self.failed)
        for number, lane in enumerate(registries):
            if first is None:
                yield from self._of_lane(lane, now, operation)
            else:
                share = -(-first // (len(registries) - number))
                oldest = chain.from_iterable(self._of_lane(lane, now, operation, oldest_first=True))
                chosen = [*islice(oldest, share)]
                first -= len(chosen)
                yield chosen[::-1]

    def count(self, chosen: Iterable[Chosen]) -> None:
        """Count what comes back."""
        for _, target, job in chosen:
            self.lanes[target] += 1
            self.came_back += job.came_back > 0
            report = job.report
            group = self.groups.setdefault((job.function or UNKNOWN_FUNCTION, report.exception), [0, inf, 0])
            group[0] += 1
            if report.failed_ms:
                group[1:] = min(group[1], report.failed_ms), max(group[2], report.failed_ms)

    def skip(self, job: str, cause: str) -> None:
        """Count one that cannot come back."""
        self.skipped[cause] += 1
        if len(self.names) < NAMES_KEPT:
            self.names.append(f"{job} {cause}")

    def told(self) -> dict[str, Any]:
        """What a preview and a receipt say of it."""
        most = sorted(self.groups.items(), key=lambda each: (-each[1][0], each[0]))
        groups = [_group(*names, *numbers) for names, numbers in most[:GROUPS_SHOWN]]
        if rest := [numbers for _, numbers in most[GROUPS_SHOWN:]]:
            jobs, oldest, newest = zip(*rest, strict=True)
            groups.append(_group(OTHERS, OTHERS, sum(jobs), min(oldest), max(newest)))
        return {
            "selection": self.selection.describe(),
            "failed": self.failed,
            "lanes": tuple(RetriedLane(lane, jobs) for lane, jobs in sorted(self.lanes.items())),
            "groups": tuple(groups),
            "skipped": dict(self.skipped),
            "skipped_names": tuple(self.names),
            "came_back": self.came_back,
            "errors": () if self.lanes else tuple(self.errors.most_common(ERRORS_SHOWN)),
        }

    def _of_lane(
        self, lane: str, now: datetime, operation: Operation, *, oldest_first: bool = False
    ) -> Iterator[list[Chosen]]:
        chosen = self.selection
        facts = Facts(
            meta=bool(chosen.selection.fields) or _asks_for_meta(self.policy),
            attempts=chosen.attempts_below is not None, age=chosen.selection.older_than is not None,
        )  # fmt: skip
        windows = failed_windows(self.store, lane, operation, wants=self._wants, facts=facts, oldest_first=oldest_first)
        for window in windows:
            yield [Chosen(lane, self._target(lane, job), job) for job in window if self._takes(lane, job, now)]

    def _wants(self, report: FailureReport) -> bool:
        if report.exception == UNREADABLE:  # it may have expired with its job, which is then told as gone
            return True
        self.errors[report.exception] += 1
        return self.selection.takes_report(report)

    def _takes(self, lane: str, job: FailedJob, now: datetime) -> bool:
        if not job.is_failed:
            self.skip(job.job_id, GONE if job.is_gone else job.status)
            return False
        if job.report.exception == UNREADABLE:
            self.errors[UNREADABLE] += 1
        if not self.selection.takes(job, now):
            return False
        found = None if self.is_forced else self._rule("retry", lane, job)
        if found is not None and found.retry is False:
            self.skip(job.job_id, REFUSED)
            return False
        return True

    def _target(self, lane: str, job: FailedJob) -> str:
        """The lane that the policy names; one that it says nothing of stays in its own."""
        found = self._rule("priority", lane, job)
        if found is None or found.selection.is_whole:
            return lane
        return Lane(lane_of(lane).queue, found.priority or DEFAULT_PRIORITY).name

    def _rule(self, saying: str, lane: str, job: FailedJob) -> Rule | None:
        if not self.policy.rules:
            return None
        queue, meta = lane_of(lane).queue, meta_texts(job.meta) or {}
        found = self.policy.rule_for(saying, queue=queue, function=job.function or None, meta=meta)
        return found[1] if found else None


def _asks_for_meta(policy: Policy) -> bool:
    return any(rule.selection.fields for rule in policy.rules if rule.says("priority") or rule.says("retry"))


def _group(function: str, exception: str, jobs: float, oldest: float, newest: float) -> FailedGroup:
    times = (time_from_ms(oldest), time_from_ms(newest)) if newest else (None, None)
    return FailedGroup(function, exception, int(jobs), *times)


@dataclass(slots=True)
class _Move:
    """The steps by which chosen jobs go to backlogs; the server is at one while the next jobs are judged here."""

    store: Store
    cause: Cause
    found: _Found
    rate: Rate
    ahead: Ahead
    waiting: dict[str, list[Chosen]] = field(default_factory=lambda: defaultdict(list))
    sent: Sequence[Chosen] = ()
    event: str = ""
    ids: list[str] = field(default_factory=list)
    operation: Operation = field(default_factory=Operation)

    def jobs(self, chosen: Sequence[Chosen]) -> None:
        """Move jobs of one registry, the newest failure first, as soon as there are enough for a step."""
        for each in chosen:
            several = self.waiting[each.target]
            if several and several[0].source != each.source:
                self._step(each.target)
            several.append(each)
            if len(several) >= RETRIED_PER_STEP:
                self._step(each.target)

    def rest(self) -> None:
        """Move those that are left, and wait for it."""
        for target in self.waiting:
            self._step(target)
        self._count(self._done())

    def _step(self, target: str) -> None:
        chosen, self.waiting[target] = self.waiting[target], []
        if not chosen:
            return
        step = retry_jobs(
            self.store.keys, chosen[0].source, target, [each.job.job_id for each in chosen], self.cause,
            order=self.operation.id, selection=self.found.selection.describe(), rate=str(self.rate),
            operation=self.operation.id, step=self.operation.next_step(),
        )  # fmt: skip
        before = self._done()
        self.ahead.send(step)
        self.sent = chosen
        self._count(before)  # while the server is at the next ones

    def _done(self) -> tuple[Sequence[Chosen], RetryStep | None]:
        """The jobs that were sent last, and what became of them, once the server says so."""
        sent, self.sent = self.sent, ()
        return sent, self.ahead.receive()[0] if sent else None

    def _count(self, step: tuple[Sequence[Chosen], RetryStep | None]) -> None:
        chosen, done = step
        if done is None:
            return
        self.event = self.event or done.event
        for job, cause in done.skipped.items():
            self.found.skip(job, cause)
        moved = [each for each in chosen if each.job.job_id not in done.skipped] if done.skipped else chosen
        self.found.count(moved)
        self.ids += (each.job.job_id for each in moved[: MOST_FIRST - len(self.ids)])


def _retry_step(reply: list[Any]) -> RetryStep:
    event, _, moved, _, *skipped = reply
    pairs = in_rows(skipped, 2)
    return RetryStep(
        text_of(event), int(moved), {bytes(job).decode("utf-8", AS_IS): text_of(cause) for job, cause in pairs}
    )
