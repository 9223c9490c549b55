"""How does a first policy look that is written from what a system does?

It decides nothing yet: each queue has a rule with its name and a noun, and everything else stands
beside it as a remark, to be turned on by a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shedder.durations import format_duration
from shedder.policy_text import written_value

FUNCTIONS_SHOWN = 5

_HEAD = """\
# What matters, what may wait, and what customers notice. Written by `shedder policy init` from
# what it saw; nothing of it is in force before `shedder policy apply`.
#
# The first rule that matches a job decides each thing that it says: put what is special first.
# `shedder policy check` says what is wrong, `shedder policy diff` what would change.

version = 1
"""

_TAIL = """
# [defaults]
# drain_rate = {rate}          # a `drain` without --rate
# pause_for = "4h"                    # a `pause` without --for ends after it
# limit_for = "4h"                    # a limit without --for, too
# flag_for = "4h"                     # a degraded flag without --for, too

# Work in a backlog that nobody wants any more is set aside, from where it can be replayed.
# [stale]
# after = "2d"
"""


@dataclass(frozen=True, slots=True)
class SeenQueue:
    """What was seen of a queue.

    Attributes:
        name: Its name.
        waiting: Jobs that wait in it, or in its backlogs.
        arrivals: Jobs that arrive a second; None when it is not known.
        completions: Jobs that end a second; None when it is not known.
        oldest_seconds: How long the oldest job has waited; None when none waits.
        functions: Functions of the jobs that were looked at, with how many of these.
        looked_at: How many jobs were looked at.
    """

    name: str
    waiting: int = 0
    arrivals: float | None = None
    completions: float | None = None
    oldest_seconds: float | None = None
    functions: Mapping[str, int] = field(default_factory=dict)
    looked_at: int = 0


def sketched_policy(queues: Sequence[SeenQueue]) -> str:
    """A policy file for `queues`, with remarks; it reads as a policy that decides nothing."""
    known = [each.completions for each in queues if each.completions]
    rate = f"{max(round(max(known, default=100.0)), 1)}/second"
    rules = "\n".join("\n".join(_queue(each)) for each in queues)
    return f"{_HEAD}\n{rules}\n{_TAIL.format(rate=written_value(rate))}"


def _queue(queue: SeenQueue) -> Iterator[str]:
    yield f"# {_plain(queue.name)}: {', '.join(_facts(queue))}"
    for name, count in _most(queue.functions):
        yield from _function(queue, name, count)
    yield "[[rules]]"
    yield f"queue = {written_value(queue.name)}"
    yield f"noun = {written_value(f'jobs of {queue.name}')}"
    yield '# tolerance = "10m"      # late when they wait longer'
    yield '# priority = "low"       # critical, high, normal or low, for the whole queue'
    yield "# shed = 1               # may be shed, smaller numbers first"
    yield ""


def _function(queue: SeenQueue, name: str, count: int) -> Iterator[str]:
    yield f"# [[rules]]              # {count} of {queue.looked_at} jobs that were looked at"
    yield f"# queue = {written_value(queue.name)}"
    yield f"# function = {written_value(name)}"
    yield '# priority = "low"'
    yield "# shed = 1"
    yield "#"


def _facts(queue: SeenQueue) -> Iterator[str]:
    yield f"{queue.waiting:,} jobs wait"
    if queue.oldest_seconds is not None:
        yield f"the oldest for {format_duration(queue.oldest_seconds)}"
    if queue.arrivals is not None:
        yield f"{queue.arrivals:.1f} arrive a second"
    if queue.completions is not None:
        yield f"{queue.completions:.1f} end a second"


def _most(functions: Mapping[str, int]) -> list[tuple[str, int]]:
    ordered = sorted(functions.items(), key=lambda each: (-each[1], each[0]))
    return ordered[:FUNCTIONS_SHOWN]


def _plain(text: str) -> str:
    # a remark ends with its line, whatever a queue is called
    return "".join(each if each.isprintable() else "?" for each in text)
