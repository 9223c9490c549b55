"""Work that fails: the lanes and the labels of which more jobs fail than the policy accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shedder.policy.model import Policy
from shedder.policy.workload import kinds_of
from shedder.queues.outcomes import FEWEST_ENDED, LATELY, RATE_SECONDS, Outcomes, is_failing
from shedder.status.readings import LaneStatus, Status
from shedder.units import format_duration
from shedder.wording import counted, named, pace


@dataclass(frozen=True, slots=True)
class FailingWork:
    """Work of which too many jobs fail.

    Attributes:
        name: The lane, or what the policy calls the jobs.
        lanes: The lanes that it is in.
        is_lane: It is all that is in a lane.
        outcomes: How its jobs ended lately.
    """

    name: str
    lanes: tuple[str, ...]
    is_lane: bool
    outcomes: Outcomes

    @property
    def sentence(self) -> str:
        """What a person reads of it."""
        found = self.outcomes
        most = f", most often {found.exception}" if found.exception else ""
        source = "" if found.is_counted else ", as far as RQ's registries tell"
        lately = f"{found.failed_lately:,} of {counted(found.ended_lately, 'job')} in {format_duration(LATELY)}{source}"
        if found.failing:
            return f"{pace(found.failing)} of {self.name} fail: {lately}{most}"
        return f"{self.name} failed: {lately}{most}; none failed in the last {RATE_SECONDS} s, in which few ended"


def failing_work(status: Status, policy: Policy) -> tuple[FailingWork, ...]:
    """The lanes and the labels that fail, as `policy` judges; a label only where its lanes do not."""
    at = policy.defaults.share_that_fails
    lanes = [
        FailingWork(each.lane, (each.lane,), is_lane=True, outcomes=each.outcomes)
        for each in status.lanes
        if is_failing(each.outcomes, at)
    ]
    named = {each.name for each in lanes}
    labels = [each for each in _labels(status, policy) if is_failing(each.outcomes, at)]
    return (*lanes, *(each for each in labels if not named.issuperset(each.lanes)))


@dataclass(frozen=True, slots=True)
class HowJobsEnd:
    """How jobs ended lately where none is failing.

    Attributes:
        sentence: What a person reads of it; of which lanes it is not known too.
        is_known: Enough jobs of each lane with work have ended to tell.
    """

    sentence: str
    is_known: bool


def how_jobs_end(status: Status, policy: Policy) -> HowJobsEnd:
    """How jobs ended lately in all lanes together, and which lanes tell too little."""
    at, lately = policy.defaults.share_that_fails, f"in the last {format_duration(LATELY)}"
    ended = sum(each.outcomes.ended_lately for each in status.lanes)
    failed = sum(each.outcomes.failed_lately for each in status.lanes)
    unknown = [each for each in status.lanes if _tells_nothing(each, at)]
    again = [each.lane for each in status.lanes if _has_failed(each.outcomes, at)]
    if not ended:
        return HowJobsEnd(f"not known: no job has ended {lately}", is_known=False)
    said = [f"{failed:,} of {counted(ended, 'job')} failed that ended {lately}"]
    said += [f"all that ended in {named(again)} in the last {RATE_SECONDS} s ended well"] if again else []
    said += [f"too few have ended to tell of {named([each.lane for each in unknown])}"] if unknown else []
    return HowJobsEnd("; ".join(said), is_known=not unknown)


def _tells_nothing(lane: LaneStatus, share: float) -> bool:
    """Whether a lane has work of which too few jobs ended to tell how it ends."""
    found = lane.outcomes
    has_work = bool(lane.waiting or lane.running or found.failed_lately)
    return has_work and found.ended_lately < FEWEST_ENDED and share > 0


def _has_failed(outcomes: Outcomes, share: float) -> bool:
    return outcomes.ended_lately >= FEWEST_ENDED and outcomes.share_failed >= share > 0


def _labels(status: Status, policy: Policy) -> Iterator[FailingWork]:
    known = {each.label: each.outcomes for each in status.labels}
    kinds = kinds_of(policy, [each.queue for each in status.lanes])
    shown = {each.lane for each in status.lanes}
    for kind in kinds:
        lanes = tuple(each for each in kind.lanes if each in shown)
        if kind.noun in known and lanes:
            yield FailingWork(kind.noun, lanes, is_lane=False, outcomes=known[kind.noun])
