"""Whether the length of a lane matters when the whole of it is diverted.

Each job is a key of the server, and the server takes longer to look up a key among millions than
among thousands: the keys do not fit into the processor's caches. Length is therefore compared on
servers with equally many keys, and what the keys make stands beside it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
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
NOISE = 1.2
LOOP_JOBS = 2_000


@dataclass(slots=True)
class Case:
    """What was measured at one size.

    Attributes:
        jobs: Jobs that wait in the lane.
        ground: The server.
        others: Jobs on the server that wait nowhere.
        walls: Seconds of each divert, for who gives the order.
        server: The same, by the server's own count.
        cpu: Seconds of its processor time.
        trips: Round trips; one number if they are always the same.
        calls: Commands of each divert.
    """

    jobs: int
    ground: Ground
    others: int = 0
    walls: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    trips: set[int] = field(default_factory=set)
    calls: list[Counter[str]] = field(default_factory=list)

    def fill(self) -> None:
        """Put the jobs where they are to be."""
        fill(self.ground.near, Load(self.jobs + self.others))
        self.ground.near.ltrim(f"rq:queue:{QUEUE}", 0, self.jobs - 1)

    def turn(self) -> None:
        """Divert the whole queue and take it back."""
        shedder = Shedder(self.ground.near, by="bench")
        receipt = shedder.divert(QUEUE, reason="bench")
        assert self.jobs == receipt.moved
        shedder.undo(receipt.event, reason="bench")

    def measure(self) -> None:
        """One turn more, this time with an eye on it."""
        near, pid = self.ground.near, self.ground.server.pid
        with self.ground.client() as client:
            shedder = Shedder(client, by="bench")
            client.ping()
            with watched(near, pid) as served, sent_by_us() as sent:
                began = time.perf_counter()
                receipt = shedder.divert(QUEUE, reason="bench")
                self.walls.append(time.perf_counter() - began)
            shedder.undo(receipt.event, reason="bench")
        self.server.append(sum(served.usec.values()) / 1e6)
        self.cpu.append(served.cpu)
        self.trips.add(sent.round_trips)
        self.calls.append(served.calls)


def run(settings: Settings) -> Iterator[Row]:
    """The same divert at several sizes, each on a server of its own, in turns."""
    sizes = [2_000, 200_000, 2_000_000] if settings.is_full else [2_000, 200_000]
    sizes = [settings.jobs] if settings.jobs else sizes
    with ExitStack() as stack:

        def case_of(jobs: int, *, others: int = 0) -> Case:
            return Case(jobs, stack.enter_context(Ground(latency_ms=settings.latency_ms)), others)

        cases = [case_of(jobs) for jobs in sizes]
        among_many = case_of(sizes[0], others=sizes[-1] - sizes[0])
        loop = _loop(cases[0].ground)
        for case in (*cases, among_many):
            case.fill()
            case.turn()  # which sends the text of the scripts
        for case in settings.times(short=15, full=25) * [*cases, among_many]:
            case.measure()
    for case in cases:
        say(f"divert whole {case.jobs:,}: {median(case.walls) * 1e3:.2f} ms")
        yield _row(case, loop)
    if len(cases) > 1:
        yield _flatness(cases, among_many)
        yield _commands([*cases, among_many])


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
        f"{seconds(wall)} ({seconds(min(case.walls))} to {seconds(max(case.walls))}), server {seconds(server)}",
        other,
        goal="under 2 ms of server time",
        verdict=Verdict.of(server < SERVER_GOAL),
        values={"jobs": case.jobs, "wall_s": wall, "server_s": server, "loop_s_per_job": loop},
    )


def _flatness(cases: list[Case], among_many: Case) -> Row:
    longest, shortest = cases[-1], cases[0]
    ratio = _ratio(longest.walls, among_many.walls)
    cpu, bare = _ratio(longest.cpu, among_many.cpu), _ratio(longest.cpu, shortest.cpu)
    return Row(
        QUESTION,
        f"{count(longest.jobs)} jobs beside {count(among_many.jobs)} on a server with as many keys, in turns",
        f"{ratio:.2f}x the time, {cpu:.2f}x the processor time of the server",
        goal=f"same processor time within noise (here: {NOISE:g}x)",
        verdict=Verdict.of(cpu <= NOISE),
        note=f"beside {count(shortest.jobs)} jobs on a server without other keys {bare:.2f}x: "
        "a server takes longer to look up a key among many",
        values={"ratio": ratio, "cpu_ratio": cpu, "cpu_ratio_of_few_keys": bare},
    )


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return median([one / other for one, other in zip(ours, theirs, strict=True)])


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
