"""What it costs a producer every day to enqueue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import rq

from benchmarks import bullmq_side, celery_side
from benchmarks.gauges import sent_by_us, watched
from benchmarks.ground import Ground
from benchmarks.load import QUEUE
from benchmarks.rows import Row, Verdict, count, per_second, seconds
from benchmarks.samples import Ratio, compare
from benchmarks.settings import Settings
from benchmarks.work import nothing
from shedder.rq import Queue

QUESTION = 7
ENQUEUE_GOAL = 1.5
MANY_GOAL = 1.0
LATENCY_GOAL = 1.9
LATENCY_MS = 1.0
BLOCK = 25
BATCH = 500


def run(settings: Settings) -> Iterator[Row]:
    """One by one and many at once, near and a millisecond away."""
    repeat = settings.times(short=60, full=300)
    with Ground(latency_ms=settings.latency_ms) as ground:
        yield _enqueue(ground, repeat, goal=ENQUEUE_GOAL, where="")
        yield _many(ground, repeat, where="")
        yield _costs(ground)
        ours = _paces(ground, Queue, BLOCK)
        yield from celery_side.enqueue(ground, BLOCK, repeat, ours)
        few = settings.times(short=5, full=15)
        yield from bullmq_side.enqueue(ground, 1000, few, _paces(ground, Queue, 1000), settings)
    if not settings.latency_ms:
        with Ground(latency_ms=LATENCY_MS) as ground:
            where = f", {LATENCY_MS:g} ms away"
            yield _enqueue(ground, repeat, goal=LATENCY_GOAL, where=where)
            yield _many(ground, repeat, where=where)


def _paces(ground: Ground, queue_class: type[rq.Queue], jobs: int) -> Callable[[], float]:
    """A measurement of jobs a second, one by one."""
    queue = queue_class(QUEUE, connection=ground.client())
    queue.enqueue(nothing, 0)

    def measure() -> float:
        began = time.perf_counter()
        for number in range(jobs):
            queue.enqueue(nothing, number)
        return jobs / (time.perf_counter() - began)

    return measure


def _paces_of_many(ground: Ground, queue_class: type[rq.Queue], jobs: int) -> Callable[[], float]:
    queue = queue_class(QUEUE, connection=ground.client())
    queue.enqueue(nothing, 0)

    def measure() -> float:
        began = time.perf_counter()
        queue.enqueue_many([queue_class.prepare_data(nothing, (each,)) for each in range(jobs)])
        return jobs / (time.perf_counter() - began)

    return measure


def _enqueue(ground: Ground, repeat: int, *, goal: float, where: str) -> Row:
    ratio = compare(
        _paces(ground, Queue, BLOCK), _paces(ground, rq.Queue, BLOCK), repeat=repeat, what=f"enqueue{where}, jobs/s"
    )
    return _row(f"enqueue, one by one{where}", ratio, goal)


def _many(ground: Ground, repeat: int, *, where: str) -> Row:
    ratio = compare(
        _paces_of_many(ground, Queue, BATCH),
        _paces_of_many(ground, rq.Queue, BATCH),
        repeat=repeat,
        what=f"enqueue_many{where}, jobs/s",
    )
    return _row(f"enqueue_many in batches of {count(BATCH)}{where}", ratio, MANY_GOAL)


def _row(case: str, ratio: Ratio, goal: float) -> Row:
    words = "at least equal" if goal == MANY_GOAL else f"at least {goal:g}x"
    return Row(
        QUESTION,
        case,
        f"{per_second(ratio.ours)}, {seconds(1 / ratio.ours)} each",
        f"rq.Queue: {per_second(ratio.theirs)}, {seconds(1 / ratio.theirs)} each",
        str(ratio),
        words,
        Verdict.of(ratio.median >= goal),
        values={"ours": ratio.ours, "theirs": ratio.theirs, "ratios": ratio.ratios},
    )


def _costs(ground: Ground) -> Row:
    ours, theirs = (_cost(ground, each) for each in (Queue, rq.Queue))
    return Row(
        QUESTION,
        "commands of one enqueue",
        "{} round trip, {} commands on the server".format(*ours),
        "rq.Queue: {} round trips, {} commands on the server".format(*theirs),
        goal="1 round trip where RQ needs 2",
        verdict=Verdict.of(ours[0] == 1),
        note="those inside scripts and MULTI, EXEC included",
        values={"ours": ours, "theirs": theirs},
    )


def _cost(ground: Ground, queue_class: type[rq.Queue]) -> tuple[int, int]:
    with ground.client() as client:
        queue = queue_class(QUEUE, connection=client)
        queue.enqueue(nothing, 0)
        with watched(ground.near, ground.server.pid) as served, sent_by_us() as sent:
            queue.enqueue(nothing, 1)
        return sent.round_trips, served.total
