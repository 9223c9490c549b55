"""How long it takes to divert by function the 60 % of a queue that can wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import rq

from benchmarks import stock
from benchmarks.ground import Ground
from benchmarks.load import BULK, BULK_SHARE, QUEUE, Load, fill, functions_as_globs
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count, per_second, seconds
from benchmarks.samples import Ratio, compare, exponent, median
from benchmarks.settings import Settings
from shedder import Selection, Shedder
from shedder.rq import Queue

QUESTION = 2
LOOP_GOAL = 100.0
GOAL_JOBS = 200_000
BULK_GOAL = 3.0
EXPONENT_GOAL = 1.1

SELECTION = Selection.parse(functions=functions_as_globs(BULK))
TENANT = Selection.parse(meta="tenant=tenant-1")


def run(settings: Settings) -> Iterator[Row]:
    """Ours beside RQ's loop, beside RQ in bulk, and ours at growing sizes."""
    with Ground(latency_ms=settings.latency_ms) as ground:
        yield _beside_loop(ground, settings)
        for way in stock.BULK_WAYS:
            yield _beside_bulk(ground, settings, way)
        yield _of_stock_producers(ground, settings)
        yield _by_meta(ground, settings)
        yield _growth(ground, settings)


def divert_once(ground: Ground, load: Load) -> float:
    """Seconds that our divert takes on a freshly filled queue."""
    ids = fill(ground.near, load)
    with ground.client() as client:
        shedder = Shedder(client, by="bench")
        shedder.status(QUEUE)  # the connection stands, as for the other side
        began = time.perf_counter()
        receipt = shedder.divert(QUEUE, selection=SELECTION, reason="bench")
        took = time.perf_counter() - began
    order = receipt.lanes[0].order
    keys = shedder.keys.backlog(order, receipt.lanes[2].lane)
    _check(ground, load, ids, keys[1])
    return took


def _stock_once(ground: Ground, load: Load, way: stock.Way) -> float:
    ids = fill(ground.near, load)
    with ground.client() as client:
        client.ping()
        began = time.perf_counter()
        way(client, QUEUE, BULK)
        took = time.perf_counter() - began
    _check(ground, load, ids, f"rq:queue:{stock.BACKLOG}")
    return took


def _check(ground: Ground, load: Load, ids: list[str], backlog: str) -> None:
    """Every job is where it belongs, in order."""
    taken = [job for number, job in enumerate(ids) if load.functions[number % 10] in BULK]
    moved: Any = ground.near.lrange(backlog, 0, -1)
    waiting: Any = ground.near.llen(f"rq:queue:{QUEUE}")
    assert taken == [job.decode() for job in moved]
    assert len(ids) - len(taken) == waiting


def _beside_loop(ground: Ground, settings: Settings) -> Row:
    jobs = settings.size(short=10_000, full=GOAL_JOBS)
    ratio = compare(
        lambda: divert_once(ground, Load(jobs)),
        lambda: _stock_once(ground, Load(jobs), stock.divert_by_loop),
        repeat=settings.times(short=2, full=1),
        what=f"divert 60 % of {jobs:,} beside RQ's loop",
    ).inverse()
    case, other = f"60 % of {count(jobs)} jobs, by function", "RQ's loop: fetch, remove, push"
    if jobs < GOAL_JOBS:
        note = f"the loop's LREM is quadratic: --full compares at {count(GOAL_JOBS)}"
        return _row(case, other, ratio, None, note=note)
    return _row(case, other, ratio, LOOP_GOAL, note="")


def _beside_bulk(ground: Ground, settings: Settings, way: stock.Way) -> Row:
    jobs = settings.size(short=20_000, full=200_000)
    ratio = compare(
        lambda: divert_once(ground, Load(jobs)),
        lambda: _stock_once(ground, Load(jobs), way),
        repeat=settings.times(short=3, full=1 if way is stock.divert_by_pipelines else 2),
        what=f"divert 60 % of {jobs:,} beside {way.__name__}",
    ).inverse()
    names: dict[stock.Way, str] = {
        stock.divert_by_pipelines: "RQ in pipelines: fetch_many, LREM, RPUSH",
        stock.divert_by_rewriting: "RQ in pipelines: fetch_many, lists written anew",
    }
    note = "unsafe while workers run" if way is stock.divert_by_rewriting else ""
    return _row(f"60 % of {count(jobs)} jobs, by function", names[way], ratio, BULK_GOAL, note=note)


