"""Queues, priorities, lanes, targets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shedder.errors import InvalidInput

PRIORITIES: tuple[str, ...] = ("critical", "high", "normal", "low")
"""All priorities, most important first."""

DEFAULT_PRIORITY = "normal"

_NO_NAME = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of characters, which Redis cannot be sent."""


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """The jobs of one queue and one priority.

    Attributes:
        queue: The name of the RQ queue that the user sees.
        priority: One of `PRIORITIES`.
    """

    queue: str
    priority: str = DEFAULT_PRIORITY

    @property
    def name(self) -> str:
        """The name of the RQ queue that holds this lane (`mail`, `mail.low`)."""
        if self.priority == DEFAULT_PRIORITY:
            return self.queue
        return f"{self.queue}.{self.priority}"

    @property
    def rank(self) -> int:
        """0 for the most important priority."""
        return PRIORITIES.index(self.priority)


def lane_of(name: str) -> Lane:
    """The lane that the RQ queue called `name` holds."""
    queue, dot, suffix = name.rpartition(".")
    if dot and queue and suffix in PRIORITIES:
        return Lane(queue, suffix)
    return Lane(name)


def lanes_of_target(target: str) -> tuple[Lane, ...]:
    """All lanes of the queue `target`, or the one lane when a priority is named.

    `mail` stands for four lanes, `mail.low` and `mail.normal` for one each.

    Raises:
        InvalidInput: the target is empty, or has control characters or half ones.
    """
    if not target or _NO_NAME.search(target):
        raise InvalidInput(name="queue", value=target, accepted="a queue name such as mail, or a lane such as mail.low")
    lane = lane_of(target)
    return (lane,) if lane.queue != target else tuple(Lane(target, priority) for priority in PRIORITIES)


def lanes_of_targets(targets: Iterable[str]) -> tuple[Lane, ...]:
    """The lanes of several targets, each once, in the order given."""
    return tuple(dict.fromkeys(lane for target in targets for lane in lanes_of_target(target)))


def parse_priority(value: str) -> str:
    """`value` when it is a priority.

    Raises:
        InvalidInput: it is none of `PRIORITIES`.
    """
    if value not in PRIORITIES:
        raise InvalidInput(name="priority", value=value, accepted="one of " + ", ".join(PRIORITIES))
    return value


def serving_order(names: Iterable[str]) -> tuple[str, ...]:
    """The lanes that a worker for the RQ queues `names` serves, most important first.

    A plain queue name brings all its lanes, the name of a lane only itself. Among lanes of one
    priority the order of `names` is kept, so that a strategy that rotates queues still rotates.
    """
    given = list(dict.fromkeys(names))
    lanes = [lane for name in given for lane in _lanes_served_for(name)]
    ordered = sorted(dict.fromkeys(lanes), key=lambda lane: lane.rank)
    return tuple(lane.name for lane in ordered)


def _lanes_served_for(name: str) -> tuple[Lane, ...]:
    lane = lane_of(name)
    if lane.priority != DEFAULT_PRIORITY:
        return (lane,)
    return tuple(Lane(name, priority) for priority in PRIORITIES)
