"""What does a person read of a policy?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from shedder.cli.parts import Parts, blank, commands_part, headline, plain, row, table
from shedder.cli.screen import Verbatim
from shedder.cli.text import age, clock, command, escaped
from shedder.counts import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shedder.applied import AppliedPolicy, PolicyReceipt
    from shedder.policy_explained import ExplainedJob


def policy_receipt(receipt: PolicyReceipt, *, server: str = "") -> Parts:
    """The receipt of an application."""
    warnings = [Text(escaped(each), style="yellow") for each in receipt.warnings]
    if not receipt.event:
        same = headline(f"Policy {receipt.number} is in force and says the same already.")
        return [same, *warnings]
    before = f", in place of policy {receipt.replaced}" if receipt.replaced else ""
    return [
        headline(f"Policy {receipt.number} is in force{before}.", style="bold green"),
        plain("Producers and workers of shedder obey it within a second."),
        *warnings,
        *difference_lines(receipt.changes),
        *commands_part(
            ("look", command("policy", "show", server=server)),
            ("undo", command("undo", receipt.event, server=server)),
        ),
    ]


def difference_lines(changes: Sequence[str]) -> Parts:
    """What goes and what comes, a line each."""
    return [
        Verbatim(escaped(line), style="red" if line.startswith("-") else "green")
        for line in changes
    ]


def applied_view(applied: AppliedPolicy, text: str, now: datetime) -> Parts:
    """Who applied it, and what it says; as remarks and TOML, so that it can be a file."""
    if not applied.number or applied.since is None:
        return [plain("# No policy is in force: `shedder policy init` writes a first one.")]
    since = f"{clock(applied.since, now)} ({age(applied.since, now)} ago)"
    head = f"# policy {applied.number}, applied {since} by {applied.by}: {applied.why}"
    return [Verbatim(escaped(head)), *(Verbatim(escaped(line)) for line in text.splitlines())]


def explained_view(job: ExplainedJob) -> Parts:
    """What holds for a job, and which rule decided it."""
    function = f", function {escaped(job.function)}" if job.function else ""
    said = f"Job {escaped(job.job)} of lane {escaped(job.lane)}{function}"
    parts: Parts = [headline(f"{said}: what policy {job.policy} says")]
    made = table("of", "says", ">rule", "which matches")
    for each in job.decisions:
        rule = str(each.rule) if each.rule else "-"
        row(made, each.saying, each.value or "nothing", rule, each.matched)
    parts += [made, blank()]
    if job.lane_by_policy != job.lane:
        parts.append(plain(f"Enqueued now it would go into {escaped(job.lane_by_policy)}."))
    parts.append(plain(f"Workers of shedder serve {escaped(job.lane)} as {job.served_as}."))
    return parts


def problems_view(source: str, problems: Sequence[object]) -> Parts:
    """All that is wrong with a policy, a line each."""
    lines: Parts = [Text(f"{source} has {counted(len(problems), 'problem')}:", style="bold red")]
    return [*lines, *(Verbatim(escaped(f"  {problem}")) for problem in problems)]
