"""How was a lane at one moment, and what did an event do to it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reading:
    """How a lane was at one moment.

    Attributes:
        waiting: Jobs that wait in the lane.
        backlog: Jobs in its backlogs.
        oldest_seconds: How long the first job has waited, in seconds; None when none waits.
        arrivals: Jobs that arrive, a second; None when it is not known.
        completions: Jobs that end, a second; None when it is not known.
    """

    waiting: int
    backlog: int = 0
    oldest_seconds: float | None = None
    arrivals: float | None = None
    completions: float | None = None


@dataclass(frozen=True, slots=True)
class Yardstick:
    """By what the work in a lane is measured: the policy in force when its effect was.

    Attributes:
        noun: What the business calls it.
        tolerance_seconds: How long one of it may wait without harm, in seconds.
    """

    noun: str
    tolerance_seconds: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event did to its lanes, some minutes later.

    Attributes:
        event: Id of the event.
        verb: What was done.
        after_seconds: So many seconds after the event it was measured.
        before: By lane, how it was just before the event.
        after: By lane, how it was then.
        yardsticks: By lane, what is in it and how long that may wait; empty without a policy.
    """

    event: str
    verb: str
    after_seconds: float
    before: Mapping[str, Reading] = field(default_factory=dict)
    after: Mapping[str, Reading] = field(default_factory=dict)
    yardsticks: Mapping[str, Yardstick] = field(default_factory=dict)
