"""What does a person read after a check-up?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from shedder.checkup import FINE, PROBLEM, WARNING
from shedder.cli.parts import Parts, blank, commands_part, headline, plain
from shedder.cli.text import command, escaped, listed, one_line
from shedder.counts import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shedder.checkup import Checkup, Finding, Repair

SUBJECTS_SHOWN = 5

_STYLES = {FINE: "green", WARNING: "yellow", PROBLEM: "bold red"}


def checkup_view(checkup: Checkup, *, server: str = "") -> Parts:
    """The verdict, and a line for each finding, the worst first."""
    ranked = sorted(checkup.findings, key=lambda finding: [*_STYLES].index(finding.level))
    lines = [line for finding in reversed(ranked) for line in _lines(finding)]
    parts: Parts = [_verdict(checkup), blank(), *lines]
    if checkup.repairable:
        fix = command("doctor", options=("--fix", "-r", "why"), server=server)
        parts += commands_part(("mend", fix))
    return parts


def plan(checkup: Checkup) -> Iterator[str]:
    """What a repair will do, a line for each finding that it is about."""
    for finding in checkup.repairable:
        yield f"will mend {finding.check}: {finding.fix}"


def repairs_view(repairs: Sequence[Repair]) -> Parts:
    """What was mended, and a heading for what is so now."""
    if not repairs:
        return []
    lines = [plain(f"  {each.check}: {each.count:,} {each.did}") for each in repairs]
    return [headline("Mended:"), *lines, blank()]


def _verdict(checkup: Checkup) -> Text:
    problems = sum(finding.level == PROBLEM for finding in checkup.findings)
    warnings = sum(finding.level == WARNING for finding in checkup.findings)
    remark = f", {counted(warnings, 'warning')}" if warnings else ""
    if problems:
        return headline(f"{counted(problems, 'problem')}{remark}.", style="bold red")
    return headline(f"No problem{remark}.", style="bold yellow" if warnings else "bold green")


def _lines(finding: Finding) -> Iterator[Text]:
    line = Text(f"{finding.level:<8}", style=_STYLES[finding.level])
    line.append(f" {finding.check}: ", style="not bold default")
    line.append(one_line(finding.says), style="not bold default")
    yield line
    if finding.subjects:
        named = listed(finding.subjects, most=SUBJECTS_SHOWN)
        yield plain(f"{'':<9}{escaped(named)}")
