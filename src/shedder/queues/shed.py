"""Shedding: the diverts of what the policy says may be shed, in its order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from shedder.engine.workers import queues_of
from shedder.events import Cause
from shedder.lanes import lanes_of_targets, queues_in
from shedder.policy.model import Policy, Rule
from shedder.queues.divert import DivertReceipt, divert
from shedder.queues.preview import DivertPreview, preview_divert
from shedder.store.store import Store


@dataclass(frozen=True, slots=True)
class ShedStep:
    """One rule whose jobs were shed, or would be.

    Attributes:
        rule: Its number in the policy, from 1.
        shed: Its place in the order.
        noun: What the business calls the jobs; empty when nobody has said.
        matches: What the rule matches, in words.
        queues: The queues that it was applied to.
        receipt: What the divert did; None when it was only looked at.
        preview: What a divert would do; None when it was done.
    """

    rule: int
    shed: int
    noun: str
    matches: str
    queues: tuple[str, ...]
    receipt: DivertReceipt | None = None
    preview: DivertPreview | None = None


def shed(
    store: Store, policy: Policy, cause: Cause, on_step: Callable[[ShedStep], None] | None = None
) -> tuple[ShedStep, ...]:
    """Divert what may be shed, rule by rule; each is a divert of its own, with its own way back."""
    steps = []
    for step, rule in _to_shed(store, policy):
        receipt = divert(store, lanes_of_targets(step.queues), rule.selection, cause)
        steps.append(replace(step, receipt=receipt))
        if on_step is not None:
            on_step(steps[-1])
    return tuple(steps)


def preview_shed(store: Store, policy: Policy) -> tuple[ShedStep, ...]:
    """What `shed` would do, in its order; changes nothing.

    A job that two rules match is told with both.
    """
    return tuple(
        replace(step, preview=preview_divert(store, lanes_of_targets(step.queues), rule.selection))
        for step, rule in _to_shed(store, policy)
    )


def _to_shed(store: Store, policy: Policy) -> Iterator[tuple[ShedStep, Rule]]:
    known = queues_in(queues_of(store))
    for number, rule in policy.in_shed_order():
        queues = tuple(queue for queue in known if rule.is_for_queue(queue))
        if queues:
            yield ShedStep(number, rule.shed or 0, rule.label, rule.describe(), queues), rule
