"""Is anything wrong that a monitor should wake somebody for?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shedder.durations import format_duration
from shedder.lateness import sentence_of
from shedder.records import LaneStatus, Status

OLD = timedelta(hours=24)
"""A control that has stood for longer may have been forgotten."""


@dataclass(frozen=True, slots=True)
class CheckProblem:
    """One thing that is wrong.

    Attributes:
        kind: `late`, `old control` or `no worker`.
        target: The lane, flag or limit.
        text: One sentence.
    """

    kind: str
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        at: When it looked (server's clock, UTC).
        lanes: Lanes looked at.
        waiting: Jobs that wait in them.
        backlog: Jobs in their backlogs.
        problems: What is wrong; late work first.
    """

    at: datetime
    lanes: int
    waiting: int
    backlog: int
    problems: tuple[CheckProblem, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check_status(status: Status, *, older_than: timedelta = OLD) -> CheckResult:
    """What is wrong: late work, jobs without a worker, a control that is older than that."""
    problems = (*_late(status), *_workerless(status), *_old(status, older_than))
    return CheckResult(
        at=status.at,
        lanes=len(status.lanes),
        waiting=sum(lane.waiting for lane in status.lanes),
        backlog=sum(lane.backlog for lane in status.lanes),
        problems=problems,
    )


def _late(status: Status) -> Iterator[CheckProblem]:
    for lane in status.lanes:
        for late in lane.late:
            yield CheckProblem("late", lane.lane, sentence_of(late, status.at))


def _workerless(status: Status) -> Iterator[CheckProblem]:
    for lane in status.lanes:
        jobs = lane.waiting + (lane.backlog if _is_draining(lane) else 0)
        if jobs and not lane.workers and not lane.stock_workers:
            yield CheckProblem("no worker", lane.lane, f"{lane.lane} has jobs and no worker.")


def _is_draining(lane: LaneStatus) -> bool:
    return any(divert.drain is not None and not divert.is_limit for divert in lane.diverts)


def _old(status: Status, older_than: timedelta) -> Iterator[CheckProblem]:
    for target, what, by, since in _controls(status):
        age = status.at - since
        if age > older_than:
            text = f"{target} has been {what} for {format_duration(age)} by {by}."
            yield CheckProblem("old control", target, text)


def _controls(status: Status) -> Iterator[tuple[str, str, str, datetime]]:
    for lane in status.lanes:
        if lane.pause is not None:
            yield lane.lane, "paused", lane.pause.by, lane.pause.since
        for divert in lane.diverts:
            what = "limited" if divert.is_limit else "diverted"
            yield lane.lane, what, divert.by, divert.since
    for flag in status.flags:
        if flag.setting is not None:
            yield flag.name, "degraded", flag.setting.by, flag.setting.since
    for limit in status.limits:
        if limit.setting is not None:
            yield limit.name, "set", limit.setting.by, limit.setting.since
