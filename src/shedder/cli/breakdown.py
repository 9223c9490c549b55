"""`shedder status --by`: what is in a queue, and the command that would put the largest part aside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from string import ascii_uppercase
from typing import TYPE_CHECKING

from shedder.cli import output
from shedder.cli.progress import scan_bar
from shedder.cli.run import Run
from shedder.lanes import PRIORITIES, lane_of, names_of, targets_of
from shedder.queues.breakdown import REST
from shedder.selection import is_literal, is_meta
from shedder.wording import counted, jobs_do

if TYPE_CHECKING:
    from shedder import Breakdown, BreakdownGroup

HEADINGS_WIDTH = 36
"""Longer headings of a cross table are letters, and named below it: else a terminal has no room for its rows."""


def tell_breakdown(run: Run, names: Sequence[str], by: Sequence[str], sample: int | None) -> int:
    """Look at what the queues called `names`, or all, hold, and tell it; 3 when a backlog is not known."""
    run.state = "nothing was changed by looking"
    said = output.listed(names) if names else "all queues"
    with scan_bar(run.screen, f"looking at {said}") as on_progress:
        found = run.shedder.breakdown(*names, by=by, sample=sample, on_progress=on_progress)
    run.tell("breakdown/1", found, breakdown_view(found, now=datetime.now(UTC), server=run.server_option))
    return 3 if found.unreadable else 0


def breakdown_view(found: Breakdown, *, now: datetime, server: str = "") -> output.Parts:
    """The jobs in groups, how sure that is, and what to type next."""
    names = output.listed(names_of(found.lanes))
    aside = f", and {jobs_do(found.backlog, 'are in backlogs', 'is in a backlog')}" if found.backlog else ""
    wait = jobs_do(found.waiting, "wait", "waits") if found.waiting else "no job waits"
    told = _cross_table(found, now) if len(found.by) > 1 else [_table(found, now)]
    parts: output.Parts = [
        output.headline(f"In {names} {wait}{aside}."),
        *(
            output.headline(f"{output.escaped(said)}; its backlog is not in this.", style="bold red")
            for said in found.unreadable
        ),
        *([output.plain(_sureness(found))] if found.is_sample else []),
    ]
    if not found.groups:
        return parts
    return [*parts, output.blank(), *told, *output.commands_part(*_next_command(found, server))]


def _sureness(found: Breakdown) -> str:
    looked_at = f"{output.number(found.looked_at)} of {counted(found.jobs, 'job')}"
    error = f"a share may be off by {found.error * 100:.1f} points, rarely by more"
    return f"{looked_at} were looked at, evenly spread: the numbers are estimates, and {error}."


def _table(found: Breakdown, now: datetime) -> output.Table:
    made = output.table(*found.by, ">waiting", ">backlog", ">share", ">oldest", ">in/s")
    for group in found.groups:
        _row(made, group.values[0], group, now)
    if found.rest is not None:
        _row(made, f"and {output.number(found.rest.groups)} more", found.rest, now)
    return made


def _row(made: output.Table, name: str, group: BreakdownGroup, now: datetime) -> None:
    numbers = (output.number(group.waiting), output.number(group.backlog), _percent(group.share))
    output.row(made, name, *numbers, output.age(group.oldest, now), output.per_second(group.in_per_second))


def _cross_table(found: Breakdown, now: datetime) -> output.Parts:
    """Jobs, those in backlogs too, by the first along the rows, by the second along the columns."""
    rows, columns = _largest(found, 0), _largest(found, 1)
    cells = {group.values: group for group in found.groups}
    is_wide = sum(len(column) + 2 for column in columns) > HEADINGS_WIDTH
    headings = ascii_uppercase[: len(columns)] if is_wide else columns
    made = output.table(" / ".join(found.by), *(f">{each}" for each in headings), ">jobs", ">share", ">oldest", ">in/s")
    for name in rows:
        groups = [cells.get((name, column)) for column in columns]
        there = [group for group in groups if group is not None]
        jobs = [output.number(group.waiting + group.backlog) if group else "-" for group in groups]
        output.row(
            made, name, *jobs, output.number(sum(group.waiting + group.backlog for group in there)),
            _percent(sum(group.share for group in there)),
            output.age(min((group.oldest for group in there if group.oldest), default=None), now),
            output.per_second(sum(group.in_per_second for group in there)),
        )  # fmt: skip
    letters = [output.plain(f"{letter}  {column}") for letter, column in zip(headings, columns, strict=True)]
    return [made, output.blank(), *letters] if is_wide else [made]


def _largest(found: Breakdown, axis: int) -> list[str]:
    """The values along one side of a cross table, that of most jobs first and the rest last."""
    sums: dict[str, float] = {}
    for group in found.groups:
        value = group.values[axis]
        sums[value] = sums.get(value, 0.0) + group.share
    return sorted(sums, key=lambda value: (value == REST, -sums[value], value))


def _next_command(found: Breakdown, server: str) -> Iterable[tuple[str, str]]:
    """The dry run of the divert that would put the largest group aside that a divert can choose."""
    for group in sorted(found.groups, key=lambda group: -group.waiting):
        wanted = _selected(found, group)
        if group.waiting and wanted is not None:
            targets, options = wanted
            return [
                ("put most aside", output.command("divert", *targets, options=(*options, "--dry-run"), server=server))
            ]
    return []


def _selected(found: Breakdown, group: BreakdownGroup) -> tuple[tuple[str, ...], list[str]] | None:
    """The targets and options of a divert of one group; None when no divert can choose it."""
    lanes, options = found.lanes, []
    for by, value in zip(found.by, group.values, strict=True):
        field = by.removeprefix("meta.")
        if by == "function" and is_literal(value):
            options += ["--function", value]
        elif by == "priority" and value in PRIORITIES:
            lanes = tuple(lane for lane in lanes if lane_of(lane).priority == value)
        elif by.startswith("meta.") and not value.startswith("(") and is_meta(field, value):
            options += ["--meta", f"{field}={value}"]
        else:
            return None
    return targets_of(lanes), options


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
