"""What the server's other clients feel while an operator moves 200,000 jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks import step_sizes
from benchmarks.fleet import Fleet
from benchmarks.gauges import Holds, cpu_of_calls, slow_log
from benchmarks.ground import Ground
from benchmarks.load import QUEUE, Load, fill
from benchmarks.pinging import Pings
from benchmarks.progress import say
from benchmarks.q02_divert_subset import SELECTION
from benchmarks.rows import Row, Verdict, count, seconds
from benchmarks.samples import quantile
from benchmarks.settings import Settings
from shedder import Rate, Shedder
from shedder.rq import SimpleWorker

QUESTION = 3
HOLD_GOAL = 0.005
PING_GOAL = 2.0
IDLE_SECONDS = 1.0
WHOLE_IN_A_ROW = 100
DRAIN_SECONDS = 2.0
DRAIN_RATE = 300


@dataclass(slots=True)
class Span:
    """One kind of operation, from when to when, and how long it held the server.

    Attributes:
        name: What was done.
        began: Monotonic seconds.
        ended: Monotonic seconds.
        holds: What the slow log says.
        cpu: The longest of the operator's calls in processor time of the server; 0 when the calls
            are those of others.
    """

    name: str
    began: float = 0.0
    ended: float = 0.0
    holds: Holds = field(default_factory=Holds)
    cpu: float = 0.0


@dataclass(slots=True)
class Felt:
    """What was felt during one kind of operation, in seconds of each PING.

    Attributes:
        elsewhere: While the operator did the same on another server: the machine is as busy, the
            server that is asked is not.
        during: While the operator did it on the server that is asked.
        spans: The operations themselves.
    """

    elsewhere: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


def run(settings: Settings) -> Iterator[Row]:
    """Each operation with a stream of PINGs beside it."""
    sizes = [(200_000, 0), (2_000_000, 0), (200_000, 2_000)] if settings.is_full else [(200_000, 0)]
    for jobs, data_bytes in [(settings.jobs, 0)] if settings.jobs else sizes:
        load = Load(jobs, data_bytes=data_bytes)
        with Ground(latency_ms=settings.latency_ms) as asked, Ground() as other:
            yield from _rows(asked, other, load, settings.times(short=2, full=3))
    yield from step_sizes.rows(QUESTION, 100_000, settings.times(short=2, full=4))


def _rows(asked: Ground, other: Ground, load: Load, repeat: int) -> Iterator[Row]:
    stages = Stage(other, load), Stage(asked, load)
    idle: list[float] = []
    felt: dict[str, Felt] = {}
    with Pings(asked) as pings:
        for number in range(repeat):
            idle += pings.during(IDLE_SECONDS)
            for stage in stages:
                for span in stage.perform():
                    found = felt.setdefault(span.name, Felt())
                    times = pings.between(span.began, span.ended)
                    if stage is stages[0]:
                        found.elsewhere += times
                    else:
                        found.during += times
                        found.spans.append(span)
            say(f"{load.jobs:,} jobs, round {number + 1} of {repeat}: {_brief(idle)} idle")
    size = count(load.jobs) + (f" jobs of {load.data_bytes / 1000:g} kB" if load.data_bytes else "")
    for name, each in felt.items():
        yield _hold_row(f"{name}, {size}", each.spans)
        yield _ping_row(f"{name}, {size}", idle, each)


class Stage:
    """One server with an operator who does the same things again and again."""

    def __init__(self, ground: Ground, load: Load) -> None:
        self._ground = ground
        self._client = ground.client()
        self._shedder = Shedder(self._client, by="bench")
        fill(ground.near, load)

    def perform(self) -> Iterator[Span]:
        """All operations, one after the other."""
        shedder = self._shedder
        with self._measured("divert a whole lane, and undo") as span:
            for _ in range(WHOLE_IN_A_ROW):
                event = shedder.divert(QUEUE, reason="bench").event
                shedder.undo(event, reason="bench")
        yield span
        with self._measured("divert 60 % by function") as span:
            event = shedder.divert(QUEUE, selection=SELECTION, reason="bench").event
        yield span
        with self._measured("undo of that, a merge by age") as span:
            shedder.undo(event, reason="bench")
        yield span
        with self._measured("dry run of that") as span:
            shedder.preview_divert(QUEUE, selection=SELECTION)
        yield span
        yield self._drain()

    def _drain(self) -> Span:
        shedder = self._shedder
        shedder.divert(QUEUE, reason="bench")
        with Fleet(self._ground, SimpleWorker, [QUEUE]), self._measured(f"drain at {DRAIN_RATE}/s, one worker") as span:
            shedder.drain(QUEUE, rate=Rate(DRAIN_RATE), reason="bench")
            time.sleep(DRAIN_SECONDS)
        shedder.drain_at_once(QUEUE, reason="bench")
        span.cpu = 0.0  # the claims are the worker's calls
        return span

    @contextmanager
    def _measured(self, name: str) -> Iterator[Span]:
        span = Span(name)
        pid = self._ground.server.pid
        with slow_log(self._ground.near) as span.holds, cpu_of_calls(self._client, pid) as calls:
            span.began = time.monotonic()
            yield span
            span.ended = time.monotonic()
        span.cpu = max(calls, default=0.0)


def _hold_row(case: str, spans: Sequence[Span]) -> Row:
    longest = max(span.holds.longest for span in spans)
    cpu = max(span.cpu for span in spans)
    above = sum(span.holds.above_5_ms for span in spans)
    entries = sum(span.holds.entries for span in spans)
    words = f"{seconds(longest)} by the slow log" if longest else "under 1 ms by the slow log"
    return Row(
        QUESTION,
        f"longest hold of the server: {case}",
        f"{words}, {seconds(cpu)} of processor time" if cpu else words,
        goal="at most 5 ms",
        verdict=Verdict.of(min(longest, cpu or longest) <= HOLD_GOAL),
        note=f"{entries} entries above 1 ms, {above} above 5 ms; each measure has more in it than "
        "the hold: moments of other programs, other commands",
        values={"slow_log_s": longest, "cpu_s": cpu, "above_5_ms": above, "above_1_ms": entries},
    )


def _ping_row(case: str, idle: Sequence[float], felt: Felt) -> Row:
    before, elsewhere, during = (quantile(each, 0.99) for each in (idle, felt.elsewhere, felt.during))
    return Row(
        QUESTION,
        f"p99 of a PING stream during: {case}",
        f"{_brief(felt.during)}",
        f"idle {_brief(idle)}; the same on another server of this machine {_brief(felt.elsewhere)}",
        f"{during / before:.2f}x of idle, {during / elsewhere:.2f}x of elsewhere",
        f"within {PING_GOAL:g}x of idle",
        Verdict.of(during <= PING_GOAL * before),
        values={
            "idle_p99_s": before,
            "elsewhere_p99_s": elsewhere,
            "during_p99_s": during,
            "idle_p50_s": quantile(idle, 0.5),
            "during_p50_s": quantile(felt.during, 0.5),
            "pings": len(felt.during),
        },
    )


def _brief(times: Sequence[float]) -> str:
    return f"p50 {seconds(quantile(times, 0.5))}, p99 {seconds(quantile(times, 0.99))}"
