"""Which jobs wait longer than the business tolerates?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shedder.durations import format_duration
from shedder.lanes import lane_of
from shedder.policy import Policy
from shedder.records import Late


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """What is known of a job that waits near the front of its lane or backlog.

    Attributes:
        enqueued: When it was enqueued (producer's clock, UTC); None when it is not known.
        function: Its function; None when it is not known.
        meta: The plain fields of its meta, as text.
    """

    enqueued: datetime | None
    function: str | None
    meta: Mapping[str, str]


def late_in(
    policy: Policy, lane: str, waiting: Iterable[WaitingJob], at: datetime
) -> tuple[Late, ...]:
    """Who waits longer than is tolerated in `lane` at the time `at`; by rule, the oldest job."""
    found: dict[int, Late] = {}
    for job in waiting:
        late = _late(policy, lane, job, at)
        if late is not None and late.oldest <= found.get(late.rule, late).oldest:
            found[late.rule] = late
    return tuple(found[rule] for rule in sorted(found))


def sentence_of(late: Late, at: datetime) -> str:
    """What a person reads of it, in the policy's nouns."""
    waits, tolerated = (format_duration(each) for each in (at - late.oldest, late.tolerance))
    return (
        f"{late.noun} are late: the oldest waits {waits} in {late.lane}, tolerated are {tolerated}."
    )


def looks_at_jobs(policy: Policy) -> bool:
    """Whether a tolerance depends on what a job does, and not only on its queue."""
    return any(rule.tolerance is not None and not rule.selection.is_whole for rule in policy.rules)


def _late(policy: Policy, lane: str, job: WaitingJob, at: datetime) -> Late | None:
    queue = lane_of(lane).queue
    found = policy.rule_for("tolerance", queue=queue, function=job.function, meta=job.meta)
    if found is None or job.enqueued is None:
        return None
    number, rule = found
    tolerance = rule.tolerance or timedelta()
    if at - job.enqueued <= tolerance:
        return None
    noun = policy.rule_for("noun", queue=queue, function=job.function, meta=job.meta)
    name = noun[1].noun if noun is not None else f"jobs of {lane}"
    return Late(lane, name, number, tolerance, job.enqueued)
