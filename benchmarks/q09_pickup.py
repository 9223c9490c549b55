"""How long it takes until an idle worker begins a job that has just been enqueued."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rq

from benchmarks.fleet import Fleet, Marks, marks, wait_for
from benchmarks.ground import Ground
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, seconds
from benchmarks.samples import median, quantile
from benchmarks.settings import Settings
from benchmarks.work import mark
from shedder.rq import Queue, SimpleWorker, Worker

if TYPE_CHECKING:
    from rq.worker import BaseWorker

QUESTION = 9
NOISE = 1.1
"""Medians of two sides that do the same differ by so much here."""


@dataclass(frozen=True, slots=True)
class Side:
    """A fleet and the queue through which it gets its jobs."""

    queue: rq.Queue
    marks: Marks


def run(settings: Settings) -> Iterator[Row]:
    """One worker and twenty, one queue and three."""
    jobs = settings.pick(short=60, full=400)
    for workers, queues, kind in (
        (1, 1, "SimpleWorker"), (1, 3, "SimpleWorker"), (1, 1, "Worker"), (1, 3, "Worker"),
        (20, 1, "SimpleWorker"), (20, 3, "SimpleWorker"),
    ):  # fmt: skip
        names = ["first", "second", "third"][:queues]
        our_class, their_class = _classes(kind)
        with ExitStack() as stack:
            ours = _side(stack, settings, our_class, Queue, names, workers)
            theirs = _side(stack, settings, their_class, rq.Queue, names, workers)
            our_times, their_times = _turns((ours, theirs), jobs)
        case = f"{workers} idle {kind}{'s' * (workers > 1)}, {queues} queue{'s' * (queues > 1)}"
        yield _row(case, our_times, their_times)
    yield _stock_producer(settings)


def _classes(kind: str) -> tuple[type[BaseWorker], type[BaseWorker]]:
    if kind == "Worker":
        return Worker, rq.Worker
    return SimpleWorker, rq.SimpleWorker


def _side(
    stack: ExitStack,
    settings: Settings,
    worker_class: type[BaseWorker],
    queue_class: type[rq.Queue],
    names: Sequence[str],
    workers: int,
) -> Side:
    ground = stack.enter_context(Ground(latency_ms=settings.latency_ms))
    found = stack.enter_context(marks())
    stack.enter_context(Fleet(ground, worker_class, names, workers=workers))
    queue = queue_class(names[-1], connection=ground.client())
    queue.enqueue(mark, -1)
    wait_for(lambda: found.count() == 1, timeout=20)
    return Side(queue, found)


def _turns(sides: Sequence[Side], jobs: int) -> list[list[float]]:
    """Seconds from the call of `enqueue` to the first line of the function, for each side.

    Each job meets an idle worker: the last one has long ended.
    """
    rest = random.Random(1)
    sent: list[list[float]] = [[] for _ in sides]
    for number in range(jobs):
        for side, moments in zip(sides, sent, strict=True):
            moments.append(time.monotonic())
            side.queue.enqueue(mark, number)
            _wait_for_marks(side.marks, number + 2)
            time.sleep(rest.uniform(0.02, 0.04))
    found = []
    for side, moments in zip(sides, sent, strict=True):
        begun = {int(text): at for text, at in side.marks.read()}
        found.append([begun[number] - at for number, at in enumerate(moments)])
    return found


def _wait_for_marks(marks: Marks, number: int) -> None:
    wait_for(lambda: marks.count() >= number, timeout=30, interval=0.005)


def _row(case: str, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    ratio = median([our / their for our, their in zip(ours, theirs, strict=True)])
    tails = quantile(ours, 0.99) / quantile(theirs, 0.99)
    say(f"{case}: {ratio:.2f}x")
    return Row(
        QUESTION,
        case,
        _brief(ours),
        f"stock: {_brief(theirs)}",
        f"{ratio:.2f}x the time (p99 {tails:.2f}x)",
        "at least as good as stock RQ",
        Verdict.of(ratio <= NOISE),
        f"equal within {NOISE:g}x; from the call of enqueue to the function's first line",
        {
            "p50_s": [quantile(ours, 0.5), quantile(theirs, 0.5)],
            "p99_s": [quantile(ours, 0.99), quantile(theirs, 0.99)],
            "median_ratio": ratio,
        },
    )


def _stock_producer(settings: Settings) -> Row:
    jobs = settings.pick(short=15, full=60)
    with ExitStack() as stack:
        side = _side(stack, settings, SimpleWorker, rq.Queue, ["first"], 1)
        times = []
        for number in range(jobs):
            began = time.monotonic()
            side.queue.enqueue(mark, number)
            _wait_for_marks(side.marks, number + 2)
            times.append(side.marks.read()[-1][1] - began)
    return Row(
        QUESTION,
        "1 idle SimpleWorker of ours, jobs from a stock producer",
        f"{_brief(times)}, at most {seconds(max(times))}",
        note="a stock producer rings no bell; the bound is one wait of the worker",
        values={"p50_s": quantile(times, 0.5), "max_s": max(times)},
    )


def _brief(times: Sequence[float]) -> str:
    return f"p50 {seconds(quantile(times, 0.5))}, p99 {seconds(quantile(times, 0.99))}"
