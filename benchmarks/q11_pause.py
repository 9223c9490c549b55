"""Whether anything still starts when a pause has returned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import rq
from rq.suspension import resume as rq_resume
from rq.suspension import suspend as rq_suspend

from benchmarks import bullmq_side, celery_side
from benchmarks.fleet import Fleet, Marks, marks, wait_for
from benchmarks.ground import Ground
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count, seconds
from benchmarks.samples import quantile
from benchmarks.settings import Settings
from benchmarks.work import mark_and_wait
from shedder import Shedder
from shedder.rq import Queue, SimpleWorker

QUESTION = 11
NAME = "mail"
WORKERS = 2
JOBS = 60
ARRIVALS = 4
WATCHED_SECONDS = 0.06


@dataclass(slots=True)
class Trials:
    """What happened in trials of one kind.

    Attributes:
        took: Seconds that the command itself took.
        late: For each trial, seconds from the command's return to each start after it.
        last: Seconds from the call of the command to the last start at all.
    """

    took: list[float] = field(default_factory=list)
    late: list[list[float]] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    def text(self) -> str:
        """In words."""
        leaky = sum(bool(each) for each in self.late)
        starts = sum(map(len, self.late))
        words = f"{count(starts)} starts after it, in {leaky} of {count(len(self.late))} trials"
        if starts:
            words += f", the last {seconds(max(max(each) for each in self.late if each))} late"
        return f"{words}; the command took p50 {seconds(quantile(self.took, 0.5))}, p99 " + seconds(
            quantile(self.took, 0.99)
        )


def run(settings: Settings) -> Iterator[Row]:
    """Workers that are busy at the moment of the command, and workers that are idle."""
    trials = settings.times(short=60, full=1000)
    ours, theirs = Trials(), Trials()
    with marks() as found, Ground(latency_ms=settings.latency_ms) as ground:
        _ours(ground, found, trials, ours)
    with marks() as found, Ground(latency_ms=settings.latency_ms) as ground:
        _theirs(ground, found, settings.times(short=30, full=200), theirs)
    yield Row(
        QUESTION,
        f"pause with {WORKERS} SimpleWorkers, busy and idle in turn",
        ours.text(),
        f"rq suspend: {theirs.text()}",
        "",
        "0 starts after the receipt in 1,000 trials",
        Verdict.of(not any(ours.late)),
        "" if trials >= 1000 else f"{trials} trials in the short form",
        {"trials": trials, "starts_after": sum(map(len, ours.late)), "took_s": ours.took,
         "last_start_s": ours.last, "suspend_starts_after": sum(map(len, theirs.late))},
    )  # fmt: skip
    yield Row(
        QUESTION,
        "from the command's call to the last start",
        f"p50 {seconds(quantile(ours.last, 0.5))}, p99 {seconds(quantile(ours.last, 0.99))}",
        f"rq suspend: p50 {seconds(quantile(theirs.last, 0.5))}, p99 {seconds(quantile(theirs.last, 0.99))}",
    )
    yield _celery(settings)
    yield _bullmq(settings)


def _ours(ground: Ground, found: Marks, trials: int, into: Trials) -> None:
    shedder = Shedder(ground.client(), by="bench")
    queue = Queue(NAME, connection=ground.client())
    with Fleet(ground, SimpleWorker, [NAME], workers=WORKERS):
        _try(
            found, queue, trials, into,
            halt=lambda: shedder.pause(NAME, reason="bench"),
            go_on=lambda: shedder.resume(NAME, reason="bench"),
        )  # fmt: skip


def _theirs(ground: Ground, found: Marks, trials: int, into: Trials) -> None:
    client = ground.client()
    queue = rq.Queue(NAME, connection=client)
    with Fleet(ground, rq.SimpleWorker, [NAME], workers=WORKERS):
        _try(
            found, queue, trials, into,
            halt=lambda: rq_suspend(client),
            go_on=lambda: rq_resume(client),
        )  # fmt: skip


def _try(
    found: Marks, queue: rq.Queue, trials: int, into: Trials, *, halt: Callable[[], object],
    go_on: Callable[[], object],
) -> None:  # fmt: skip
    """Jobs wait in every second trial; in the others they arrive after the command."""
    for number in range(trials):
        before = found.count()
        is_busy = number % 2 == 0
        if is_busy:
            queue.enqueue_many([queue.prepare_data(mark_and_wait, (each,)) for each in range(JOBS)])
            wait_for(lambda before=before: found.count() >= before + 5, timeout=30)  # type: ignore[misc]
        began = time.monotonic()
        halt()
        at = time.monotonic()
        if not is_busy:
            for each in range(ARRIVALS):
                queue.enqueue(mark_and_wait, each)
        time.sleep(WATCHED_SECONDS)
        starts = [moment for _, moment in found.read()[before:]]
        into.took.append(at - began)
        into.late.append([moment - at for moment in starts if moment > at])
        into.last.append(max([began, *starts]) - began)
        go_on()
        expected = before + (JOBS if is_busy else ARRIVALS)
        wait_for(lambda expected=expected: found.count() >= expected, timeout=60)  # type: ignore[misc]
        if number % 100 == 99:
            say(f"{number + 1} trials, {sum(map(len, into.late))} starts after the receipt")


def _celery(settings: Settings) -> Row:
    case = "Celery: cancel_consumer, which every worker must answer"
    if not celery_side.is_here():
        return Row(QUESTION, case, "", celery_side.SKIPPED)
    trials = Trials()
    with marks() as found, Ground(latency_ms=settings.latency_ms) as ground:
        app, task = celery_side.application(ground)
        with celery_side.worker(ground):
            task.apply_async((0,))
            celery_side.wait_for_start(found, more_than=0)
            for _ in range(settings.times(short=5, full=30)):
                _celery_trial(app, task, found, trials)
        app.close()
    return Row(QUESTION, case, "", f"Celery: {trials.text()}",
               note="the worker forgets it at its next start")  # fmt: skip


def _celery_trial(app: object, task: object, found: Marks, into: Trials) -> None:
    before = found.count()
    for number in range(JOBS):
        task.apply_async((number,))  # type: ignore[attr-defined]
    celery_side.wait_for_start(found, more_than=before + 3)
    began = time.monotonic()
    celery_side.stop_consuming(app)
    at = time.monotonic()
    time.sleep(0.3)
    starts = [moment for _, moment in found.read()[before:]]
    into.took.append(at - began)
    into.late.append([moment - at for moment in starts if moment > at])
    into.last.append(max([began, *starts]) - began)
    celery_side.consume_again(app)
    wait_for(lambda: found.count() >= before + JOBS, timeout=60)


def _bullmq(settings: Settings) -> Row:
    case = "BullMQ: queue.pause()"
    if reason := bullmq_side.why_not(settings):
        return Row(QUESTION, case, "", reason)
    trials = settings.times(short=30, full=200)
    with Ground(latency_ms=settings.latency_ms) as ground:
        result = bullmq_side.ask(ground, "pause", str(trials))
    words = (
        f"{result['starts']} starts after it, in {result['trials_with_starts']} of {trials} "
        f"trials, the last {seconds(result['last'])} late; the command took "
        f"p50 {seconds(result['took'])}"
    )
    return Row(QUESTION, case, "", f"BullMQ {bullmq_side.version()}: {words}", values=result)
