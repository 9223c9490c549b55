"""Repair: does something about what a check-up found.

Each repair is one that workers of shedder do too, or a script that looks again, in the step that
changes something: one that comes too late does nothing. So two operators may repair at once, while
workers and producers go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, groupby
from typing import Any

from shedder.engine.names import intermediate_key
from shedder.errors import RecordUnreadable
from shedder.events import Cause, event_head
from shedder.health.audit import CLAIM, WINDOW, Place, Walker, met_anywhere, met_waiting, read_each
from shedder.health.doctor import Checkup
from shedder.health.leftovers import STALE_MS, LostJob, lanes_to_fold, lost_jobs, orders_left, orphaned_backlogs
from shedder.queues.controls import all_lanes
from shedder.queues.divert import scan
from shedder.queues.restore import restore_one
from shedder.store.codec import text_of
from shedder.store.keys import Keys, split_backlog
from shedder.store.store import Command, Operation, Store

VERB = "repair"

JOBS_PER_STEP = 40
"""Jobs or claims that one step puts back at most: about 1 ms of the server."""

DEPTH = 500
"""Entries at each end of a list that a step reads: ten thousand are about 2 ms of the server."""

TWIN_DEPTH = 20_000
"""Entries at each end of a list in which a step looks for one id: about 1 ms of the server."""

IDS_PER_STEP = 1000
"""Ids that one step of a fold moves at most: about 1 ms of the server."""


def repair(store: Store, checkup: Checkup, cause: Cause) -> tuple[Repair, ...]:
    """Repair what `checkup` found, as far as that can be done; what was done."""
    run = _Repairs(store, cause)
    nowhere = checkup.audit.nowhere if checkup.audit else ()
    twice = [job for job, _ in checkup.audit.twice] if checkup.audit else []
    done = (
        Repair("unfinished orders", "finished", run.finish_orders()),
        Repair("claims", "put back in front of their lanes", run.return_stale()),
        Repair("orphaned backlogs", "put back in front of their lanes", run.adopt_backlogs()),
        Repair("left-over lists", "put back in front of their lanes", run.refold_lanes()),
        Repair("jobs in two places", "left in one of them", run.remove_twins(twice)),
        Repair("jobs in no place", "put at the end of their lanes", run.return_lost(nowhere)),
    )
    return tuple(each for each in done if each.count)


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done about a finding.

    Attributes:
        check: What was looked at.
        did: What was done, in a few words.
        count: How many jobs or orders it was done to.
    """

    check: str
    did: str
    count: int


@dataclass(slots=True)
class _Repairs:
    """One run of all repairs, step by step."""

    store: Store
    cause: Cause
    operation: Operation = field(default_factory=Operation)

    def finish_orders(self) -> int:
        left = orders_left(self.store)
        for order in left:
            if order.is_restoring:
                restore_one(self.store, order.lane, order.order, self.cause)
            else:
                scan(self.store, order.lane, order.order, order.selection, self.cause)
        return len(left)

    def return_stale(self) -> int:
        returned = left = 0
        while True:
            back, stuck = self.store.run(recover_claims(self.store.keys, self._next(), age_ms=STALE_MS, first=left))
            returned, left = returned + back, left + stuck
            if not back and not stuck:
                return returned

    def adopt_backlogs(self) -> int:
        adopted = 0
        for key, lane in orphaned_backlogs(self.store).items():
            self._refold(lane)
            adopted += self.store.run(adopt_backlog(self.store.keys, lane, key, self._next()))
            self._refold(lane)
        return adopted

    def refold_lanes(self) -> int:
        lanes = lanes_to_fold(self.store, all_lanes(self.store))
        return sum(self._refold(lane) for lane in lanes)

    def remove_twins(self, jobs: Iterable[str]) -> int:
        try:
            met = met_waiting(self._walker(), set(jobs))
        except RecordUnreadable:
            return 0
        prefix = self.store.keys.engine.jobs
        origins = read_each(self.store, [*met], lambda ask, job: ask.hget(prefix + job, "origin"))
        return sum(
            self._remove_twins(job, _by_claim_to_stay(met[job], text_of(origin or b""))) for job, origin in origins
        )

    def return_lost(self, jobs: Sequence[str]) -> int:
        lost = {job.job_id: job for job in lost_jobs(self.store, jobs)}
        origins = {job.lane for job in lost.values()}
        try:
            met = met_anywhere(self._walker(), set(lost), origins=origins)
        except RecordUnreadable:
            return 0
        elsewhere = {*met, *self._in_orphans(set(lost))}
        still = sorted((job for each, job in lost.items() if each not in elsewhere), key=_by_lane)
        return sum(self._return(lane, list(some)) for lane, some in groupby(still, lambda job: job.lane))

    def _in_orphans(self, jobs: set[str]) -> Iterator[str]:
        """Those of `jobs` in a backlog without a record that could not be joined yet: an order is at work beside it."""
        for key in orphaned_backlogs(self.store):
            for first in count(0, WINDOW):
                ids = self.store.read(partial(_ask_window, key=key, first=first))[0]
                yield from jobs.intersection(map(text_of, ids))
                if len(ids) < WINDOW:
                    break

    def _return(self, lane: str, jobs: Sequence[LostJob]) -> int:
        windows = range(0, len(jobs), JOBS_PER_STEP)
        return sum(
            len(self.store.run(return_jobs(self.store.keys, lane, some, self._next())))
            for some in (jobs[first : first + JOBS_PER_STEP] for first in windows)
        )

    def _remove_twins(self, job: str, places: Sequence[Place]) -> bool:
        """Whether an entry was removed; the first of `places` stays."""
        stays, *others = places
        removed = [
            self.store.run(remove_twin(self.store.keys, self._next(), job, stays.key, goes))
            for goes in others
            if goes.kind != CLAIM
        ]
        return any(removed)

    def _refold(self, lane: str) -> bool:
        state = "more"
        while state == "more":
            state = self.store.run(refold_lane(self.store.keys, lane, self._next()))
        return state == "done"

    def _next(self) -> RepairStep:
        return RepairStep(self.cause, self.operation.id, self.operation.next_step())

    def _walker(self) -> Walker:
        return Walker(self.store, all_lanes(self.store), WINDOW)


