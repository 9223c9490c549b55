"""What does a person read after an audit?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.parts import Parts, blank, headline, plain, row, table
from shedder.cli.text import escaped, number
from shedder.counts import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from shedder.records import AuditReport

IDS_SHOWN = 10


def audit_view(report: AuditReport) -> Parts:
    """Whether every job is in exactly one place, and where they are."""
    made = table("place", ">jobs")
    for place, count in report.places.items():
        if count:
            row(made, place, number(count))
    places: Parts = [blank(), made] if any(report.places.values()) else []
    return [
        _verdict(report),
        *places,
        *_ids("in no place", report.nowhere),
        *_ids("in two places", [f"{job} ({', '.join(places)})" for job, places in report.twice]),
        *_ids("gone (expired or deleted) where their id still waits", report.dangling),
    ]


def _verdict(report: AuditReport) -> Text:
    if report.is_clean:
        if report.jobs == 1:
            return headline("The only job is in exactly one place.", style="bold green")
        return headline(
            f"All {counted(report.jobs, 'job')} are in exactly one place each.", style="bold green"
        )
    lost, doubled = len(report.nowhere), len(report.twice)
    return headline(
        f"Of {counted(report.jobs, 'job')}, {number(lost)} {'is' if lost == 1 else 'are'} in no "
        f"place and {number(doubled)} in two.",
        style="bold red",
    )


def _ids(what: str, ids: Sequence[str]) -> Parts:
    if not ids:
        return []
    lines = [plain(f"  {escaped(each)}") for each in ids[:IDS_SHOWN]]
    more = len(ids) - IDS_SHOWN
    rest = [plain(f"  and {number(more)} more; --json lists them all")] if more > 0 else []
    return [blank(), plain(f"{counted(len(ids), 'job')} {what}:"), *lines, *rest]