def _row(case: str, other: str, ratio: Ratio, goal: float | None, *, note: str) -> Row:
    return Row(
        QUESTION,
        case,
        seconds(ratio.ours),
        f"{other}: {seconds(ratio.theirs)}",
        f"{ratio} faster",
        f"at least {goal:g}x faster" if goal else "",
        Verdict.of(ratio.median >= goal) if goal else Verdict.NO_GOAL,
        note,
        {"ours_s": ratio.ours, "theirs_s": ratio.theirs, "ratios": ratio.ratios},
    )


def _by_meta(ground: Ground, settings: Settings) -> Row:
    """The meta is serialized, and read by the operator's process: what a job costs does not grow with their number."""
    load, times = Load(settings.size(short=50_000, full=1_000_000), tenants=5), []
    for _ in range(settings.times(short=3, full=2)):
        ids = fill(ground.near, load)
        with ground.client() as client:
            shedder = Shedder(client, by="bench")
            shedder.status(QUEUE)
            began = time.perf_counter()
            receipt = shedder.divert(QUEUE, selection=TENANT, reason="bench")
            times.append(time.perf_counter() - began)
        assert receipt.moved == len(ids) // 5
    took = median(times)
    return Row(
        QUESTION,
        f"a tenant's 20 % of {count(load.jobs)} jobs, by their meta",
        seconds(took),
        f"for 1,000,000 at this pace: {seconds(took / load.jobs * 1_000_000)}",
        values={"seconds": times, "jobs": load.jobs},
    )


def _of_stock_producers(ground: Ground, settings: Settings) -> Row:
    jobs = settings.size(short=20_000, full=200_000)
    ratio = compare(
        lambda: divert_once(ground, Load(jobs, queue_class=rq.Queue)),
        lambda: divert_once(ground, Load(jobs, queue_class=Queue)),
        repeat=settings.times(short=3, full=2),
        what=f"{jobs:,} jobs of stock producers beside jobs of ours",
    )
    return Row(
        QUESTION,
        f"60 % of {count(jobs)} jobs that stock producers wrote",
        f"{seconds(ratio.ours)}, {per_second(jobs / ratio.ours)}",
        f"jobs of our producers: {seconds(ratio.theirs)}",
        f"{ratio} the time",
        note="the caller reads each job's function out of its data",
        values={"stock_s": ratio.ours, "ours_s": ratio.theirs, "ratios": ratio.ratios},
    )


def _growth(ground: Ground, settings: Settings) -> Row:
    sizes = [20_000, 200_000, 2_000_000] if settings.is_full else [20_000, 200_000]
    times: dict[int, list[float]] = {jobs: [] for jobs in sizes}
    for number in range(settings.times(short=3, full=3)):
        for jobs in sizes:
            times[jobs].append(divert_once(ground, Load(jobs)))
        listed = ", ".join(f"{jobs:,} in {each[-1]:.3f} s" for jobs, each in times.items())
        say(f"growth, round {number + 1}: {listed}")
    medians = [median(times[jobs]) for jobs in sizes]
    rounds = list(zip(*times.values(), strict=True))
    slopes = [exponent(sizes, each) for each in rounds]
    found = median(slopes)
    listed = ", ".join(f"{count(jobs)}: {seconds(took)}" for jobs, took in zip(sizes, medians, strict=True))
    return Row(
        QUESTION,
        "growth of the time with the number of jobs",
        f"exponent {found:.2f} ({min(slopes):.2f} to {max(slopes):.2f}); {listed}",
        goal=f"exponent <= {EXPONENT_GOAL:g}",
        verdict=Verdict.of(found <= EXPONENT_GOAL),
        values={"exponents": slopes, "sizes": sizes, "seconds": medians, "share": BULK_SHARE},
    )
