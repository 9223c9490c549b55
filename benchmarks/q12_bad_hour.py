"""The bad hour: bulk jobs clog a queue, and how long customers wait until they do not.

Every job is `normal`: nobody had declared anything. An operator gives one command. The best that a
user of stock RQ can do by hand stands beside it: suspend, move the bulk by a script that he has at
hand (the fastest of `benchmarks.stock`), resume.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rq
from rq.suspension import resume as rq_resume
from rq.suspension import suspend as rq_suspend

from benchmarks import stock
from benchmarks.fleet import Fleet, Marks, be_quiet, die_with_parent, marks
from benchmarks.ground import Ground
from benchmarks.load import QUEUE, Load, fill, functions_as_globs
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count, per_second, seconds
from benchmarks.samples import quantile
from benchmarks.settings import Settings
from benchmarks.work import build_report, charge_card, send_digest, send_newsletter
from shedder.rq import Queue, SimpleWorker

if TYPE_CHECKING:
    from rq.worker import BaseWorker

QUESTION = 12
WORKERS = 4
BULK = (send_newsletter, send_digest, build_report)
TOLERANCE = 1.0
GOAL_SECONDS = 2.0
URGENT_PER_SECOND = 10
BULK_PER_SECOND = 20
BEFORE_SECONDS = 4.0
URGENT_AFTER_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Side:
    """Whose workers and producers these are, and what the operator does."""

    name: str
    worker_class: type[BaseWorker]
    queue_class: type[rq.Queue]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What customers felt.

    Attributes:
        pace: Jobs a second of the fleet before the command.
        projected: Seconds that a job which arrived just before the command would have waited.
        command: Seconds that the operator's procedure took.
        inside: Seconds from its begin until every start had waited less than the tolerance.
        after: Waits of the urgent jobs that arrived when that was so.
        lost: Urgent jobs that never started.
    """

    pace: float
    projected: float
    command: float
    inside: float
    after: list[float]
    lost: int


def run(settings: Settings) -> Iterator[Row]:
    """Ours, then stock, each on a fresh server."""
    jobs = settings.size(short=20_000, full=200_000)
    ours = [_hour(settings, Side("shedder", SimpleWorker, Queue), jobs) for _ in range(settings.times(short=1, full=3))]
    theirs = [
        _hour(settings, Side("stock RQ", rq.SimpleWorker, rq.Queue), jobs)
        for _ in range(settings.times(short=1, full=3))
    ]
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        yield _row(jobs, our, their, number)


def _hour(settings: Settings, side: Side, jobs: int) -> Outcome:
    with marks() as found, Ground(latency_ms=settings.latency_ms) as ground:
        fill(ground.near, Load(jobs, functions=BULK, queue_class=side.queue_class))
        with Fleet(ground, side.worker_class, [QUEUE], workers=WORKERS):
            began = time.monotonic()
            waiting = _waiting(ground)
            producer = _produce(ground, side, BEFORE_SECONDS + 60)
            time.sleep(BEFORE_SECONDS)
            pace = _pace(ground, waiting, time.monotonic() - began)
            projected = _waiting(ground) / max(pace, 1e-9)
            at = time.monotonic()
            _act(ground, side)
            command = time.monotonic() - at
            say(f"{side.name}: the procedure took {command:.2f} s")
            time.sleep(URGENT_AFTER_SECONDS + (0 if side.name == "shedder" else 2.0))
            sent = _stop(producer)
            time.sleep(1.5)
            return _outcome(found, sent, at, command, pace, projected)


