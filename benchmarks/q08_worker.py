"""What it costs a worker every day to take a job and run it."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import rq

from benchmarks.fleet import be_quiet, die_with_parent
from benchmarks.gauges import watched
from benchmarks.ground import Ground
from benchmarks.load import Load, fill
from benchmarks.rows import Row, Verdict, per_second, seconds
from benchmarks.samples import Ratio, compare, median
from benchmarks.settings import Settings
from benchmarks.work import nothing
from shedder import Selection, Shedder
from shedder.rq import Queue, SimpleWorker, Worker

if TYPE_CHECKING:
    from rq.worker import BaseWorker

QUESTION = 8
GOAL = 0.95
"""At least equal, on a machine where equal things differ by so much."""
QUEUES = ("first", "second", "third")
OTHERS_JOBS = Selection.parse(functions=("somebody.elses.*",))


@dataclass(slots=True)
class Side:
    """One kind of worker, and what it cost the server for each job.

    Attributes:
        worker_class: The class.
        queue_class: Who writes its jobs.
        has_controls: Another lane is paused, and a divert stands that takes nothing.
        trips: Round trips of each job.
        cpu: Processor seconds of the server for each job.
    """

    worker_class: type[BaseWorker]
    queue_class: type[rq.Queue]
    has_controls: bool = False
    trips: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def run(settings: Settings) -> Iterator[Row]:
    """SimpleWorker and Worker, one queue and three, with and without controls."""
    kinds = [
        ("SimpleWorker", SimpleWorker, rq.SimpleWorker, settings.pick(short=150, full=500)),
        ("Worker (a fork for each job)", Worker, rq.Worker, settings.pick(short=20, full=100)),
    ]
    with Ground(latency_ms=settings.latency_ms) as ground:
        for name, our_class, their_class, jobs in kinds:
            for queues in (QUEUES[:1], QUEUES):
                for has_controls in (False, True):
                    ours = Side(our_class, Queue, has_controls)
                    theirs = Side(their_class, rq.Queue)
                    case = f"{name}, {len(queues)} queue{'s' * (len(queues) > 1)}, controls "
                    case += "on" if has_controls else "off"
                    ratio = compare(
                        _pace(ground, ours, queues, jobs),
                        _pace(ground, theirs, queues, jobs),
                        repeat=settings.times(short=5, full=25),
                        what=f"{case}, jobs/s",
                    )
                    yield _row(case, ratio, ours, theirs)


def _pace(ground: Ground, side: Side, queues: Sequence[str], jobs: int) -> Callable[[], float]:
    """A measurement of jobs a second of one worker in a burst."""
    load = Load(jobs, functions=(nothing,), queue_class=side.queue_class, queue=queues[-1])

    def measure() -> float:
        fill(ground.near, load)
        if side.has_controls:
            shedder = Shedder(ground.near, by="bench")
            shedder.pause("another", reason="bench")
            shedder.divert(queues[-1], selection=OTHERS_JOBS, reason="bench")
        with watched(ground.near, ground.server.pid) as served:
            took = in_fork(lambda: _work(ground, side.worker_class, queues))
        assert ground.near.llen(f"rq:queue:{queues[-1]}") == 0
        side.trips.append(served.reads / jobs)
        side.cpu.append(served.cpu / jobs)
        return jobs / took

    return measure


def in_fork(measure: Callable[[], float]) -> float:
    """What `measure` gives in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            die_with_parent()
            be_quiet()
            os.write(writer, struct.pack("d", measure()))
        os._exit(0)
    os.close(writer)
    data = os.read(reader, 8)
    os.close(reader)
    os.waitpid(pid, 0)
    return float(struct.unpack("d", data)[0])


def _work(ground: Ground, worker_class: type[BaseWorker], queues: Sequence[str]) -> float:
    worker = worker_class(list(queues), connection=ground.client())
    began = time.perf_counter()
    worker.work(burst=True, logging_level="CRITICAL")
    return time.perf_counter() - began


def _row(case: str, ratio: Ratio, ours: Side, theirs: Side) -> Row:
    trips, their_trips = median(ours.trips), median(theirs.trips)
    return Row(
        QUESTION,
        case,
        f"{per_second(ratio.ours)}; {trips:.1f} round trips and {seconds(median(ours.cpu))} of the server for each job",
        f"stock: {per_second(ratio.theirs)}; {their_trips:.1f} and {seconds(median(theirs.cpu))}",
        str(ratio),
        "at least equal (within 5 %), with fewer round trips",
        Verdict.of(ratio.median >= GOAL and trips < their_trips),
        "its start and its end included",
        {
            "ours": ratio.ours,
            "theirs": ratio.theirs,
            "ratios": ratio.ratios,
            "round_trips": [trips, their_trips],
            "server_cpu_s": [median(ours.cpu), median(theirs.cpu)],
        },
    )
