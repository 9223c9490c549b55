"""Which commands mend what was left half-way, or what a fail-over has torn?

Each looks again, in the step that changes something: one that comes too late does nothing. So two
operators may repair at once, while workers and producers go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shedder.journal import event_head
from shedder.keys import Keys, split_backlog
from shedder.records import Cause
from shedder.store import Command
from shedder.stored import text_of

VERB = "repair"

RETURNED_FIELD = "shedder_returned"
"""Field of a job's hash: server's time in ms at which a repair put it back."""

JOBS_PER_STEP = 40
"""Jobs or claims that one step puts back at most: about 1 ms of the server."""

DEPTH = 500
"""Entries at each end of a list that a step reads: ten thousand are about 2 ms of the server."""

TWIN_DEPTH = 20_000
"""Entries at each end of a list in which a step looks for one id: about 1 ms of the server."""

IDS_PER_STEP = 1000
"""Ids that one step of a fold moves at most: about 1 ms of the server."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One step of a repair that somebody has ordered.

    Attributes:
        cause: Who and why.
        operation: Id of the repair.
        step: Its number in this repair; said again, it gives the first answer.
    """

    cause: Cause
    operation: str
    step: int


@dataclass(frozen=True, slots=True)
class LostJob:
    """A job that was found in no place.

    Attributes:
        job_id: Its id.
        lane: Name of the lane that it belongs to.
        enqueued_at: What its hash says of its last enqueueing, as RQ writes it.
        returned: When a repair last put it back, as its hash has it; empty for never.
    """

    job_id: str
    lane: str
    enqueued_at: str
    returned: str


def return_jobs(
    keys: Keys, lane: str, jobs: Sequence[LostJob], errand: Errand, *, intermediate: str
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
    keys: Keys, errand: Errand, *, age_ms: int, first: int = 0
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
    keys: Keys, errand: Errand, *, job: str, lane: str, stays: str, goes: str
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


def adopt_backlog(keys: Keys, lane: str, backlog: str, errand: Errand) -> Command[int]:
    """Put the list `backlog`, which no record names, in front of `lane`; its reply: how many."""
    order, _ = split_backlog(keys, backlog, [lane])
    return Command(
        "adopt_backlog",
        (keys.diverts, keys.events, keys.operation(errand.operation), *keys.lane(lane), backlog,
         keys.drain(order, lane), keys.skipped(order, lane)),
        (errand.step, event_head(VERB, errand.cause, (lane,), what="orphaned backlogs"), lane),
        lambda reply: int(reply[1]),
    )  # fmt: skip


def refold_lane(keys: Keys, lane: str, errand: Errand) -> Command[str]:
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
