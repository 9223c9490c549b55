"""A policy in words: as TOML, what differs from another, and why a job is treated as it is."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shedder.lanes import DEFAULT_PRIORITY, Lane, lane_of
from shedder.policy.document import Document
from shedder.policy.model import SAYINGS, Policy, Rule
from shedder.units import format_duration


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of one thing for a job.

    Attributes:
        saying: Of what: `priority`, `shed`, `label`, `tolerance` or `retry`.
        value: What holds, as text; empty when no rule says anything.
        rule: Number of the rule that decided, from 1; 0 for none.
        matched: What that rule matches; empty for none.
    """

    saying: str
    value: str = ""
    rule: int = 0
    matched: str = ""


@dataclass(frozen=True, slots=True)
class ExplainedJob:
    """What a policy says of a job, and why.

    Attributes:
        job: Its id.
        policy: Number of the policy in force; 0 when none was applied.
        lane: The lane that it is in, or came from.
        lane_by_policy: The lane in which a producer of ours would put it now.
        served_as: The priority with which workers of ours serve its lane.
        function: Its function; empty when that cannot be known.
        decisions: What holds for it, one for each thing that a rule can say.
    """

    job: str
    policy: int
    lane: str
    lane_by_policy: str
    served_as: str
    function: str
    decisions: tuple[Decision, ...]


def explained(
    policy: Policy, number: int, *, job: str, lane: str, function: str | None,
    meta: Mapping[str, str],
) -> ExplainedJob:  # fmt: skip
    """What `policy` says of a job."""
    queue = lane_of(lane).queue
    chosen = policy.lane_for(queue, function=function, meta=meta)
    is_chosen = lane_of(lane).priority != DEFAULT_PRIORITY
    return ExplainedJob(
        job=job,
        policy=number,
        lane=lane,
        lane_by_policy=lane if is_chosen and chosen == Lane(queue) else chosen.name,
        served_as=policy.served_as(lane),
        function=function or "",
        decisions=tuple(
            _decision(saying, policy.rule_for(saying, queue=queue, function=function, meta=meta)) for saying in SAYINGS
        ),
    )


def _decision(saying: str, found: tuple[int, Rule] | None) -> Decision:
    if found is None:
        return Decision(saying)
    number, rule = found
    value = getattr(rule, saying)
    text = format_duration(value, exact=True) if saying == "tolerance" else str(value)
    text = text.lower() if saying == "retry" else text
    return Decision(saying, text, number, rule.describe())


def differences(before: Document, after: Document) -> tuple[str, ...]:
    """A line for each thing that goes (`-`) and each that comes (`+`); none when all is the same.

    Rules are told as a whole, in their order, because their order decides.
    """
    return (*_of_rules(before.get("rules", ()), after.get("rules", ())), *_of_tables(before, after))


def shown(document: Document) -> dict[str, Any]:
    """The document without what may be a secret: of a channel's URL only the scheme is left."""
    incident = document.get("incident", {})
    if "channels" not in incident:
        return dict(document)
    channels = {name: [*map(masked, urls)] for name, urls in incident["channels"].items()}
    return {**document, "incident": {**incident, "channels": channels}}


def masked(url: str) -> str:
    """A channel's URL without its secrets; `env:NAME` has none."""
    return url if url.startswith("env:") else f"{url.partition('://')[0]}://..."


def _of_rules(before: Sequence[Document], after: Sequence[Document]) -> Iterator[str]:
    old, new = [*map(written_value, before)], [*map(written_value, after)]
    steps = difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    for step, old_first, old_last, new_first, new_last in steps:
        if step == "equal":
            continue
        for index in range(old_first, old_last):
            yield f"- rules[{index + 1}] {old[index]}"
        for index in range(new_first, new_last):
            yield f"+ rules[{index + 1}] {new[index]}"


def _of_tables(before: Document, after: Document) -> Iterator[str]:
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for place in {**old, **new}:
        if place in ("rules", "version") or old.get(place) == new.get(place):
            continue
        for sign, values in (("-", old), ("+", new)):
            if place in values:
                value = values[place]
                is_secret = place.startswith("incident.channels.")
                told = [*map(masked, value)] if is_secret else value
                yield f"{sign} {place} = {written_value(told)}"


def _leaves(table: Document, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        place = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}.")
        else:
            yield place, value


def written_policy(document: Document) -> str:
    """The document as TOML, which reads as the same document again."""
    return "\n".join(_lines(document)) + "\n"


def written_value(value: Any) -> str:
    """One value as TOML has it."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(name)} = {written_value(each)}" for name, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written_value, value))}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one character that TOML wants escaped as well
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _lines(document: Document) -> Iterator[str]:
    yield f"version = {written_value(document['version'])}"
    for rule in document.get("rules", ()):
        yield from ("", "[[rules]]", *_pairs(rule))
    for name, table in document.items():
        if name not in ("version", "rules"):
            yield from _table(name, table)


def _table(place: str, table: Document) -> Iterator[str]:
    plain = {name: each for name, each in table.items() if not _is_table(place, each)}
    if plain:
        yield from ("", f"[{place}]", *_pairs(plain))
    for name, each in table.items():
        if name not in plain:
            yield from _table(f"{place}.{_key(name)}", each)


def _is_table(place: str, value: Any) -> bool:
    return isinstance(value, Mapping) and place in ("flags", "mitigations")


def _pairs(table: Document) -> Sequence[str]:
    return [f"{_key(name)} = {written_value(value)}" for name, value in table.items()]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
