"""What the size of a step trades: the wait of the others for the time of the whole.

Where the machine allows it, server, operator and who pings are served before all other programs:
then what a PING waits for is the server, and not a core that is busy with something else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

from benchmarks.gauges import cpu_of_calls
from benchmarks.ground import Ground
from benchmarks.load import QUEUE, Load, fill
from benchmarks.pinging import Pings
from benchmarks.q02_divert_subset import SELECTION
from benchmarks.rows import Row, count, seconds
from benchmarks.samples import median, quantile
from shedder import Shedder

SIZES = (25, 50, 100, 200, 400)
IDLE_SECONDS = 0.7


@dataclass(slots=True)
class Felt:
    """What was measured with one size of steps.

    Attributes:
        walls: Seconds of each divert.
        cpu: Seconds of the server's processor time for each step.
        pings: Seconds of each PING.
    """

    walls: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)


def rows(question: int, jobs: int, rounds: int) -> Iterator[Row]:
    """One row for each size, the sizes in turns."""
    idle: list[float] = []
    felt = {size: Felt() for size in SIZES}
    with Ground() as ground, Pings(ground) as pings:
        fill(ground.near, Load(jobs))
        with served_first(ground.server.pid, pings.pid) as is_first:
            for _ in range(rounds):
                idle += pings.during(IDLE_SECONDS)
                for size, each in felt.items():
                    with mock.patch("shedder.queues.divert.JOBS_PER_STEP", size):
                        _divert(ground, pings, each)
    for size, each in felt.items():
        yield _row(question, f"divert 60 % of {count(jobs)} in steps of {size}", idle, each, is_first)


def _divert(ground: Ground, pings: Pings, felt: Felt) -> None:
    with ground.client() as client:
        shedder = Shedder(client, by="bench")
        with cpu_of_calls(client, ground.server.pid) as calls:
            began = time.monotonic()
            event = shedder.divert(QUEUE, selection=SELECTION, reason="bench").event
            ended = time.monotonic()
        felt.walls.append(ended - began)
        felt.cpu += calls
        felt.pings += pings.between(began, ended)
        shedder.undo(event, reason="bench")


@contextmanager
def served_first(*pids: int) -> Iterator[bool]:
    """Have the machine serve these processes, then this one, before all others, if it may be."""
    try:
        for pid, priority in (*((pid, 2) for pid in pids), (0, 1)):
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _row(question: int, case: str, idle: list[float], felt: Felt, is_first: bool) -> Row:
    before, during = quantile(idle, 0.99), quantile(felt.pings, 0.99)
    return Row(
        question,
        case,
        f"{seconds(median(felt.walls))}; a step holds the server for p50 "
        f"{seconds(quantile(felt.cpu, 0.5))}, p99 {seconds(quantile(felt.cpu, 0.99))}; "
        f"PING p50 {seconds(quantile(felt.pings, 0.5))}, p99 {seconds(during)}",
        f"idle p99 {seconds(before)}",
        f"{during / before:.2f}x of idle",
        note="these programs before all others of the machine" if is_first else "",
        values={
            "seconds": felt.walls, "idle_p99_s": before, "during_p99_s": during,
            "step_p50_s": quantile(felt.cpu, 0.5), "step_p99_s": quantile(felt.cpu, 0.99),
            "is_first": is_first,
        },
    )  # fmt: skip
