"""How is a policy written as TOML?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


def written_policy(document: Document) -> str:
    """The document as TOML, which reads as the same document again."""
    return "\n".join(_lines(document)) + "\n"


def written_rule(rule: Document) -> str:
    """A rule on one line, as an inline table."""
    return written_value(dict(rule))


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
