"""Shedding: what the policy says may be shed goes to backlogs, by one divert on each lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from shedder.engine.workers import queues_of
from shedder.events import Cause
from shedder.lanes import lanes_of_targets, queues_in
from shedder.policy.model import Policy, Rule
from shedder.queues.divert import DivertReceipt, divert
from shedder.queues.preview import DivertPreview, preview_divert
from shedder.selection import MAX_ALTERNATIVES, Selection, count_of_globs
from shedder.store.store import Store, new_id

NumberedRule = tuple[int, Rule]


@dataclass(frozen=True, slots=True)
class ShedStep:
    """What one divert shed by the rules for some queues; or what one rule would shed.

    Attributes:
        rules: Their numbers in the policy, from 1, first to be shed first.
        shed: Place in the order of the first of them.
        noun: What the business calls the jobs of the first of them; empty when nobody has said.
        matches: What they match, in words.
        queues: The queues that they were applied to.
        receipt: What the divert did; None when it was only looked at.
        preview: What a divert would do; None when it was done.
    """

    rules: tuple[int, ...]
    shed: int
    noun: str
    matches: str
    queues: tuple[str, ...]
    receipt: DivertReceipt | None = None
    preview: DivertPreview | None = None


def shed(
    store: Store, policy: Policy, cause: Cause, on_step: Callable[[ShedStep], None] | None = None
) -> tuple[ShedStep, ...]:
    """Divert what may be shed, with one divert for the queues that the same rules are for; one undo ends all."""
    found = [(part, queues) for rules, queues in _rules_by_queues(store, policy) for part in _in_parts(rules)]
    if len(found) > 1:
        cause = replace(cause, operation=new_id())
    steps = []
    for rules, queues in found:
        selection = Selection.one_of(rule.selection for _, rule in rules)
        receipt = divert(store, lanes_of_targets(queues), selection, cause)
        steps.append(replace(_step(rules, queues, selection.describe()), receipt=receipt))
        if on_step is not None:
            on_step(steps[-1])
    return tuple(steps)


def preview_shed(store: Store, policy: Policy) -> tuple[ShedStep, ...]:
    """What `shed` would do, rule by rule in their order; changes nothing.

    A job that two rules match is told with both.
    """
    known = _known_queues(store)
    rules = [(each, tuple(filter(each[1].is_for_queue, known))) for each in policy.in_shed_order()]
    return tuple(
        replace(_step([each], queues, each[1].describe()), preview=_preview(store, each[1], queues))
        for each, queues in rules
        if queues
    )


def _preview(store: Store, rule: Rule, queues: Sequence[str]) -> DivertPreview:
    return preview_divert(store, lanes_of_targets(queues), rule.selection)


def _step(rules: Sequence[NumberedRule], queues: tuple[str, ...], matches: str) -> ShedStep:
    first = rules[0][1]
    return ShedStep(tuple(number for number, _ in rules), first.shed or 0, first.label, matches, queues)


def _rules_by_queues(store: Store, policy: Policy) -> list[tuple[Sequence[NumberedRule], tuple[str, ...]]]:
    """The rules that may shed, and the queues that exactly these are for; the first to be shed first."""
    queues: dict[tuple[int, ...], list[str]] = {}
    ordered = policy.in_shed_order()
    for queue in _known_queues(store):
        numbers = tuple(number for number, rule in ordered if rule.is_for_queue(queue))
        queues.setdefault(numbers, []).append(queue)
    known = dict(ordered)
    ranks = {number: rank for rank, (number, _) in enumerate(ordered)}
    found = sorted((each for each in queues if each), key=lambda numbers: [ranks[number] for number in numbers])
    return [([(number, known[number]) for number in numbers], tuple(queues[numbers])) for numbers in found]


def _in_parts(rules: Sequence[NumberedRule]) -> Iterator[Sequence[NumberedRule]]:
    """The rules of each divert: all of them, unless they have more globs than a selection takes."""
    first = 0
    for end in range(1, len(rules) + 1):
        is_last = end == len(rules)
        if is_last or count_of_globs(rule.selection for _, rule in rules[first : end + 1]) > MAX_ALTERNATIVES:
            yield rules[first:end]
            first = end


def _known_queues(store: Store) -> tuple[str, ...]:
    return queues_in(queues_of(store))
