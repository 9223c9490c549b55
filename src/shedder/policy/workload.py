"""Kinds of work that a policy names, and their lanes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from shedder.lanes import PRIORITIES, Lane, lane_of, queues_in
from shedder.policy.model import Policy, Rule

TOLERANCE = timedelta(minutes=10)
"""How long work may wait for which the policy gives a label and no tolerance."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of work.

    Attributes:
        noun: What the business calls it.
        tolerance: How long one of it may wait without harm.
        lanes: The lanes that it is in.
        rule: Which jobs of these lanes; None for all of them.
    """

    noun: str
    tolerance: timedelta
    lanes: tuple[str, ...]
    rule: Rule | None = None


def kinds_of(policy: Policy, queues: Iterable[str]) -> tuple[Workload, ...]:
    """The kinds of work that `policy` names and that the `queues` have, in the policy's order.

    A rule that gives some jobs a priority of their own has them in a lane of their own. Where two
    kinds share a lane, each is told by its jobs. A queue that no rule names is called by its name.
    """
    known = queues_in(queues)
    named = [(rule, _lanes_of(rule, known)) for rule in policy.rules if rule.label or rule.tolerance]
    own = {lane for rule, lanes in named if _has_own(rule) for lane in lanes}
    found = [(rule, left) for rule, lanes in named if (left := lanes if _has_own(rule) else _without(lanes, own))]
    kinds = [
        Workload(
            noun=rule.label or _called(rule, lanes),
            tolerance=rule.tolerance or TOLERANCE,
            lanes=lanes,
            rule=rule if _shares(rule, lanes, [other for each, other in found if each != rule]) else None,
        )
        for rule, lanes in found
    ]
    taken = {lane for _, lanes in found for lane in lanes}
    return (*kinds, *_nameless(known, taken))


def kind_in(lane: str, kinds: Iterable[Workload]) -> Workload | None:
    """The kind of work that a lane holds; None where several share it, or none is known."""
    found = [each for each in kinds if lane in each.lanes]
    return found[0] if len(found) == 1 and found[0].rule is None else None


def _has_own(rule: Rule) -> bool:
    return bool(rule.priority) and not rule.selection.is_whole


def _without(lanes: tuple[str, ...], taken: set[str]) -> tuple[str, ...]:
    return tuple(lane for lane in lanes if lane not in taken)


def _lanes_of(rule: Rule, queues: Iterable[str]) -> tuple[str, ...]:
    own = (rule.priority or "",) if _has_own(rule) else PRIORITIES
    return tuple(Lane(queue, priority).name for queue in queues if rule.is_for_queue(queue) for priority in own)


def _shares(rule: Rule, lanes: tuple[str, ...], others: Iterable[tuple[str, ...]]) -> bool:
    """Whether the lanes hold other jobs too."""
    is_alone = not any(set(lanes) & set(other) for other in others)
    return not is_alone or not (rule.priority or rule.selection.is_whole)


def _called(rule: Rule, lanes: tuple[str, ...]) -> str:
    queues = dict.fromkeys(lane_of(lane).queue for lane in lanes)
    functions = [name.rpartition(".")[2] for name in rule.selection.functions]
    return f"jobs of {' and '.join(functions or queues)}"


def _nameless(queues: Iterable[str], taken: set[str]) -> Iterable[Workload]:
    for queue in queues:
        lanes = tuple(Lane(queue, priority).name for priority in PRIORITIES)
        if not taken.intersection(lanes):
            yield Workload(f"jobs of {queue}", TOLERANCE, lanes)
