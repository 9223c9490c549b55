"""What is different between two policies, for a person, without what may be a secret?"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shedder.policy_text import written_rule, written_value

Document = Mapping[str, Any]


def differences(before: Document, after: Document) -> tuple[str, ...]:
    """A line for each thing that goes (`-`) and each that comes (`+`); none when all is the same.

    Rules are told as a whole, in their order, because their order decides.
    """
    return (
        *_of_rules(before.get("rules", ()), after.get("rules", ())),
        *_of_tables(_without_rules(before), _without_rules(after)),
    )


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
    old, new = [*map(written_rule, before)], [*map(written_rule, after)]
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
    for place in [*old, *(each for each in new if each not in old)]:
        if old.get(place) == new.get(place):
            continue
        is_secret = place.startswith("incident.channels.")
        if place in old:
            yield f"- {place} = {written_value(_told(old[place], is_secret=is_secret))}"
        if place in new:
            yield f"+ {place} = {written_value(_told(new[place], is_secret=is_secret))}"


def _told(value: Any, *, is_secret: bool) -> Any:
    return [*map(masked, value)] if is_secret else value


def _leaves(table: Document, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        place = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}.")
        else:
            yield place, value


def _without_rules(document: Document) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("rules", "version")}