def _ask_window(ask: Any, *, key: str, first: int) -> None:
    ask.lrange(key, first, first + WINDOW - 1)


def _by_claim_to_stay(places: Sequence[Place], origin: str) -> list[Place]:
    """A worker's hands first, then the job's own lane; else in the order in which it is read."""
    return sorted(places, key=lambda place: (place.kind != CLAIM, place.lane != origin))


def _by_lane(job: LostJob) -> tuple[str, str, str]:
    return job.lane, job.enqueued_at, job.job_id


@dataclass(frozen=True, slots=True)
class RepairStep:
    """One step of a repair that somebody has ordered.

    Attributes:
        cause: Who and why.
        operation: Id of the repair.
        number: Its number in this repair; sent again, it gives the first answer.
    """

    cause: Cause
    operation: str
    number: int

    def head(self, what: str, *lanes: str, **more: str) -> str:
        """What the event says of a repair of `what`."""
        return event_head(VERB, self.cause, lanes, what=what, **more)


def return_jobs(keys: Keys, lane: str, jobs: Sequence[LostJob], step: RepairStep) -> Command[tuple[str, ...]]:
    """Put `jobs` of `lane`, which stand nowhere, at its end; its reply: the ids that were put back.

    None that a stock worker of the lane has in hand.
    """
    asked = [part for job in jobs for part in (job.job_id, job.enqueued_at, job.returned)]
    return Command(
        "return_jobs",
        (keys.pauses, keys.diverts, keys.events, keys.operation(step.operation), keys.claims, *keys.lane(lane),
         intermediate_key(lane), *(keys.engine.jobs + job.job_id for job in jobs)),
        (step.number, step.head("jobs in no place", lane), lane, DEPTH, *asked),
        lambda reply: tuple(map(text_of, reply[1:])),
    )  # fmt: skip


def recover_claims(keys: Keys, step: RepairStep, *, age_ms: int, first: int = 0) -> Command[tuple[int, int]]:
    """Put back the jobs of workers that gave no sign of life for `age_ms`.

    Its reply: the jobs put back, and the claims that were looked at and left.
    """
    return Command(
        "recover_claims",
        (keys.claims, keys.pauses, keys.diverts, keys.meters, keys.events, keys.operation(step.operation)),
        (step.number, step.head("claims"), age_ms, first, JOBS_PER_STEP, keys.engine.jobs),
        lambda reply: (int(reply[1]), int(reply[2])),
    )


def remove_twin(keys: Keys, step: RepairStep, job: str, stays: str, goes: Place) -> Command[bool]:
    """Remove the entry of `job` in the list `goes`, if it stands in the list `stays` too.

    In one list the later entry goes. False when it was not so any more, or when one of them is
    deeper in a list than `TWIN_DEPTH`.
    """
    head = step.head("jobs in two places", goes.lane, removed_from=goes.key)
    return Command(
        "remove_twin",
        (keys.events, keys.operation(step.operation), keys.claims, stays, goes.key),
        (step.number, head, goes.lane, job, TWIN_DEPTH),
        lambda reply: bool(reply[0]),
    )


def adopt_backlog(keys: Keys, lane: str, backlog: str, step: RepairStep) -> Command[int]:
    """Put the list `backlog`, which no record names, in front of `lane`; its reply: how many."""
    order, _ = split_backlog(keys, backlog, [lane])
    return Command(
        "adopt_backlog",
        (keys.diverts, keys.events, keys.operation(step.operation), *keys.lane(lane), backlog,
         keys.drain(order, lane), keys.skipped(order, lane)),
        (step.number, step.head("orphaned backlogs", lane), lane),
        lambda reply: int(reply[1]),
    )  # fmt: skip


def refold_lane(keys: Keys, lane: str, step: RepairStep) -> Command[str]:
    """One step of making `lane` one list again; its reply: `more`, `done` or `none`."""
    return Command(
        "refold_lane",
        (keys.pauses, keys.diverts, keys.events, keys.operation(step.operation), *keys.lane(lane)),
        (step.number, step.head("left-over lists", lane), lane, IDS_PER_STEP),
        lambda reply: text_of(reply[0]),
    )
