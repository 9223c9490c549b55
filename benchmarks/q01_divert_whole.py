"""Does the length of a lane matter when the whole of it is diverted?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks import published, stock
from benchmarks.gauges import sent_by_us, watched
from benchmarks.ground import Ground
from benchmarks.load import MIX, QUEUE, Load, fill
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count, seconds
from benchmarks.samples import median
from benchmarks.settings import Settings
from shedder import Shedder

QUESTION = 1
SERVER_GOAL = 0.002
NOISE = 1.5
LOOP_JOBS = 2_000


@dataclass(slots=True)
class Case:
    """What was measured at one size."""

    jobs: int
    walls: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    trips: set[int] = field(default_factory=set)
    calls: list[Counter[str]] = field(default_factory=list)


def run(settings: Settings) -> Iterator[Row]:
    """The same divert at several sizes."""
    sizes = [2_000, 200_000, 2_000_000] if settings.is_full else [2_000, 200_000]
    sizes = [settings.jobs] if settings.jobs else sizes
    with Ground(latency_ms=settings.latency_ms) as ground:
        loop = _loop(ground)
        cases = [_measure(ground, jobs, settings) for jobs in sizes]
    for case in cases:
        yield _row(case, loop)
    if len(cases) > 1:
        yield _flatness(cases)
        yield _commands(cases)


def _measure(ground: Ground, jobs: int, settings: Settings) -> Case:
    fill(ground.near, Load(jobs))
    case = Case(jobs)
    client = ground.client()
    shedder = Shedder(client, by="bench")
    for turn in range(settings.times(short=9, full=25) + 1):
        with (
            watched(ground.near, ground.server.pid) as served,
            sent_by_us() as sent,
        ):
            began = time.perf_counter()
            receipt = shedder.divert(QUEUE, reason="bench")
            took = time.perf_counter() - began
        assert jobs == receipt.moved
        shedder.undo(receipt.event, reason="bench")
        if turn:  # the first one loads the script
            # watched() itself asks three times within
            case.walls.append(took)
            case.server.append(sum(served.usec.values()) / 1e6)
            case.trips.add(sent.round_trips)
            case.calls.append(served.calls)
    say(f"divert whole {jobs:,}: {median(case.walls) * 1e3:.2f} ms")
    return case


def _loop(ground: Ground) -> float:
    fill(ground.near, Load(LOOP_JOBS))
    began = time.perf_counter()
    moved = stock.divert_by_loop(ground.client(), QUEUE, MIX)
    assert LOOP_JOBS == moved
    return (time.perf_counter() - began) / LOOP_JOBS


def _row(case: Case, loop: float) -> Row:
    wall, server = median(case.walls), median(case.server)
    other = f"RQ's loop at {LOOP_JOBS:,}: {seconds(loop)} a job, {seconds(loop * case.jobs)} in all"
    if case.jobs > LOOP_JOBS:
        other += f"; {published.text(case.jobs)} (published)"
    return Row(
        QUESTION,
        f"divert a whole lane, {count(case.jobs)} jobs",
        f"{seconds(wall)} ({seconds(min(case.walls))} to {seconds(max(case.walls))}), "
        f"server {seconds(server)}",
        other,
        goal="under 2 ms of server time",
        verdict=Verdict.of(server < SERVER_GOAL),
        values={"jobs": case.jobs, "wall_s": wall, "server_s": server, "loop_s_per_job": loop},
    )


def _flatness(cases: list[Case]) -> Row:
    walls = [median(case.walls) for case in cases]
    ratio = max(walls) / min(walls)
    sizes = ", ".join(count(case.jobs) for case in cases)
    return Row(
        QUESTION,
        f"the slowest of {sizes} jobs beside the fastest",
        f"{ratio:.2f}x the time",
        goal=f"same time within noise (here: {NOISE:g}x)",
        verdict=Verdict.of(ratio <= NOISE),
        values={"ratio": ratio},
    )


def _commands(cases: list[Case]) -> Row:
    calls = {tuple(sorted(each.items())) for case in cases for each in case.calls}
    trips = {each for case in cases for each in case.trips}
    totals = sorted({sum(number for _, number in each) for each in calls})
    return Row(
        QUESTION,
        "commands of one divert of a queue (four lanes)",
        f"{trips} round trips, {totals} commands on the server".translate(_BARE),
        goal="an exact number, the same at every length",
        verdict=Verdict.of(len(calls) == 1 and len(trips) == 1),
        note="those inside scripts included",
        values={"round_trips": sorted(trips), "commands": [dict(each) for each in calls]},
    )


_BARE = str.maketrans("", "", "[]{}")
