"""How long did jobs wait from their enqueue to their start, those that still wait included?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wait:
    """A waiting time.

    Attributes:
        seconds: how long.
        is_over: False when the job has not started: it will have waited at least so long.
    """

    seconds: float
    is_over: bool = True

    def __str__(self) -> str:
        return f"{'' if self.is_over else '> '}{_spoken(self.seconds)}"


@dataclass(frozen=True, slots=True)
class Waits:
    """The waiting times of the jobs that were sent during one step of the demo.

    Attributes:
        step: its name.
        lane: the lane that they were sent to.
        sent: how many there are.
        started: how many of them have started.
        p50: the time within which half of them started; None when none was sent.
        p99: the same of 99 in 100.
        longest: of all of them.
    """

    step: str
    lane: str
    sent: int
    started: int
    p50: Wait | None
    p99: Wait | None
    longest: Wait | None


def waits_of(step: str, lane: str, waits: Iterable[Wait]) -> Waits:
    """The waiting times of one step."""
    ordered = sorted(waits, key=lambda wait: wait.seconds)
    return Waits(
        step=step,
        lane=lane,
        sent=len(ordered),
        started=sum(wait.is_over for wait in ordered),
        p50=percentile(ordered, 50),
        p99=percentile(ordered, 99),
        longest=percentile(ordered, 100),
    )


def percentile(ordered: list[Wait], percent: float) -> Wait | None:
    """The wait that `percent` of `ordered`, shortest first, do not exceed; None when it is empty.

    A job that still waits can only move up in the order. So the answer is exact as long as none of
    those stands at or before it, and else at least so long.
    """
    if not ordered:
        return None
    upto = ordered[: max(math.ceil(len(ordered) * percent / 100), 1)]
    return Wait(upto[-1].seconds, is_over=all(wait.is_over for wait in upto))


def _spoken(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s"
