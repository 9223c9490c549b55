"""What it costs to look: `status`, and a dry run of a divert."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks.gauges import sent_by_us, watched
from benchmarks.ground import Ground
from benchmarks.load import QUEUE, Load, fill
from benchmarks.progress import say
from benchmarks.q02_divert_subset import SELECTION, TENANT, divert_once
from benchmarks.rows import Row, Verdict, count, seconds
from benchmarks.samples import compare, median, quantile
from benchmarks.settings import Settings
from shedder import Selection, Shedder

QUESTION = 4
STATUS_GOAL = 0.050
BREAKDOWN_GOAL = 1.5
SIZES_SHORT = (2_000, 200_000)
SIZES_FULL = (2_000, 200_000, 2_000_000)


def run(settings: Settings) -> Iterator[Row]:
    """Status at several lengths, and the dry run beside the divert."""
    sizes = SIZES_FULL if settings.is_full else SIZES_SHORT
    commands: set[tuple[int, int]] = set()
    with Ground(latency_ms=settings.latency_ms) as ground:
        for jobs in (settings.jobs,) if settings.jobs else sizes:
            row, cost = _status(ground, jobs, settings)
            commands.add(cost)
            yield row
        yield _commands(commands)
        yield _command_line(ground, settings)
        yield _dry_run(ground, settings)
        yield _breakdown(ground, settings, "function", SELECTION)
        yield _breakdown(ground, settings, "meta.tenant", TENANT)


def _status(ground: Ground, jobs: int, settings: Settings) -> tuple[Row, tuple[int, int]]:
    fill(ground.near, Load(jobs))
    times = []
    with ground.client() as client:
        shedder = Shedder(client, by="bench")
        shedder.status()
        for _ in range(settings.times(short=100, full=300)):
            began = time.perf_counter()
            shedder.status()
            times.append(time.perf_counter() - began)
        with watched(ground.near, ground.server.pid) as served, sent_by_us() as sent:
            shedder.status()
    row = Row(
        QUESTION,
        f"status, {count(jobs)} jobs",
        f"p50 {seconds(quantile(times, 0.5))}, p99 {seconds(quantile(times, 0.99))}, "
        f"server {seconds(sum(served.usec.values()) / 1e6)}",
        goal="under 50 ms",
        verdict=Verdict.of(quantile(times, 0.99) < STATUS_GOAL),
        values={"p50_s": quantile(times, 0.5), "p99_s": quantile(times, 0.99)},
    )
    return row, (sent.round_trips, served.total)


def _commands(costs: set[tuple[int, int]]) -> Row:
    listed = "; ".join(f"{trips} round trips, {total} commands" for trips, total in sorted(costs))
    return Row(
        QUESTION,
        "commands of one status of one queue (four lanes)",
        listed,
        goal="the same at every length",
        verdict=Verdict.of(len(costs) == 1),
        values={"round_trips_and_commands": sorted(costs)},
    )


def _command_line(ground: Ground, settings: Settings) -> Row:
    times = []
    for _ in range(settings.times(short=5, full=15)):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "shedder", "status", "--url", ground.url], check=True, stdout=subprocess.DEVNULL
        )
        times.append(time.perf_counter() - began)
    return Row(
        QUESTION,
        "`shedder status` on the command line, the start of Python and its imports included",
        f"median {seconds(median(times))} ({seconds(min(times))} to {seconds(max(times))})",
        values={"seconds": times},
    )


def _dry_run(ground: Ground, settings: Settings) -> Row:
    jobs = settings.size(short=100_000, full=200_000)
    load = Load(jobs)
    ratio = compare(
        lambda: _preview_once(ground, load),
        lambda: divert_once(ground, load),
        repeat=settings.times(short=5, full=5),
        what=f"dry run beside divert, {jobs:,} jobs",
    )
    say(f"dry run: {ratio}")
    return Row(
        QUESTION,
        f"--dry-run of a divert of 60 % of {count(jobs)} jobs",
        seconds(ratio.ours),
        f"the divert itself: {seconds(ratio.theirs)}",
        f"{ratio} the time",
        "no slower than the divert",
        Verdict.of(ratio.median <= 1.0),
        values={"dry_run_s": ratio.ours, "divert_s": ratio.theirs, "ratios": ratio.ratios},
    )


def _breakdown(ground: Ground, settings: Settings, by: str, selection: Selection) -> Row:
    jobs = settings.size(short=50_000, full=200_000)
    fill(ground.near, Load(jobs, tenants=5))
    with ground.client() as client:
        shedder = Shedder(client, by="bench")
        shedder.status(QUEUE)
        ratio = compare(
            lambda: _seconds_of(lambda: shedder.breakdown(QUEUE, by=by)),
            lambda: _seconds_of(lambda: shedder.preview_divert(QUEUE, selection=selection)),
            repeat=settings.times(short=5, full=5),
            what=f"status --by {by} beside a dry run, {jobs:,} jobs",
        )
    return Row(
        QUESTION,
        f"status --by {by}, {count(jobs)} jobs",
        seconds(ratio.ours),
        f"--dry-run of a divert by that: {seconds(ratio.theirs)}",
        f"{ratio} the time",
        f"at most {BREAKDOWN_GOAL:g}x",
        Verdict.of(ratio.median <= BREAKDOWN_GOAL),
        values={"breakdown_s": ratio.ours, "dry_run_s": ratio.theirs, "ratios": ratio.ratios},
    )


def _seconds_of(look: Callable[[], object]) -> float:
    began = time.perf_counter()
    look()
    return time.perf_counter() - began


def _preview_once(ground: Ground, load: Load) -> float:
    fill(ground.near, load)
    with ground.client() as client:
        shedder = Shedder(client, by="bench")
        shedder.status(QUEUE)
        began = time.perf_counter()
        preview = shedder.preview_divert(QUEUE, selection=SELECTION)
        took = time.perf_counter() - began
    assert load.jobs * 6 // 10 == preview.taken
    return took
