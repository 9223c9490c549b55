"""What should a person know about a lane or the server, and what can be done about it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from shedder.durations import format_duration
from shedder.errors import RecordUnreadable
from shedder.lanes import Lane
from shedder.lateness import sentence_of
from shedder.records import Divert, LaneStatus, Pause

MEMORY_LIMIT = 0.9
"""Share of the server's memory from which on it is worth a warning."""

LONG = timedelta(hours=24)
"""A control that is older may have been forgotten."""


def lane_warnings(
    lane: LaneStatus, *, parked: int, unreadable: Sequence[RecordUnreadable], at: datetime
) -> tuple[str, ...]:
    """One sentence for each thing that is wrong with `lane`, the worst first.

    `parked` are its jobs out of the reach of stock workers, `unreadable` its records that could
    not be read, `at` the time by the server's clock.
    """
    return (
        *(_unreadable(lane.lane, error) for error in unreadable),
        *(sentence_of(late, at) for late in lane.late),
        *_worker_warnings(lane),
        *_unfinished(lane),
        *_parked(lane, parked),
        *_set_aside(lane),
        *_old(lane, at),
    )


def server_warnings(memory: Mapping[str, Any], *, is_suspended: bool) -> tuple[str, ...]:
    """One sentence for each thing that concerns all lanes; `memory` is the server's own report."""
    return tuple(_server_warnings(memory, is_suspended))


def memory_share(memory: Mapping[str, Any]) -> float | None:
    """Share of the memory limit in use, 0 to 1 (and a bit); None without a limit."""
    limit = int(memory.get("maxmemory", 0))
    return int(memory.get("used_memory", 0)) / limit if limit else None


def by_trouble(lanes: Sequence[LaneStatus]) -> tuple[LaneStatus, ...]:
    """Queues in trouble first, the lanes of each queue together and most important first.

    Trouble is a warning, then a control, then the age of the oldest job.
    """
    worst: dict[str, tuple[bool, bool, float]] = {}
    for lane in lanes:
        worst[lane.queue] = min(worst.get(lane.queue, _CALM), _calmness(lane))
    return tuple(
        sorted(
            lanes,
            key=lambda lane: (worst[lane.queue], lane.queue, Lane(lane.queue, lane.priority).rank),
        )
    )


_CALM = (True, True, float("inf"))


def _calmness(lane: LaneStatus) -> tuple[bool, bool, float]:
    times = [each.timestamp() for each in (lane.oldest, lane.oldest_in_backlog) if each]
    is_free = lane.pause is None and not lane.diverts
    return not lane.warnings, is_free, min(times, default=float("inf"))


def _unreadable(lane: str, error: RecordUnreadable) -> str:
    return (
        f"{error}: no job of {lane} starts until the newest shedder in use here has changed "
        f"it, or `shedder resume {lane}` has removed an unreadable pause."
    )


def _worker_warnings(lane: LaneStatus) -> Iterator[str]:
    is_held = lane.pause is not None or bool(lane.diverts)
    is_draining = any(divert.drain and divert.backlog for divert in lane.diverts)
    jobs = lane.waiting + (lane.backlog if is_draining else 0)
    if jobs and not lane.workers and not lane.stock_workers:
        # a stock worker that was started for the queue does not know its other lanes
        whom = lane.queue if lane.lane == lane.queue else f"{lane.queue}, or a stock one for it"
        yield f"{lane.lane} has {_jobs(jobs)} and no worker: start one that serves {whom}."
    if is_held and lane.stock_workers:
        number = lane.stock_workers
        who = "1 stock worker serves" if number == 1 else f"{number} stock workers serve"
        yield (
            f"{who} {lane.lane} and obeys neither pause nor divert: "
            "start workers with `--worker-class shedder.rq.Worker` instead."
        )


def _unfinished(lane: LaneStatus) -> Iterator[str]:
    for divert in lane.diverts:
        if divert.is_scanning:
            yield (
                f"The divert of {lane.lane} by {divert.by} has not looked at all waiting jobs: "
                "a worker of shedder goes on with it, or give the same `shedder divert` again."
            )
        if divert.is_restoring:
            yield (
                f"The backlog of {lane.lane} is only partly back in its lane: a worker of shedder "
                f"goes on with it, or run `shedder drain {lane.lane} --at-once`."
            )


def _parked(lane: LaneStatus, parked: int) -> Iterator[str]:
    if parked and lane.pause is None:
        yield (
            f"{_jobs(parked)} of {lane.lane} are out of the reach of stock workers though "
            f"nothing is paused: run `shedder resume {lane.lane}`."
        )


def _set_aside(lane: LaneStatus) -> Iterator[str]:
    if lane.stale:
        yield (
            f"{_jobs(lane.stale)} of {lane.lane} {'was' if lane.stale == 1 else 'were'} set aside, "
            f"older than the policy allows: run `shedder stale replay {lane.lane}` to run them."
        )


def _old(lane: LaneStatus, at: datetime) -> Iterator[str]:
    if lane.pause is not None and at - lane.pause.since > LONG:
        yield _forgotten(lane.lane, "paused", lane.pause, at, f"shedder resume {lane.lane}")
    for divert in lane.diverts:
        if at - divert.since > LONG:
            yield _forgotten(lane.lane, "diverted", divert, at, f"shedder drain {lane.lane}")


def _forgotten(lane: str, state: str, control: Pause | Divert, at: datetime, way_out: str) -> str:
    age = format_duration(at - control.since)
    return f"{lane} has been {state} for {age} by {control.by}: run `{way_out}` if that is over."


def _server_warnings(memory: Mapping[str, Any], is_suspended: bool) -> Iterator[str]:
    if is_suspended:
        yield "RQ's own suspend is on, so no worker takes a job: end it with `rq resume`."
    share = memory_share(memory)
    if share is None:
        return
    if share > MEMORY_LIMIT:
        yield (
            f"The server's memory is {share:.0%} full, and a backlog frees none of it: "
            "raise maxmemory or stop the producers."
        )
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"The server's maxmemory-policy is {policy}, so it may throw away jobs and controls: "
            "set it to noeviction."
        )


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"