def _act(ground: Ground, side: Side) -> None:
    if side.name == "shedder":
        words = [part for glob in functions_as_globs(BULK) for part in ("--function", glob)]
        subprocess.run(
            [sys.executable, "-m", "shedder", "divert", QUEUE, *words, "--url", ground.url,
             "--reason", "customers wait"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return
    with ground.client() as client:
        rq_suspend(client)
        stock.divert_by_rewriting(client, QUEUE, BULK)
        rq_resume(client)


@dataclass(frozen=True, slots=True)
class Producer:
    """A process that enqueues, and the pipe on which it tells when it enqueued what."""

    pid: int
    reader: int
    stopper: int


def _produce(ground: Ground, side: Side, longest: float) -> Producer:
    reader, writer = os.pipe()
    stop_reader, stop_writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            be_quiet()
            os.close(stop_writer)
            _enqueue(ground, side, writer, stop_reader, longest)
        finally:
            os._exit(0)
    os.close(writer)
    os.close(stop_reader)
    return Producer(pid, reader, stop_writer)


def _enqueue(ground: Ground, side: Side, writer: int, stop: int, longest: float) -> None:
    os.set_blocking(stop, False)
    queue = side.queue_class(QUEUE, connection=ground.client())
    began, number, bulk, lines = time.monotonic(), 0, 0, []
    while not _is_closed(stop) and time.monotonic() - began < longest:
        elapsed = time.monotonic() - began
        while bulk < elapsed * BULK_PER_SECOND:
            queue.enqueue(send_newsletter, bulk)
            bulk += 1
        while number < elapsed * URGENT_PER_SECOND:
            lines.append(f"{number} {time.monotonic()}\n")
            queue.enqueue(charge_card, number)
            number += 1
        time.sleep(0.01)
    with os.fdopen(writer, "w") as file:
        file.writelines(lines)


def _is_closed(stop: int) -> bool:
    try:
        return os.read(stop, 1) == b""
    except BlockingIOError:
        return False


def _stop(producer: Producer) -> dict[int, float]:
    os.close(producer.stopper)
    with os.fdopen(producer.reader) as file:
        lines = file.read().splitlines()
    os.waitpid(producer.pid, 0)
    pairs = (line.split() for line in lines)
    return {int(number): float(at) for number, at in pairs}


def _waiting(ground: Ground) -> int:
    listed: Any = ground.near.llen(f"rq:queue:{QUEUE}")
    return int(listed)


def _pace(ground: Ground, waiting: int, took: float) -> float:
    """Jobs a second that left, those that arrived meanwhile among them."""
    arrived = (URGENT_PER_SECOND + BULK_PER_SECOND) * took
    return (waiting + arrived - _waiting(ground)) / took


def _outcome(found: Marks, sent: dict[int, float], at: float, command: float, pace: float, projected: float) -> Outcome:
    starts = {int(number): moment for number, moment in found.read()}
    waits = {number: starts[number] - sent[number] for number in sent if number in starts}
    late = [starts[number] for number, wait in waits.items() if wait > TOLERANCE]
    missing = [number for number in sent if number not in starts]
    inside = max(late, default=at) - at
    if any(moment < at + inside for number in missing for moment in [sent[number]]):
        inside = float("inf")
    after = [wait for number, wait in waits.items() if sent[number] > at + inside]
    return Outcome(pace, projected, command, inside, after or [float("inf")], len(missing))


def _row(jobs: int, ours: Outcome, theirs: Outcome, number: int) -> Row:
    is_reached = ours.inside <= GOAL_SECONDS and quantile(ours.after, 0.99) < TOLERANCE
    return Row(
        QUESTION,
        f"{count(jobs)} bulk jobs clog the queue of {WORKERS} SimpleWorkers, {URGENT_PER_SECOND} "
        f"urgent jobs/s arrive (run {number + 1})",
        f"before: {_minutes(ours)}; `shedder divert` took {seconds(ours.command)}; all inside "
        f"{TOLERANCE:g} s after {_or_never(ours.inside)}; then p50 "
        f"{_wait(ours.after, 0.5)}, p99 {_wait(ours.after, 0.99)}",
        f"stock RQ, by hand: before: {_minutes(theirs)}; suspend, script, resume took "
        f"{seconds(theirs.command)}; inside after {_or_never(theirs.inside)}; then p50 "
        f"{_wait(theirs.after, 0.5)}, p99 {_wait(theirs.after, 0.99)}",
        f"{theirs.inside / ours.inside:.1f}x sooner" if ours.inside else "",
        f"from minutes to under {TOLERANCE:g} s within {GOAL_SECONDS:g} s of the command",
        Verdict.of(is_reached),
        "the start of the command's Python included; the script is at hand, and what of the bulk "
        "still arrives clogs stock RQ again",
        {
            "inside_s": [ours.inside, theirs.inside],
            "command_s": [ours.command, theirs.command],
            "projected_s": [ours.projected, theirs.projected],
            "not_started": [ours.lost, theirs.lost],
        },
    )


def _minutes(outcome: Outcome) -> str:
    return f"{seconds(outcome.projected)} of waiting (at {per_second(outcome.pace)})"


def _or_never(value: float) -> str:
    return "more than the time watched" if value == float("inf") else seconds(value)


def _wait(waits: list[float], share: float) -> str:
    value = quantile(waits, share)
    return "not measured" if value == float("inf") else seconds(value)
