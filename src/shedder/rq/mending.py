"""What can be mended without harm, and in which order?

Each repair is one that workers of shedder do by themselves, or a script that checks again what was
found, in the step that changes something.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import uuid4

from shedder.checkup import Checkup, Repair
from shedder.errors import RecordUnreadable
from shedder.keys import Keys
from shedder.records import Cause
from shedder.repairs import (
    JOBS_PER_STEP,
    Errand,
    LostJob,
    adopt_backlog,
    recover_claims,
    refold_lane,
    remove_twin,
    return_jobs,
)
from shedder.rq.audit import WINDOW
from shedder.rq.diverting import scan
from shedder.rq.layout import intermediate_key
from shedder.rq.leftovers import (
    STALE_MS,
    lanes_to_fold,
    lost_jobs,
    orders_left,
    orphaned_backlogs,
)
from shedder.rq.places import CLAIM, Place, Walker, all_lanes
from shedder.rq.restoring import restore_one
from shedder.rq.sightings import met_anywhere, met_waiting
from shedder.store import Store
from shedder.stored import text_of


def repair(store: Store, keys: Keys, checkup: Checkup, cause: Cause) -> tuple[Repair, ...]:
    """Mend what `checkup` found and what can be mended, and say what was done."""
    mender = _Mender(store, keys, cause)
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
    keys: Keys
    cause: Cause
    operation: str = field(default_factory=lambda: uuid4().hex)
    steps: int = 0

    def finish_orders(self) -> int:
        left = orders_left(self.store, self.keys)
        for order in left:
            if order.is_restoring:
                restore_one(self.store, self.keys, order.lane, order.order, self.cause)
            else:
                scan(self.store, self.keys, order.lane, order.order, order.selection, self.cause)
        return len(left)

    def return_stale(self) -> int:
        returned = left = 0
        while True:
            back, stuck = self.store.run(
                recover_claims(self.keys, self._next(), age_ms=STALE_MS, first=left)
            )
            returned, left = returned + back, left + stuck
            if not back and not stuck:
                return returned

    def adopt_backlogs(self) -> int:
        adopted = 0
        for key, lane in orphaned_backlogs(self.store, self.keys).items():
            self._refold(lane)
            adopted += self.store.run(adopt_backlog(self.keys, lane, key, self._next()))
            self._refold(lane)
        return adopted

    def refold_lanes(self) -> int:
        lanes = lanes_to_fold(self.store, self.keys, all_lanes(self.store, self.keys))
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
        lost = lost_jobs(self.store, self.keys, jobs)
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
            command = return_jobs(self.keys, lane, some, self._next(), intermediate=intermediate)
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
                self.keys,
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
        prefix = self.keys.engine.jobs
        replies = self.store.read(lambda ask: [ask.hget(prefix + job, "origin") for job in jobs])
        return [text_of(origin or b"") for origin in replies]

    def _refold(self, lane: str) -> bool:
        state = "more"
        while state == "more":
            state = self.store.run(refold_lane(self.keys, lane, self._next()))
        return state == "done"

    def _next(self) -> Errand:
        self.steps += 1
        return Errand(self.cause, self.operation, self.steps)

    def _walker(self) -> Walker:
        return Walker(self.store, self.keys, all_lanes(self.store, self.keys), WINDOW)


def _by_claim_to_stay(places: Sequence[Place], origin: str) -> list[Place]:
    """A worker's hands first, then the job's own lane; else in the order in which it is read."""
    return sorted(places, key=lambda place: (place.kind != CLAIM, place.lane != origin))


def _lane(job: LostJob) -> str:
    return job.lane


def _by_lane(job: LostJob) -> tuple[str, str, str]:
    return job.lane, job.enqueued_at, job.job_id
