"""Queues, priorities, lanes, targets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from shedder.errors import InvalidInput
from shedder.wording import drives_terminals

PRIORITIES: tuple[str, ...] = ("critical", "high", "normal", "low")
"""All priorities, most important first."""

DEFAULT_PRIORITY = "normal"

LONGEST_NAME = 500
"""Bytes of the name of a queue; every claim holds it five times, and events once for each lane."""

# RQ keeps what a stock worker has in hand under the first, and `meters` the counts of a lane under the other
_TAKEN = re.compile(r":(?:intermediate|dropped|intermediate:first_seen:.*)\Z", re.DOTALL)

_NAMES_KNOWN = 10_000


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


@lru_cache(maxsize=_NAMES_KNOWN)
def lane_of(name: str) -> Lane:
    """The lane that the RQ queue called `name` holds; its name is `name`, also where that is refused."""
    queue, suffix = _split(name)
    if suffix in ("", DEFAULT_PRIORITY) or _split(queue)[1]:
        return Lane(name)
    return Lane(queue, suffix)


def queues_in(names: Iterable[str]) -> tuple[str, ...]:
    """The queues of which the RQ queues `names` are lanes, sorted; without those that are refused."""
    return tuple(sorted({lane_of(name).queue for name in names if not why_refused(name)}))


@lru_cache(maxsize=_NAMES_KNOWN)
def why_refused(name: str) -> str:
    """Why no RQ queue may be called `name`, in a sentence that says what to do; empty when one may.

    What is allowed by RQ, and could be meant for another queue, is neither served nor controlled.
    """
    queue, suffix = _split(name)
    if _split(queue)[1]:
        why = "a lane has no lanes; rename it"
    elif suffix == DEFAULT_PRIORITY:
        why = f"its name also means the normal lane of {queue}; rename it, or use the queue {queue}"
    else:
        why = _why_no_name(queue)
    return why and f"the queue {_shown(name)} is refused: {why}"


def check_name(name: str) -> None:
    """Refuse an RQ queue that could be meant for another.

    Raises:
        InvalidInput: it could be.
    """
    if why := why_refused(name):
        raise InvalidInput(name="queue", value=name, accepted="another name", says=why)


def lanes_of_target(target: str) -> tuple[Lane, ...]:
    """All lanes of the queue `target`, or the one lane when a priority is named.

    `mail` stands for four lanes, `mail.low` and `mail.normal` for one each.

    Raises:
        InvalidInput: no queue may be called so.
    """
    queue, suffix = _split(target)
    if suffix == DEFAULT_PRIORITY:
        check_name(queue if not _split(queue)[1] else target)
        return (Lane(queue),)
    check_name(target)
    return (Lane(queue, suffix),) if suffix else tuple(Lane(target, priority) for priority in PRIORITIES)


def lane_of_target(target: str) -> Lane:
    """The lane that `target` names; of a queue the normal one.

    Raises:
        InvalidInput: no queue may be called so.
    """
    found = lanes_of_target(target)
    return found[0] if len(found) == 1 else Lane(target)


def target_of(lane: str) -> str:
    """What a command is told that is to concern this lane alone, such as `mail.normal` for that of `mail`."""
    found = lane_of(lane)
    return lane if why_refused(lane) else f"{found.queue}.{found.priority}"


def lanes_of_targets(targets: Iterable[str]) -> tuple[Lane, ...]:
    """The lanes of several targets, each once, in the order given."""
    return tuple(dict.fromkeys(lane for target in targets for lane in lanes_of_target(target)))


def names_of(lanes: Iterable[str]) -> tuple[str, ...]:
    """How a person calls `lanes`: as each is called, a queue where all its lanes are among them."""
    return tuple(_named_of(lanes, normal=lambda queue: queue))


def targets_of(lanes: Iterable[str]) -> tuple[str, ...]:
    """The shortest targets of a command that mean just `lanes`, such as `mail.normal` for that lane.

    `names_of` is for sentences.
    """
    return tuple(_named_of(lanes, normal=target_of))


def parse_priority(value: str) -> str:
    """`value` when it is a priority.

    Raises:
        InvalidInput: it is none of `PRIORITIES`.
    """
    if value not in PRIORITIES:
        raise InvalidInput(name="priority", value=value, accepted="one of " + ", ".join(PRIORITIES))
    return value


def targets_with_priorities(targets: Iterable[str], priorities: Sequence[str]) -> tuple[str, ...]:
    """Of each queue the lanes of `priorities`; the targets as they are where no priority is said.

    Raises:
        InvalidInput: a target is a lane of another priority, or there is no such priority.
    """
    if not priorities:
        return tuple(targets)
    return tuple(dict.fromkeys(_with_priority(each, one) for each in targets for one in priorities))


def _with_priority(target: str, priority: str) -> str:
    lane = lane_of_target(target)
    is_named = lane.priority != DEFAULT_PRIORITY or target.endswith(f".{DEFAULT_PRIORITY}")
    if is_named and lane.priority != parse_priority(priority):
        accepted = f"{lane.priority}, which {target} is, or name the queue {lane.queue}"
        raise InvalidInput(name="priority", value=priority, accepted=accepted)
    return f"{lane.queue}.{parse_priority(priority)}"


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
    if lane.priority != DEFAULT_PRIORITY or why_refused(name):
        return (lane,)
    return tuple(Lane(name, priority) for priority in PRIORITIES)


def _split(name: str) -> tuple[str, str]:
    """The name without the priority at its end, and that priority; `name` and nothing without one."""
    queue, dot, suffix = name.rpartition(".")
    return (queue, suffix) if dot and queue and suffix in PRIORITIES else (name, "")


def _why_no_name(queue: str) -> str:
    if not queue:
        return "it has no name; use a queue name such as mail"
    if any(map(drives_terminals, queue)) or "\ufffd" in queue:  # as which bytes are shown that are no text
        return "it has characters that cannot be seen; rename it"
    if len(queue.encode()) > LONGEST_NAME:
        return f"its name has more than {LONGEST_NAME} bytes; rename it"
    if _TAKEN.search(queue):
        return "names that end so belong to something else; rename it"
    return ""


def _shown(name: str) -> str:
    return repr(name) if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]!r}..."


_LONGEST_SHOWN = 40


def _named_of(lanes: Iterable[str], *, normal: Callable[[str], str]) -> Iterator[str]:
    found: dict[str, list[Lane]] = {}
    for lane in map(lane_of, lanes):
        found.setdefault(lane.queue, []).append(lane)
    for queue, own in found.items():
        if {lane.priority for lane in own} == set(PRIORITIES):
            yield queue
        else:
            yield from (normal(lane.name) if lane.name == queue else lane.name for lane in own)
