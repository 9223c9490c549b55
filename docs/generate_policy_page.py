"""Writes `reference/policy.md` from the form of the policy; `make docs` calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shedder.policy.document import json_schema

PAGE = Path(__file__).parent / "reference" / "policy.md"

_HEAD = """# Policy

A policy says in advance which work matters, which may wait, and what customers notice. It is a
file, `shedder.toml`, or the table `[tool.shedder]` of `pyproject.toml`. `shedder policy check`
lists all that is wrong with it, and `shedder policy apply` puts it into force. [Write a
policy](../how-to/write-a-policy.md) is the guide.

A JSON schema for editors comes with the package, `shedder/schemas/policy.json`. This page is
generated from the same form, by `make docs`.

## Which rule decides

Each thing that a rule can say (`priority`, `shed`, `label`, `tolerance`) is decided on its own, by
the first rule from the top that matches the job and says it. A rule matches when its `queue`, its
`function` and all of its `meta` match; a key that the rule leaves out matches everything.
`shedder policy show --explain JOB` shows which rule decided what for a job.

`queue` names the queue, not the lane: a rule for `mail` is for the jobs of `mail.low` too. A rule
with `priority` and nothing but a `queue` declares the queue as a whole: its jobs stay where they
are, and workers of shedder serve it with that priority. With a `function` or `meta`, the jobs
that producers of shedder enqueue go into the lane of that priority, unless the caller has named a
lane. [How a policy works](../explanation/how-a-policy-works.md) gives the reasons.

## Words

- A duration is `90s`, `10m`, `1h30m`, `2d`; a rate is `200/second` or `100/minute`.
- In a glob `*` stands for any text, `?` for one character, `[abc]` for one of these characters
  and `[!abc]` for one that is not among them.
- A channel is an [Apprise](https://github.com/caronc/apprise) URL, or `env:NAME` for a variable
  that holds one. The text of the file is kept in Redis; `env:NAME` keeps secrets out of both.
"""


def page() -> str:
    """The text of the page."""
    schema = json_schema()
    parts = [_HEAD, _section("The file", schema, schema)]
    for name, field in schema["properties"].items():
        table = _table_of(field, schema)
        if table is not None:
            parts.append(_section(_heading(name, field), table, schema))
    return "\n".join(parts)


def _heading(name: str, field: dict[str, Any]) -> str:
    if field.get("type") == "array":
        return f"`[[{name}]]`"
    return f"`[{name}.<name>]`" if "additionalProperties" in field else f"`[{name}]`"


def _table_of(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    inner = field.get("items") or field.get("additionalProperties") or field
    for each in (inner, *inner.get("anyOf", ())):
        if isinstance(each, dict) and "$ref" in each:
            found: dict[str, Any] = schema["$defs"][each["$ref"].rpartition("/")[2]]
            return found
    return None


def _section(heading: str, table: dict[str, Any], schema: dict[str, Any]) -> str:
    needed = table.get("required", [])
    rows = [
        f"| `{name}` | {_kind(field)} | {'required' if name in needed else ''} | {_text(field, schema)} |"
        for name, field in table["properties"].items()
    ]
    head = ["| Key | Is | | What it says |", "| --- | --- | --- | --- |"]
    return "\n".join([f"## {heading}", "", table["description"], "", *head, *rows, ""])


def _text(field: dict[str, Any], schema: dict[str, Any]) -> str:
    text = field.get("description") or (_table_of(field, schema) or {}).get("description", "")
    default = field.get("default")
    return f"{text} `{default}` if absent." if isinstance(default, str) else str(text)


def _kind(field: dict[str, Any]) -> str:
    kinds = field.get("anyOf", [field])
    return " or ".join(_one(each) for each in kinds if each.get("type") != "null")


def _one(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return "table"
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "integer":
        return f"whole number, {field['minimum']} to {field['maximum']}"
    if field.get("examples"):
        return " ".join(f"`{each}`" for each in field["examples"])
    names = {"array": "list", "string": "text", "boolean": "`true` or `false`", "object": "table"}
    return names[field["type"]]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
