"""The verbs that talk to Redis, and the words with which a test calls each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

WHY = ("-r", "why")

LOOKS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("check",),
    ("triage",),
    ("plan", "mail"),
    ("flag", "list"),
    ("limit", "list"),
    ("limit", "test", "reports"),
    ("policy", "diff", "POLICY"),
    ("policy", "show"),
    ("stale", "list"),
    ("incident", "show"),
    ("incident", "list"),
    ("incident", "timeline"),
    ("incident", "postmortem", "--no-plots", "--out", "OUT"),
    ("incident", "action", "list"),
    ("incident", "action", "export"),
    ("incident", "export"),
    ("events",),
    ("audit",),
    ("doctor",),
)
"""Those that change nothing. POLICY, OUT and COPY stand for paths of the test's."""

CHANGES: tuple[tuple[str, ...], ...] = (
    ("pause", "mail", *WHY),
    ("resume", "mail", *WHY),
    ("divert", "mail", "--yes", *WHY),
    ("shed", "--yes", *WHY),
    ("drain", "mail", "--rate", "5/s", "--detach", *WHY),
    ("drain", "mail", "--stop", *WHY),
    ("drain", "mail", "--at-once", "--yes", *WHY),
    ("retry", "mail", "--rate", "5/s", "--detach", *WHY),
    ("retry", "mail", "--stop", *WHY),
    ("flag", "degrade", "avatars", "--force", *WHY),
    ("flag", "restore", "avatars", "--force", *WHY),
    ("limit", "set", "reports", "5/m", "--force", *WHY),
    ("limit", "clear", "reports", "--force", *WHY),
    ("limit", "starts", "mail", "--rate", "1000/s", *WHY),
    ("limit", "lift", "mail", *WHY),
    ("policy", "apply", "POLICY", "--force", *WHY),
    ("stale", "replay", "mail", *WHY),
    ("mitigate", "rollback", "--yes", "--policy", "POLICY", *WHY),
    ("incident", "open", "late", "-s", "2", "--also", *WHY),
    ("incident", "note", "found"),
    ("incident", "take", "operations"),
    ("incident", "assign", "communications", "ana@desk"),
    ("incident", "hand-over", "operations", "ana@desk"),
    ("incident", "accept", "--by", "ana@desk"),
    ("incident", "leave", "communications", "--by", "ana@desk"),
    ("incident", "update", "--say", "well"),
    ("incident", "watch", "--once"),
    ("incident", "mitigated"),
    ("incident", "action", "add", "an alarm", "--type", "detect"),
    ("incident", "action", "set", "1", "--owner", "desk"),
    ("incident", "action", "done", "1"),
    ("incident", "correct", "--title", "later", *WHY),
    ("incident", "resolve", *WHY),
    ("incident", "reopen", *WHY),
    ("incident", "review", "--well", "much"),
    ("incident", "close"),
    ("incident", "import", "COPY"),
    ("undo", *WHY),
    ("doctor", "--fix", "--yes", *WHY),
    ("uninstall", "--dry-run", *WHY),
)

WITHOUT_REDIS = {
    ("policy", "init"),
    ("policy", "check"),
    ("worker",),  # RQ's command line, and patient
    ("demo",),
    ("completion",),
    ("web",),  # the same: tests/web
    ("top",),  # needs a terminal: tests/cli/test_top.py
    ("metrics",),  # says that Redis is away, and lives on: tests/metrics
}

POLICY = """
version = 1

[mitigations.rollback]
run = ["true"]
"""


def names() -> set[tuple[str, ...]]:
    """The names of all verbs that there are."""
    return set(_leaves(main, click.Context(main), ()))


def _leaves(command: click.Command, context: click.Context, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield words
        return
    for name in command.list_commands(context):
        _, found, _ = command.resolve_command(context, [name])
        assert found is not None
        yield from _leaves(found, click.Context(found, parent=context), (*words, name))
