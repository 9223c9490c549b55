"""How fast a backlog is back in its lane when no pace is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks import published
from benchmarks.gauges import watched
from benchmarks.ground import Ground
from benchmarks.load import QUEUE, Load, fill
from benchmarks.progress import say
from benchmarks.q02_divert_subset import SELECTION
from benchmarks.rows import Row, Verdict, count, per_second, seconds
from benchmarks.samples import median
from benchmarks.settings import Settings
from shedder import Selection, Shedder

QUESTION = 5
PACE_GOAL = 100_000
NOISE = 1.5


def run(settings: Settings) -> Iterator[Row]:
    """A part of a lane is merged back by age, a whole lane is renamed."""
    jobs = settings.size(short=200_000, full=200_000)
    with Ground(latency_ms=settings.latency_ms) as ground:
        yield _merge(ground, jobs, settings)
        if settings.is_full and not settings.jobs:
            yield _merge(ground, 2_000_000, settings)
        yield from _whole(ground, settings)


def _merge(ground: Ground, jobs: int, settings: Settings) -> Row:
    fill(ground.near, Load(jobs))
    before: Any = ground.near.lrange(f"rq:queue:{QUEUE}", 0, -1)
    paces, times, server = [], [], []
    with ground.client() as client:
        shedder = Shedder(client, by="bench")
        for _ in range(settings.times(short=5, full=3)):
            shedder.divert(QUEUE, selection=SELECTION, reason="bench")
            with watched(ground.near, ground.server.pid) as served:
                began = time.perf_counter()
                receipt = shedder.drain_at_once(QUEUE, reason="bench")
                times.append(time.perf_counter() - began)
            paces.append(receipt.restored / times[-1])
            server.append(served.cpu)
            say(f"merge {receipt.restored:,}: {times[-1]:.3f} s, server {served.cpu:.3f} s")
    assert before == ground.near.lrange(f"rq:queue:{QUEUE}", 0, -1)
    pace = median(paces)
    return Row(
        QUESTION,
        f"drain --at-once: {count(receipt.restored)} jobs merged by age into the other "
        f"{count(jobs - receipt.restored)}",
        f"{seconds(median(times))}, {per_second(pace)} ({per_second(min(paces))} to "
        f"{per_second(max(paces))}); server {seconds(median(server))}",
        f"{published.text(receipt.restored)} (published)",
        goal=f"at least {count(PACE_GOAL)} jobs/s",
        verdict=Verdict.of(pace >= PACE_GOAL),
        values={"jobs": receipt.restored, "per_second": paces, "cpu_s": server},
    )


def _whole(ground: Ground, settings: Settings) -> Iterator[Row]:
    sizes = [2_000, 200_000, 2_000_000] if settings.is_full else [2_000, 200_000]
    medians = []
    for jobs in [settings.jobs] if settings.jobs else sizes:
        fill(ground.near, Load(jobs))
        medians.append(_undo_whole(ground, settings))
        yield Row(
            QUESTION,
            f"undo of a divert of a whole lane, {count(jobs)} jobs",
            seconds(medians[-1]),
            values={"jobs": jobs, "seconds": medians[-1]},
        )
    ratio = max(medians) / min(medians)
    yield Row(
        QUESTION,
        "the slowest of these beside the fastest",
        f"{ratio:.2f}x the time",
        goal=f"constant (within noise, here {NOISE:g}x)",
        verdict=Verdict.of(ratio <= NOISE),
        values={"ratio": ratio},
    )


def _undo_whole(ground: Ground, settings: Settings) -> float:
    times = []
    with ground.client() as client:
        shedder = Shedder(client, by="bench")
        for _ in range(settings.times(short=15, full=25)):
            event = shedder.divert(QUEUE, selection=Selection(), reason="bench").event
            began = time.perf_counter()
            shedder.undo(event, reason="bench")
            times.append(time.perf_counter() - began)
    return median(times)
