"""Mend what a check-up found.

Each repair is one that workers of shedder do by themselves, or a script that checks again what was
found, in the step that changes something.

Each looks again, in the step that changes something: one that comes too late does nothing. So two
operators may repair at once, while workers and producers go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import uuid4

from shedder.engine.names import intermediate_key
from shedder.errors import RecordUnreadable
from shedder.events import Cause, event_head
from shedder.health.audit import CLAIM, WINDOW, Place, Walker, met_anywhere, met_waiting
from shedder.health.doctor import Checkup
from shedder.health.leftovers import (
    STALE_MS,
    LostJob,
    lanes_to_fold,
    lost_jobs,
    orders_left,
    orphaned_backlogs,
)
from shedder.queues.controls import all_lanes
from shedder.queues.divert import scan
from shedder.queues.restore import restore_one
from shedder.store.codec import text_of
from shedder.store.keys import Keys, split_backlog
from shedder.store.store import Command, Store


def repair(store: Store, checkup: Checkup, cause: Cause) -> tuple[Repair, ...]:
    """Mend what `checkup` found and what can be mended, and say what was done."""
    mender = _Mender(store, cause)
    nowhere = checkup.audit.nowhere if checkup.audit else ()
    twice = [job for job, _ in checkup.audit.twice] if checkup.audit else []
    done = (
        Repair("unfinished orders", "finished", mender.finish_orders()),
        Repair("claims", "put back in front of their lanes", mender.return_stale()),
        Repair("orphaned backlogs", "put back in front of their lanes", mender.adopt_backlogs()),
        Repair("left-over lists", "put back in front of their lanes", mender.refold_lanes()),
        Repair("jobs in two places", "left in one of them", mender.remove_twins(twice)),
        Repair("jobs in no place", "put at the end of their lanes", mender.return_lost(nowhere)),
    )
    return tuple(each for each in done if each.count)


@dataclass(slots=True)
class _Mender:
    """One repair, step by step."""

    store: Store
    cause: Cause
    operation: str = field(default_factory=lambda: uuid4().hex)
    steps: int = 0

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
            back, stuck = self.store.run(
                recover_claims(self.store.keys, self._next(), age_ms=STALE_MS, first=left)
            )
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
        return sum(
            self._remove_twins(job, _by_claim_to_stay(places, origin))
            for (job, places), origin in zip(met.items(), self._origins([*met]), strict=True)
        )

    def return_lost(self, jobs: Sequence[str]) -> int:
        lost = lost_jobs(self.store, jobs)
        try:
            met = met_anywhere(
                self._walker(), {job.job_id for job in lost}, origins={job.lane for job in lost}
            )
        except RecordUnreadable:
            return 0
        still = sorted((job for job in lost if job.job_id not in met), key=_by_lane)
        return sum(self._return(lane, list(some)) for lane, some in groupby(still, _lane))

    def _return(self, lane: str, jobs: Sequence[LostJob]) -> int:
        intermediate = intermediate_key(lane)
        returned = 0
        for first in range(0, len(jobs), JOBS_PER_STEP):
            some = jobs[first : first + JOBS_PER_STEP]
            command = return_jobs(
                self.store.keys, lane, some, self._next(), intermediate=intermediate
            )
            returned += len(self.store.run(command))
        return returned

    def _remove_twins(self, job: str, places: Sequence[Place]) -> bool:
        """Whether an entry was removed; the first of `places` stays."""
        stays, *others = places
        goes = [place for place in others if place.kind != CLAIM]
        return sum(self._remove_twin(job, stays, place) for place in goes) > 0

    def _remove_twin(self, job: str, stays: Place, goes: Place) -> bool:
        return self.store.run(
            remove_twin(
                self.store.keys,
                self._next(),
                job=job,
                lane=goes.lane,
                stays=stays.key,
                goes=goes.key,
            )
        )

    def _origins(self, jobs: Sequence[str]) -> list[str]:
        if not jobs:
            return []
        prefix = self.store.keys.engine.jobs
        replies = self.store.read(lambda ask: [ask.hget(prefix + job, "origin") for job in jobs])
        return [text_of(origin or b"") for origin in replies]

    def _refold(self, lane: str) -> bool:
        state = "more"
        while state == "more":
            state = self.store.run(refold_lane(self.store.keys, lane, self._next()))
        return state == "done"

    def _next(self) -> RepairStep:
        self.steps += 1
        return RepairStep(self.cause, self.operation, self.steps)

    def _walker(self) -> Walker:
        return Walker(self.store, all_lanes(self.store), WINDOW)


def _by_claim_to_stay(places: Sequence[Place], origin: str) -> list[Place]:
    """A worker's hands first, then the job's own lane; else in the order in which it is read."""
    return sorted(places, key=lambda place: (place.kind != CLAIM, place.lane != origin))


def _lane(job: LostJob) -> str:
    return job.lane


def _by_lane(job: LostJob) -> tuple[str, str, str]:
    return job.lane, job.enqueued_at, job.job_id


VERB = "repair"

JOBS_PER_STEP = 40
"""Jobs or claims that one step puts back at most: about 1 ms of the server."""

DEPTH = 500
"""Entries at each end of a list that a step reads: ten thousand are about 2 ms of the server."""

TWIN_DEPTH = 20_000
"""Entries at each end of a list in which a step looks for one id: about 1 ms of the server."""

IDS_PER_STEP = 1000
"""Ids that one step of a fold moves at most: about 1 ms of the server."""


@dataclass(frozen=True, slots=True)
class RepairStep:
    """One step of a repair that somebody has ordered.

    Attributes:
        cause: Who and why.
        operation: Id of the repair.
        step: Its number in this repair; said again, it gives the first answer.
    """

    cause: Cause
    operation: str
    step: int


def return_jobs(
    keys: Keys, lane: str, jobs: Sequence[LostJob], errand: RepairStep, *, intermediate: str
) -> Command[tuple[str, ...]]:
    """Put `jobs` of `lane`, which stand nowhere, at its end; its reply: the ids that were put back.

    `intermediate` is the key under which RQ keeps what a stock worker of the lane has in hand.
    """
    asked = [part for job in jobs for part in (job.job_id, job.enqueued_at, job.returned)]
    return Command(
        "return_jobs",
        (keys.pauses, keys.diverts, keys.events, keys.operation(errand.operation), keys.claims,
         *keys.lane(lane), intermediate,
         *(keys.engine.jobs + job.job_id for job in jobs)),
        (errand.step, event_head(VERB, errand.cause, (lane,), what="jobs in no place"), lane,
         DEPTH, *asked),
        lambda reply: tuple(map(text_of, reply[1:])),
    )  # fmt: skip


def recover_claims(
    keys: Keys, errand: RepairStep, *, age_ms: int, first: int = 0
) -> Command[tuple[int, int]]:
    """Put back the jobs of workers that gave no sign of life for `age_ms`.

    Its reply: the jobs put back, and the claims that were looked at and left.
    """
    return Command(
        "recover_claims",
        (keys.claims, keys.pauses, keys.diverts, keys.meters, keys.events,
         keys.operation(errand.operation)),
        (errand.step, event_head(VERB, errand.cause, (), what="claims"), age_ms, first,
         JOBS_PER_STEP, keys.engine.jobs),
        lambda reply: (int(reply[1]), int(reply[2])),
    )  # fmt: skip


def remove_twin(
    keys: Keys, errand: RepairStep, *, job: str, lane: str, stays: str, goes: str
) -> Command[bool]:
    """Remove the entry of `job` in the list `goes` of `lane`, if it stands in `stays` too.

    In one list the later entry goes. False when it was not so any more, or when one of them is
    deeper in a list than `TWIN_DEPTH`.
    """
    head = event_head(VERB, errand.cause, (lane,), what="jobs in two places", removed_from=goes)
    return Command(
        "remove_twin",
        (keys.events, keys.operation(errand.operation), keys.claims, stays, goes),
        (errand.step, head, lane, job, TWIN_DEPTH),
        lambda reply: bool(reply[0]),
    )


def adopt_backlog(keys: Keys, lane: str, backlog: str, errand: RepairStep) -> Command[int]:
    """Put the list `backlog`, which no record names, in front of `lane`; its reply: how many."""
    order, _ = split_backlog(keys, backlog, [lane])
    return Command(
        "adopt_backlog",
        (keys.diverts, keys.events, keys.operation(errand.operation), *keys.lane(lane), backlog,
         keys.drain(order, lane), keys.skipped(order, lane)),
        (errand.step, event_head(VERB, errand.cause, (lane,), what="orphaned backlogs"), lane),
        lambda reply: int(reply[1]),
    )  # fmt: skip


def refold_lane(keys: Keys, lane: str, errand: RepairStep) -> Command[str]:
    """One step of making `lane` one list again; its reply: `more`, `done` or `none`."""
    return Command(
        "refold_lane",
        (keys.pauses, keys.diverts, keys.events, keys.operation(errand.operation),
         *keys.lane(lane)),
        (errand.step, event_head(VERB, errand.cause, (lane,), what="left-over lists"), lane,
         IDS_PER_STEP),
        _state,
    )  # fmt: skip


def _state(reply: list[Any]) -> str:
    return text_of(reply[0])


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
